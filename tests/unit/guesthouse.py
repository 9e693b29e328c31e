"""A guest that a test changes while it is followed: its memory, its vcpus, what samples it."""

from __future__ import annotations

import functools
import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, cast

from gprof.attach import Attached
from gprof.errors import TargetGone
from gprof.followed_guest import FollowedGuest
from gprof.guest.architectures import BY_NAME
from gprof.profile.profile import Guest, Profile
from gprof.profile.samples import SampleTable
from gprof.profile.stacks import StackTable
from gprof.profile.tasks import TaskTable
from gprof.profile.user_spaces import UserSpaces
from gprof.profile.view import tabulate
from gprof.sampling.source import Mode, SampleBatch, SourceFacts
from gprof.sources import Sources
from symbols.guest_identity import Identity
from symbols.memory import BytesMemory, Memory
from symbols.space import AddressSpace
from symbols.unwinding.unwind import Way
from tests.unit.symbols.kallsyms_tables import LAYOUTS, build
from tests.unit.symbols.kernel_memory import AREA, HEAD, Mod, types, with_modules
from tests.waiting import PATIENCE, wait_until

FIRST, SECOND = 0xFFFF_FFFF_9C80_0000, 0xFFFF_FFFF_9E40_0000
ZRAM = Mod("zram", AREA + 0x10000, symbols=(("zram_open", "t", AREA + 0x10010, 0x20),))
LZO = Mod("lzo", AREA + 0x20000, symbols=(("lzo_pack", "t", AREA + 0x20010, 0x20),))
BIOS, UNPACKER = 0xF1234, 0x1_0000_0040


@functools.cache
def kernel(
    start: int,
    mods: tuple[Mod, ...] = (ZRAM,),
    release: str = "6.6.1",
    *,
    data: bool = True,
    described: bool = True,
) -> Memory:
    """The memory of a guest that runs a kernel at an address.

    Its table may list no data, and where its types would be there may be none.
    """
    rodata, start_of_types, banner = start + (2 << 20), start + (6 << 20), start + (7 << 20)
    listed = [(start, "T", "_stext"), (start, "T", "_text")]
    listed += [(start + n * 64, "t", f"function_number_{n}") for n in range(1, 12_000)]
    if data:
        listed += [
            (HEAD, "D", "modules"),
            (start_of_types, "r", "__start_BTF"),
            (banner, "D", "linux_banner"),
        ]
    blob, _ = build(sorted(listed), LAYOUTS["6.6 x86"], rodata)
    memory = with_modules(mods, "6.12")
    memory.put(bytes(4096), start)
    memory.put(blob + bytes(-len(blob) % 4096), rodata)
    memory.put(types("6.12") if described else bytes(4096), start_of_types)
    memory.put(bytes(4096), HEAD & ~0xFFFF)
    memory.put(f"Linux version {release} (us@here) #1\n".encode().ljust(512, b"\0"), banner)
    return memory.structures().memory


class Machine:
    """A machine whose memory and vcpus a test changes."""

    def __init__(self) -> None:
        self.architecture = BY_NAME["x86_64"]
        self.vcpus = (SimpleNamespace(index=0),)
        self.pc, self.mode = BIOS, Mode.FIRMWARE
        self.now: Memory = BytesMemory([])
        self.run_state = SimpleNamespace(reset_ns=0)
        self.why_packets = None
        self.reads_ram_alone = True
        self.gone = False

    @property
    def memory(self) -> Memory:
        return self

    def read(self, address: int, size: int) -> bytes:
        return self.now.read(address, size)

    def fresh_memory(self) -> Memory:
        if self.gone:
            raise TargetGone("QEMU ended")
        return self.now

    def forget(self) -> None:
        if self.gone:
            raise TargetGone("QEMU ended")

    def anchor(self) -> None:
        return None

    def trampoline(self) -> None:
        return None


class Source:
    """Gives the batches that a test hands it."""

    def __init__(self) -> None:
        self.waiting: queue.SimpleQueue[SampleBatch | None] = queue.SimpleQueue()
        self.notes: list[str] = []

    def batches(self) -> Iterator[SampleBatch]:
        while (batch := self.waiting.get()) is not None:
            yield batch

    def facts(self) -> SourceFacts:
        return SourceFacts("test", "nothing", notes=tuple(self.notes))

    def note(self, sentence: str) -> None:
        self.notes.append(sentence)

    def tell_tasks(self, following: object) -> None:
        self.following = following

    def unstack(self, unstacking: object) -> None:
        self.unstacking = unstacking

    def count_halted(self, halted_ns: int) -> None:
        self.halted_ns = halted_ns

    def close(self) -> None:
        self.waiting.put(None)


class Guesthouse:
    """A guest, what samples it, and what follows it."""

    def __init__(self, *, monitored: bool = False, given: Sources | None = None) -> None:
        self.machine = Machine()
        self.source = Source()
        self.table = SampleTable()
        machine = cast("Any", self.machine)
        self.attached = Attached(
            machine, Guest(0, "test", "x86_64", (0,)), AddressSpace(starting=True), None,
            Identity(), given or Sources(), monitored=machine if monitored else None,
            given=given or Sources(),
        )  # fmt: skip
        self.following: FollowedGuest

    def boots(self, start: int, *mods: Mod, release: str = "6.6.1") -> None:
        """Its kernel is in memory, and a vcpu in it."""
        self.machine.now = kernel(start, mods or (ZRAM,), release)
        self.machine.pc, self.machine.mode = start + 0x1000, Mode.KERNEL

    def give(self, *pcs: int, mode: Mode = Mode.KERNEL) -> int:
        """Sample some addresses now; the time."""
        now = time.monotonic_ns()
        batch = SampleBatch.of(pcs, time=now, mode=mode)
        self.table.append(batch)
        self.source.waiting.put(batch)
        return now

    @property
    def space(self) -> AddressSpace:
        return self.following.known()[1][0]

    def names(self) -> dict[str, int]:
        profile = Profile(self.table.frozen(), self.source.facts(), *self.following.known())
        return {row.label: row.self_weight for row in tabulate(profile).rows}

    def await_(self, condition: Callable[[], bool], *pcs: int, mode: Mode = Mode.KERNEL) -> None:
        """Sample these addresses until something is so."""

        def so() -> bool:
            met = condition()
            if not met:
                self.give(*pcs, mode=mode)
            return met

        wait_until(
            so, "what the test waits for",
            seen=lambda: f"{len(self.space.eras)} eras; {self.source.notes}", pause=0.01,
        )  # fmt: skip

    @contextmanager
    def followed(self) -> Iterator[Guesthouse]:
        self.following = FollowedGuest(
            self.attached,
            cast("Any", self.source),
            Way.NONE,
            stacks=StackTable(),
            tasks=TaskTable(),
            user_spaces=UserSpaces(),
        )
        batches = self.following.batches()
        ended = threading.Thread(target=lambda: list(batches))
        ended.start()
        try:
            yield self
        finally:
            self.source.close()
            ended.join(PATIENCE)
            assert not ended.is_alive(), "what follows the guest does not end"


def running(guest: Guesthouse, start: int, *mods: Mod) -> Guesthouse:
    """The guest as it is attached to when it runs already."""
    guest.boots(start, *mods)
    guest.attached = guest.attached.again()
    assert not guest.attached.starting
    return guest


def has_eras(guest: Guesthouse, count: int) -> bool:
    return len(guest.space.eras) == count


def function(start: int, number: int) -> int:
    return start + 64 * number + 3
