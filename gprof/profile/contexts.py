"""What the meaning of an address depends on, for each sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from gprof.profile.profile import Profile
from gprof.sampling.source import Int64s, Mode, SampleBatch, UInt32s
from symbols.space import AddressSpace, Running

S = TypeVar("S", bound=np.generic)

#: How a processor ran the code of a sample in each mode; an idle one waits in a kernel.
_RUNNING = np.full(256, Running.UNKNOWN, "u1")
_RUNNING[[Mode.KERNEL, Mode.USER, Mode.IDLE, Mode.FIRMWARE]] = (
    Running.PRIVILEGED,
    Running.USER,
    Running.PRIVILEGED,
    Running.BARE,
)
#: A context has the layout of the user space, where that counts, the guest, its era, and how the
#: processor ran; each shifted left by so much.
_LAYOUT, _GUEST, _ERA = 32, 16, 2


@dataclass(frozen=True, slots=True, eq=False)
class Contexts:
    """The contexts of the samples of a profile, as far as its processes were read by then.

    They are told anew each time: kept, they would take as much memory as the samples' times.
    A sample keeps its own for as long as the guests' eras stay, but for one in user mode whose
    process is read later: then it gets the layout of that.

    Attributes:
        layout: for each id of a task the layout of its user space; 0 where that was not read.
    """

    layout: Int64s

    @classmethod
    def now(cls, profile: Profile) -> Contexts:
        """By all that is read."""
        layouts = profile.user_spaces.layouts_of()
        if not layouts.any():
            return cls.unread()
        spaces = profile.tasks.spaces()
        spaces[spaces >= len(layouts)] = 0
        return cls(layouts[spaces])

    @classmethod
    def unread(cls) -> Contexts:
        """By nothing that is read."""
        return cls(np.zeros(1, np.int64))

    def moved(self, before: Contexts, samples: SampleBatch) -> NDArray[np.intp]:
        """Which of some samples had other contexts before, by their indices."""
        length = max(len(before.layout), len(self.layout))
        changed = _padded(before.layout, length) != _padded(self.layout, length)
        if not changed.any():
            return np.empty(0, np.intp)
        return np.flatnonzero((samples.mode == Mode.USER) & _at(changed, samples.task))

    def of(self, profile: Profile, samples: SampleBatch) -> Int64s:
        """The context of each of some samples of the profile."""
        context = samples.guest.astype(np.int64) << _GUEST
        for number, space in profile.spaces.items():
            if space.earlier:
                ours = samples.guest == number
                context[ours] |= space.era_at(samples.time[ours]) << _ERA
        context |= _RUNNING[samples.mode]
        if self.layout.any():
            user = samples.mode == Mode.USER
            context[user] |= _at(self.layout, samples.task[user]) << _LAYOUT
        return context


def parts(context: int) -> tuple[int, int, int, Running]:
    """Layout, guest, era and manner of running of a context."""
    return (
        context >> _LAYOUT,
        context >> _GUEST & 0xFFFF,
        context >> _ERA & (1 << _GUEST - _ERA) - 1,
        Running(context & (1 << _ERA) - 1),
    )


def of_callers(context: int) -> int:
    """The context of what called what ran in a context.

    How the processor ran it is not known: a stack may begin in user space.
    """
    _, guest, era, _ = parts(context)
    return guest << _GUEST | era << _ERA | Running.UNKNOWN


def space_of(profile: Profile, context: int) -> AddressSpace:
    """What the addresses of a context mean."""
    layout, guest, era, _ = parts(context)
    return profile.user_spaces.layouts[layout] if layout else profile.space(guest).eras[era]


def _padded(column: Int64s, length: int) -> Int64s:
    return np.pad(column, (0, length - len(column)))


def _at(of_task: NDArray[S], task: UInt32s) -> NDArray[S]:
    """What is known of tasks by their ids; of one that was never numbered what is of 0."""
    return of_task[np.where(task < len(of_task), task, 0)]
