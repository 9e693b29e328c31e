"""What was mapped where: MMAP and MMAP2.

Source: enum perf_event_type (PERF_RECORD_MMAP, PERF_RECORD_MMAP2) in
include/uapi/linux/perf_event.h, Linux 6.12.
"""

from __future__ import annotations

from dataclasses import dataclass

from gprof.perfdata.cursor import Cursor, Order
from gprof.perfdata.records import CPUMODE_MASK, CpuMode, RecordType

#: PERF_RECORD_MISC_MMAP_BUILD_ID: a build id stands where device and inode would.
_HAS_BUILD_ID = 1 << 14


@dataclass(frozen=True, slots=True)
class Mapping:
    """One mapping.

    Attributes:
        misc: flags of the record; its lowest three bits are a `CpuMode`.
        pid: the process; -1 for the host's kernel; of a guest's kernel and modules the pid of
            the hypervisor, or 0 where all guests share one set of symbols.
        tid: the thread.
        start: first address.
        length: in bytes.
        offset: of the first byte in the file; of a kernel, the address of its reference symbol.
        filename: as the record has it.
        build_id: of the file; empty where the record has none.
    """

    misc: int
    pid: int
    tid: int
    start: int
    length: int
    offset: int
    filename: bytes
    build_id: bytes = b""

    @property
    def of_guest(self) -> bool:
        """The mapping is in a guest."""
        return self.misc & CPUMODE_MASK in {CpuMode.GUEST_KERNEL, CpuMode.GUEST_USER}


def parse_mapping(body: bytes, kind: int, misc: int, order: Order) -> Mapping:
    """The body of an MMAP or MMAP2 record.

    Raises:
        PerfDataError: the record is too short.
    """
    cursor = Cursor(body, order, what="mapping")
    pid, tid = cursor.i32(), cursor.i32()
    start, length, offset = cursor.u64s(3)
    build_id = b""
    if kind == RecordType.MMAP2:
        identity = cursor.take(24)
        cursor.take(8)
        if misc & _HAS_BUILD_ID:
            build_id = identity[4 : 4 + min(identity[0], 20)]
    return Mapping(misc, pid, tid, start, length, offset, cursor.line(), build_id)
