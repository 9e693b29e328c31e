"""Samples on their way into a batch, and their stacks while nothing else is to be done."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gprof.guest.machine import Sampled
from gprof.sampling.source import SampleBatch
from gprof.sampling.task_numbers import TaskNumbers
from symbols.unwinding.stack import CapturedWords, Ending, Stack, Unwinder

_USER_PAGE = ~0xFFF & (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Unstacking:
    """How captured stacks become numbers.

    Attributes:
        unwinder: finds the callers.
        name: what it works by, `orc` or `fp`.
        number: the id of a stack, leaf first; `StackTable.add`.
        most: bytes of a stack to read from the guest at most.
        big_endian: the byte order of the guest.
        held: of two readings of one stack, what holds; None where the guest stands meanwhile.
    """

    unwinder: Unwinder
    name: str
    number: Callable[[Sequence[int]], int]
    most: int
    big_endian: bool = False
    held: Callable[[Stack, Stack], Stack] | None = None


class Gathered:
    """Takes samples in, and gives batches.

    The guest runs again when a capture comes in. Unwinding it costs some ten microseconds, in
    which no other thread runs either: so it is done one by one while the sampler would sleep, and
    never between the two questions of a sample, as another thread's work could be.

    Args:
        guest: id of the guest.
        unstacking: None where samples have no stacks.
        tasks: numbers the tasks of samples; None where they have none.

    Attributes:
        unstacking: as above; may be replaced.
        tasks: as above; may be replaced.
        endings: how many stacks ended in which way.
    """

    def __init__(
        self,
        guest: int,
        unstacking: Unstacking | None = None,
        tasks: TaskNumbers | None = None,
    ) -> None:
        self._guest = guest
        self.tasks = tasks
        self.unstacking = unstacking
        self.endings: Counter[Ending] = Counter()
        self._clear()

    def _clear(self) -> None:
        self._times: list[int] = []
        self._pcs: list[int] = []
        self._vcpus: list[int] = []
        self._modes: list[int] = []
        self._stacks: list[int] = []
        self._tasks: list[int] = []  # addresses of their structures
        self._captured: deque[tuple[int, Sampled, Unstacking]] = deque()

    def add(self, time_ns: int, sampled: Sequence[Sampled]) -> int:
        """Take in one stop; the number of vcpus that gave nothing."""
        missing = 0
        unstacking = self.unstacking
        for one in sampled:
            if one.state is None:
                missing += 1
                continue
            if one.registers is not None and unstacking is not None:
                self._captured.append((len(self._pcs), one, unstacking))
            self._times.append(time_ns)
            self._pcs.append(one.state.pc)
            self._vcpus.append(one.vcpu)
            self._modes.append(one.state.mode)
            self._stacks.append(0)
            self._tasks.append(one.task)
        return missing

    def unwind_one(self) -> bool:
        """Unwind one captured stack; whether there was one."""
        if not self._captured:
            return False
        place, one, unstacking = self._captured.popleft()
        assert one.registers is not None
        words = CapturedWords(one.memory, big_endian=unstacking.big_endian)
        stack = unstacking.unwinder.unwind(one.registers, words)
        if unstacking.held is not None:
            words = CapturedWords(one.again, big_endian=unstacking.big_endian)
            stack = unstacking.held(stack, unstacking.unwinder.unwind(one.registers, words))
        self.endings[stack.ending] += 1
        frames = list(stack.after)
        frames[0] = self._pcs[place]  # a stack's leaf is its sample's pc
        if stack.ending is Ending.USER and len(frames) > 1:
            # Where user space entered the kernel is kept to the page: with the address itself
            # nearly every stack would be another one, and a day of them fill the memory.
            frames[-1] &= _USER_PAGE
        self._stacks[place] = unstacking.number(frames)
        return True

    def batch(self) -> SampleBatch:
        """What was gathered since the last call, all of it unwound; may read tasks."""
        while self.unwind_one():
            pass
        tasks: list[int] | int = 0
        if self.tasks is not None:
            tasks = self.tasks.of_samples(self._tasks, self._pcs, self._modes)
        batch = SampleBatch.of(
            self._pcs,
            time=self._times,
            stack=self._stacks,
            task=tasks,
            vcpu=self._vcpus,
            mode=self._modes,
            guest=self._guest,
        )
        self._clear()
        return batch
