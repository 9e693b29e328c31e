"""A reader of perf.data, the format of Linux's perf. Stands alone: it needs numpy and zstandard.

with PerfData.open("perf.data") as data:
    for chunk in data.chunks():
        for samples in chunk:
            print(data.events[samples.event].name, samples.ip[:3])
"""

from gprof.perfdata.attributes import Attribute, EventType, Flag, SampleField
from gprof.perfdata.errors import PerfDataError
from gprof.perfdata.features import Feature
from gprof.perfdata.maps import Mapping
from gprof.perfdata.reader import PerfData
from gprof.perfdata.records import CpuMode, RecordType
from gprof.perfdata.samples import Ragged, Samples
from gprof.perfdata.tables import Event
from gprof.perfdata.threads import Thread, Threads
from gprof.perfdata.tracepoints import Tracepoint, TracingData

__all__ = [
    "Attribute",
    "CpuMode",
    "Event",
    "EventType",
    "Feature",
    "Flag",
    "Mapping",
    "PerfData",
    "PerfDataError",
    "Ragged",
    "RecordType",
    "SampleField",
    "Samples",
    "Thread",
    "Threads",
    "Tracepoint",
    "TracingData",
]
