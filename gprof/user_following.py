"""Learn what the processes that are sampled have mapped, at a price that stays small."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterable, Sequence

from gprof.guest.memory import StubMemory
from gprof.profile.tasks import TaskTable
from gprof.profile.user_spaces import UserSpaces
from gprof.user_programs import UserPrograms
from symbols.memory import Memory
from symbols.space import ImageKind, LoadedImage
from symbols.user_mappings import UserMapping, UserMappings

_PAGE_BITS = 12
#: Pages that were looked at, and spaces that wait to be read.
_MOST_SEEN = 1 << 16
_MOST_WAITING = 256
#: Spaces that are read at once where that costs the guest nothing.
_MOST_AT_ONCE = 16
#: After reading through packets the guest is left alone for so many times as long as it stood.
_RESTS = 1000


class UserFollower:
    """Reads the mappings of processes when samples of their user space come in.

    Through the stub that takes some stops for each process: so one process at a time is read, and
    all that reading takes less than a thousandth of the guest's time. What waits is read later,
    and names the samples from before as well.

    Args:
        mappings: reads them.
        memory: what they are read from.
        tasks: of the profile.
        spaces: of the profile; filled.
        programs: gives the symbols of files; None to do without.
    """

    def __init__(
        self,
        mappings: UserMappings,
        memory: Memory,
        tasks: TaskTable,
        spaces: UserSpaces,
        programs: UserPrograms | None = None,
    ) -> None:
        self._programs = programs
        self._mappings = mappings
        self._memory = memory
        self._tasks = tasks
        self._spaces = spaces
        self._mm_of: dict[int, int] = {}  # by id of a space
        self._seen: OrderedDict[tuple[int, int], None] = OrderedDict()
        self._waiting: OrderedDict[int, None] = OrderedDict()
        self._rest_until_ns = 0

    def number(self, guest: int, process: int, mm: int) -> int:
        """The id of a user space; 0 for none."""
        if not mm:
            return 0
        space = self._spaces.number(guest, process, mm)
        self._mm_of[space] = mm
        return space

    def saw(self, samples: Iterable[tuple[int, int]]) -> None:
        """Take note of samples in user mode, and read some of what they need.

        Args:
            samples: id of the task, and pc.
        """
        for number, pc in samples:
            task = self._tasks[number]
            if task is None or not task.space:
                continue
            page = (task.space, pc >> _PAGE_BITS)
            if page in self._seen:
                continue
            self._seen[page] = None
            if len(self._seen) > _MOST_SEEN:
                self._seen.popitem(last=False)
            if not self._spaces.holds(task.space, pc) and len(self._waiting) < _MOST_WAITING:
                self._waiting[task.space] = None
        self._read()

    def forget(self) -> None:
        """Nothing that waits is there any more, as after a reset."""
        self._waiting.clear()
        self._mappings.forget()
        if self._programs is not None:
            self._programs.forget()

    def _read(self) -> None:
        free = not isinstance(self._memory, StubMemory)
        for _ in range(_MOST_AT_ONCE if free else 1):
            if not self._waiting or time.monotonic_ns() < self._rest_until_ns:
                return
            space, _ = self._waiting.popitem()  # the last seen is the likeliest to be alive
            before = _cost_ns(self._memory)
            mm = self._mm_of[space]
            found = self._mappings.of(mm)
            images = images_of(found or ())
            if found and self._programs is not None:
                images = self._programs.with_symbols(found, images)
            cost = _cost_ns(self._memory) - before
            self._rest_until_ns = time.monotonic_ns() + _RESTS * cost
            if images:
                self._spaces.fill(space, images)


def images_of(mappings: Sequence[UserMapping]) -> list[LoadedImage]:
    """Mappings as images that begin where their files do, so that offsets are those of files."""
    images = []
    end = 0
    for mapping in mappings:
        start = mapping.start - mapping.offset
        images.append(
            LoadedImage(
                name=mapping.name,
                kind=ImageKind.USER,
                start=start if start >= end else mapping.start,
                end=mapping.end,
                path=mapping.path if mapping.path.startswith("/") else "",
            )
        )
        end = mapping.end
    return images


def _cost_ns(memory: Memory) -> int:
    return memory.cost.halted_ns if isinstance(memory, StubMemory) else 0
