"""From the addresses of tasks' structures, which samples give, to ids in a profile."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from gprof.guest.memory import StubMemory
from gprof.guest.mode import Mode
from symbols.memory import Memory
from symbols.tasks import CurrentPlaces, Task, Tasks

#: How long a name is believed: an `exec` changes it, and another task may get the same place.
_LIFETIME_NS = 1_000_000_000
#: Tasks that are read at once, and remembered. What a guest has more of is named a little later.
_MOST_AT_ONCE = 64
_MOST_KNOWN = 4096


@dataclass(frozen=True, slots=True)
class Following:
    """How tasks become numbers.

    Attributes:
        places: where the guest's kernel keeps the task of each vcpu.
        tasks: reads them.
        memory: what they are read from.
        number: the id of a task; of a `TaskTable`.
        saw_user: told of samples in user mode: id of the task, and pc.
        forget: told of a reset.
    """

    places: CurrentPlaces
    tasks: Tasks
    memory: Memory
    number: Callable[[Task], int]
    saw_user: Callable[[Iterable[tuple[int, int]]], None] | None = None
    forget: Callable[[], None] | None = None


class TaskNumbers:
    """Numbers tasks, reading each when it is first seen and every second that it is seen again.

    Nothing is read while a sample is taken. A task that ends within the tenth of a second until
    it is read may be taken for the one that got its place.

    Args:
        following: how.
    """

    def __init__(self, following: Following) -> None:
        self._following = following
        # By address: the id, and when it was read.
        self._known: OrderedDict[int, tuple[int, int]] = OrderedDict()

    def of_samples(
        self, addresses: Sequence[int], pcs: Sequence[int], modes: Sequence[int]
    ) -> list[int]:
        """The id of each sample's task; what user space needs may be read, too.

        Args:
            addresses: of tasks' structures; 0 where unknown.
            pcs: of the samples.
            modes: of the samples.
        """
        numbers = self.of(addresses, time.monotonic_ns())
        if self._following.saw_user is not None:
            self._following.saw_user(
                (number, pc)
                for number, pc, mode in zip(numbers, pcs, modes, strict=True)
                if mode == Mode.USER and number
            )
        return numbers

    def of(self, addresses: Sequence[int], now_ns: int) -> list[int]:
        """The id of each address; 0 where there is no task, or it was not read yet.

        Args:
            addresses: of tasks' structures; 0 where unknown.
            now_ns: CLOCK_MONOTONIC.
        """
        wanted = []
        for address in dict.fromkeys(addresses):
            known = self._known.get(address)
            if address and (known is None or now_ns - known[1] >= _LIFETIME_NS):
                wanted.append(address)
        self._read(wanted[:_MOST_AT_ONCE], now_ns)
        return [self._known[address][0] if address in self._known else 0 for address in addresses]

    def forget(self) -> None:
        """Read every task anew, as after a reset."""
        self._known.clear()
        if self._following.forget is not None:
            self._following.forget()

    @property
    def halted_ns(self) -> int:
        """How long the guest stood for reading, in all."""
        memory = self._following.memory
        return memory.cost.halted_ns if isinstance(memory, StubMemory) else 0

    def _read(self, addresses: list[int], now_ns: int) -> None:
        if not addresses:
            return
        tasks = self._following.tasks.read(addresses)
        for address, task in zip(addresses, tasks, strict=True):
            number = self._following.number(task) if task is not None else 0
            self._known[address] = (number, now_ns)
            self._known.move_to_end(address)
        while len(self._known) > _MOST_KNOWN:
            self._known.popitem(last=False)
