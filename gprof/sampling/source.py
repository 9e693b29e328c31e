"""What every source of samples gives: batches of numpy columns, and facts about the taking."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from gprof.guest.mode import Mode
from gprof.guest.vcpu_threads import VcpuTime
from symbols.unwinding.stack import Ending

Int64s: TypeAlias = NDArray[np.int64]
UInt64s: TypeAlias = NDArray[np.uint64]
UInt32s: TypeAlias = NDArray[np.uint32]
UInt16s: TypeAlias = NDArray[np.uint16]
UInt8s: TypeAlias = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class SampleBatch:
    """Samples as columns of equal length, ordered by time within one batch.

    Attributes:
        time: nanoseconds of the host's CLOCK_MONOTONIC.
        pc: guest virtual address of the next instruction.
        stack: id in the profile's StackTable; 0 where no stack was taken.
        task: id of the guest task; 0 where unknown.
        guest: id of the guest in the profile.
        vcpu: index of the vcpu within its guest.
        mode: a `Mode`.
        weight: 1, or the period of the event that took the sample, or thousandths of a sample
            (`gprof.sampling.weighing`).
    """

    time: Int64s
    pc: UInt64s
    stack: UInt32s
    task: UInt32s
    guest: UInt16s
    vcpu: UInt16s
    mode: UInt8s
    weight: UInt32s

    def __len__(self) -> int:
        return len(self.pc)

    @classmethod
    def empty(cls) -> SampleBatch:
        """A batch of no samples."""
        return cls(*(np.empty(0, dtype) for dtype in COLUMN_TYPES.values()))

    @classmethod
    def concatenate(cls, batches: Sequence[SampleBatch]) -> SampleBatch:
        """All samples of several batches, in their order."""
        if not batches:
            return cls.empty()
        return cls(*(np.concatenate([getattr(b, name) for b in batches]) for name in COLUMN_TYPES))

    @classmethod
    def of(
        cls,
        pcs: Iterable[int],
        *,
        time: int | Iterable[int] = 0,
        stack: int | Iterable[int] = 0,
        task: int | Iterable[int] = 0,
        guest: int | Iterable[int] = 0,
        vcpu: int | Iterable[int] = 0,
        mode: int | Iterable[int] = Mode.KERNEL,
        weight: int | Iterable[int] = 1,
    ) -> SampleBatch:
        """A batch from plain integers; a single number fills its whole column."""
        given = {
            "time": time, "stack": stack, "task": task, "guest": guest,
            "vcpu": vcpu, "mode": mode, "weight": weight,
        }  # fmt: skip
        pc = np.fromiter(pcs, np.uint64)
        columns: dict[str, NDArray[Any]] = {"pc": pc}
        for name, value in given.items():
            column = (
                np.full(len(pc), value, COLUMN_TYPES[name])
                if isinstance(value, int)
                else np.fromiter(value, COLUMN_TYPES[name])
            )
            if len(column) != len(pc):
                raise ValueError(f"column {name} has {len(column)} values for {len(pc)} samples")
            columns[name] = column
        return cls(**columns)

    def select(self, which: NDArray[Any] | slice) -> SampleBatch:
        """The samples of a mask, of indices in their order, or of a slice, which copies none."""
        return SampleBatch(*(getattr(self, name)[which] for name in COLUMN_TYPES))


#: The columns in order, with their types: the one list that tables and recordings follow.
COLUMN_TYPES: dict[str, np.dtype[Any]] = {
    "time": np.dtype("<i8"),
    "pc": np.dtype("<u8"),
    "stack": np.dtype("<u4"),
    "task": np.dtype("<u4"),
    "guest": np.dtype("<u2"),
    "vcpu": np.dtype("<u2"),
    "mode": np.dtype("u1"),
    "weight": np.dtype("<u4"),
}
assert tuple(COLUMN_TYPES) == tuple(f.name for f in fields(SampleBatch))


@dataclass(frozen=True, slots=True)
class SourceFacts:
    """How the samples were taken and what that cost, as far as it is known now.

    Attributes:
        way: `gdbstub`, `qmp`, `perf`, `replay`.
        target: what was sampled, as the user named it (`localhost:1234`, a file).
        asked_hz: the rate asked for, per vcpu.
        reached_hz: the rate reached so far, per vcpu.
        covered_ns: how long sampling has gone on, holds included.
        taken: how many times the guest was sampled (one time gives a sample a vcpu).
        halted_ns: how long the guest was kept from running, all in all.
        stop_work_ns: the part of it in which QEMU did for stops what it tells nobody of, by an
            estimate (`gprof.sampling.stop_work`); 0 where that is not known.
        held_ns: how long sampling waited because somebody else had stopped the guest.
        late: how many samples were taken more than one mean interval after their time.
        errors: how many attempts gave no sample.
        lost: how many samples the source itself says that it lost.
        notes: sentences about the taking that a person must see, newest last.
        block_starts: pcs lie on the starts of translation blocks (TCG): shares of functions
            are right, shares of instructions are not.
        unwound_by: `orc`, `fp` or `backchain`; empty where no stacks were taken.
        endings: how many stacks ended in which way, by the name of a
            `symbols.unwinding.stack.Ending` in small letters.
        vcpu_times: what the host gave the thread of each vcpu meanwhile; empty where that is not
            known.
    """

    way: str
    target: str
    asked_hz: float = 0.0
    reached_hz: float = 0.0
    covered_ns: int = 0
    taken: int = 0
    halted_ns: int = 0
    stop_work_ns: int = 0
    held_ns: int = 0
    late: int = 0
    errors: int = 0
    lost: int = 0
    notes: tuple[str, ...] = ()
    block_starts: bool = False
    unwound_by: str = ""
    endings: Mapping[str, int] = field(default_factory=dict)
    vcpu_times: Mapping[int, VcpuTime] = field(default_factory=dict)

    @property
    def stacks_cut_percent(self) -> float:
        """Share of the stacks that end before they begin."""
        cut = sum(n for name, n in self.endings.items() if name not in _WHOLE)
        return 100.0 * cut / sum(self.endings.values()) if cut else 0.0

    @property
    def steal_percent(self) -> float:
        """Share of the time covered in which a vcpu could have run and waited for the host."""
        return self._of_vcpus(sum(time.waited_ns for time in self.vcpu_times.values()))

    @property
    def ran_percent(self) -> float:
        """Share of the time covered in which a vcpu had a processor of the host."""
        return self._of_vcpus(sum(time.ran_ns for time in self.vcpu_times.values()))

    def _of_vcpus(self, time_ns: int) -> float:
        all_ns = self.covered_ns * len(self.vcpu_times)
        return 100.0 * time_ns / all_ns if all_ns else 0.0

    @property
    def halted_percent(self) -> float:
        """Share of the time covered in which the guest was kept from running."""
        return 100.0 * self.halted_ns / self.covered_ns if self.covered_ns else 0.0


#: Endings of stacks that lack nothing.
_WHOLE = {ending.name.lower() for ending in Ending if ending.whole}


class Source(Protocol):
    """Gives samples until it ends, is closed, or the guest goes away."""

    def batches(self) -> Iterator[SampleBatch]:
        """Batches as they come, a few a second; blocks in between.

        An empty batch means only that time has passed. Iteration ends when the source has no
        more samples or `close` was called from another thread.

        Raises:
            TargetError: the guest went away or answers nonsense; what came before is valid.
        """
        ...

    def facts(self) -> SourceFacts:
        """What is known now; may be called from any thread."""
        ...

    def close(self) -> None:
        """End the iteration and let go of the guest, running. May be called from any thread."""
        ...


__all__ = ["COLUMN_TYPES", "Mode", "SampleBatch", "Source", "SourceFacts"]
