"""perf_event_attr: how one event was asked for. Read at any size that a kernel ever had.

Source: struct perf_event_attr in include/uapi/linux/perf_event.h of Linux 6.12. The structure
only ever grew at its end, so a short one lacks the later members and a longer one is sliced.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, IntFlag

from gprof.perfdata.cursor import Cursor, Order
from gprof.perfdata.errors import PerfDataError

#: PERF_ATTR_SIZE_VER0, the shortest that was ever released.
SHORTEST = 64


class EventType(IntEnum):
    """enum perf_type_id; a device's own types follow from 6 on."""

    HARDWARE = 0
    SOFTWARE = 1
    TRACEPOINT = 2
    HARDWARE_CACHE = 3
    RAW = 4
    BREAKPOINT = 5


class SampleField(IntFlag):
    """enum perf_event_sample_format: what a sample holds."""

    IP = 1 << 0
    TID = 1 << 1
    TIME = 1 << 2
    ADDR = 1 << 3
    READ = 1 << 4
    CALLCHAIN = 1 << 5
    ID = 1 << 6
    CPU = 1 << 7
    PERIOD = 1 << 8
    STREAM_ID = 1 << 9
    RAW = 1 << 10
    BRANCH_STACK = 1 << 11
    REGS_USER = 1 << 12
    STACK_USER = 1 << 13
    WEIGHT = 1 << 14
    DATA_SRC = 1 << 15
    IDENTIFIER = 1 << 16
    TRANSACTION = 1 << 17
    REGS_INTR = 1 << 18
    PHYS_ADDR = 1 << 19
    AUX = 1 << 20
    CGROUP = 1 << 21
    DATA_PAGE_SIZE = 1 << 22
    CODE_PAGE_SIZE = 1 << 23
    WEIGHT_STRUCT = 1 << 24


class ReadFormat(IntFlag):
    """enum perf_event_read_format: what a counter's value comes with."""

    TOTAL_TIME_ENABLED = 1 << 0
    TOTAL_TIME_RUNNING = 1 << 1
    ID = 1 << 2
    GROUP = 1 << 3
    LOST = 1 << 4


class Flag(IntEnum):
    """The bits of the flag word that matter to a reader, counted from `disabled` as bit 0."""

    INHERIT = 1
    EXCLUDE_USER = 4
    EXCLUDE_KERNEL = 5
    FREQ = 10
    PRECISE_IP = 15  # two bits
    SAMPLE_ID_ALL = 18
    EXCLUDE_HOST = 19
    EXCLUDE_GUEST = 20


@dataclass(frozen=True, slots=True)
class Attribute:
    """What a reader needs of one perf_event_attr.

    Attributes:
        type: an `EventType`, or a device's own number.
        config: which event of that type; the tracepoint's id where the type is TRACEPOINT.
        sample_type: bits of `SampleField`; unknown ones are kept.
        read_format: bits of `ReadFormat`.
        period: events between two samples, or samples a second where `by_frequency`.
        by_frequency: how `period` is meant.
        flags: the flag word as if laid out on a little-endian machine.
        branch_sample_type: bits of enum perf_branch_sample_type.
        regs_user: which registers a sample holds of user space, one bit each.
        regs_interrupt: which registers it holds of the interrupted code, one bit each.
        stack_user: how many bytes of the user's stack a sample may hold.
        size: how many bytes the structure had.
    """

    type: int
    config: int
    sample_type: int
    read_format: int
    period: int = 1
    by_frequency: bool = False
    flags: int = 0
    branch_sample_type: int = 0
    regs_user: int = 0
    regs_interrupt: int = 0
    stack_user: int = 0
    size: int = 128

    def has(self, field: SampleField) -> bool:
        """Samples of this event hold the field."""
        return bool(self.sample_type & field)

    def flag(self, flag: Flag) -> bool:
        """The bit is set."""
        return bool(self.flags >> flag & 1)

    @property
    def precise(self) -> int:
        """How little skid was asked for: 0 to 3, above 0 by PEBS on Intel."""
        return self.flags >> Flag.PRECISE_IP & 3


def parse_attribute(data: bytes, order: Order) -> Attribute:
    """A perf_event_attr out of exactly its bytes.

    Raises:
        PerfDataError: there are fewer than the oldest kernel wrote.
    """
    if len(data) < SHORTEST:
        raise PerfDataError(
            f"an event's attribute has {len(data)} bytes, fewer than the {SHORTEST} of the first",
            "The file is damaged; record it again.",
        )
    cursor = Cursor(data.ljust(128, b"\0"), order, what="event's attribute")
    kind, _ = cursor.u32(), cursor.u32()
    config, period, sample_type, read_format, flags = cursor.u64s(5)
    cursor.at = 72
    branch_sample_type, regs_user = cursor.u64s(2)
    stack_user = cursor.u32()
    cursor.at = 96
    regs_interrupt = cursor.u64()
    flags = _from_first_bit(flags, order)
    return Attribute(
        type=kind,
        config=config,
        sample_type=sample_type,
        read_format=read_format,
        period=period,
        by_frequency=bool(flags >> Flag.FREQ & 1),
        flags=flags,
        branch_sample_type=branch_sample_type,
        regs_user=regs_user,
        regs_interrupt=regs_interrupt,
        stack_user=stack_user,
        size=len(data),
    )


def _from_first_bit(flags: int, order: Order) -> int:
    """The flag word with its first bit field at bit 0.

    A big-endian compiler lays bit fields out from the top: bit n of the one is bit 63 - n of
    the other. The field of two bits comes out with its bits exchanged and is put right.
    """
    if order == "<":
        return flags
    mirrored = int(f"{flags:064b}"[::-1], 2)
    low, high = mirrored >> Flag.PRECISE_IP & 1, mirrored >> (Flag.PRECISE_IP + 1) & 1
    cleared = mirrored & ~(3 << Flag.PRECISE_IP)
    return cleared | (high << Flag.PRECISE_IP) | (low << (Flag.PRECISE_IP + 1))
