"""One look at a guest: what its vcpus do at one instant, and what its tasks wait for."""

from gprof.dump.instant import Dump, VcpuDump, take
from gprof.dump.sleepers import TaskDump, TasksDump
from gprof.dump.text import lines_of

__all__ = ["Dump", "TaskDump", "TasksDump", "VcpuDump", "lines_of", "take"]
