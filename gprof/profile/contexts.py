"""What the meaning of an address depends on, for each sample."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from gprof.profile.growing import Growing
from gprof.profile.profile import Profile
from gprof.sampling.source import Int64s, Mode, UInt32s
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


class Contexts:
    """The context of each sample of a profile that grows.

    A sample keeps its own for as long as the guests' eras stay, but for one in user mode whose
    process is read later: then it gets the layout of that.
    """

    def __init__(self) -> None:
        self._of_sample: Growing[np.int64] = Growing(np.int64)
        self._layout = np.zeros(1, np.int64)  # by id of a task

    @property
    def of_sample(self) -> Int64s:
        """As of the last `follow`."""
        return self._of_sample.values

    def follow(self, profile: Profile) -> NDArray[np.intp]:
        """Take in what is new of a profile.

        Returns:
            Which of the samples that were known before have another context now.
        """
        known, samples = len(self._of_sample), profile.samples
        before, self._layout = self._layout, _layouts(profile)
        length = max(len(before), len(self._layout))
        changed = _padded(before, length) != _padded(self._layout, length)
        moved = np.empty(0, np.intp)
        if changed.any():
            task, user = samples.task[:known], samples.mode[:known] == Mode.USER
            moved = np.flatnonzero(user & _at(changed, task))
            layout = _at(self._layout, task[moved])
            rest = self._of_sample.values[moved] & ((1 << _LAYOUT) - 1)
            self._of_sample.put(moved, rest | layout << _LAYOUT)
        context = samples.guest[known:].astype(np.int64) << _GUEST
        for number, space in profile.spaces.items():
            if space.earlier:
                ours = samples.guest[known:] == number
                context[ours] |= space.era_at(samples.time[known:][ours]) << _ERA
        context |= _RUNNING[samples.mode[known:]]
        user = samples.mode[known:] == Mode.USER
        context[user] |= _at(self._layout, samples.task[known:][user]) << _LAYOUT
        self._of_sample.append(context)
        return moved


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


def _layouts(profile: Profile) -> Int64s:
    """For each id of a task the layout of its user space; 0 where that was not read."""
    layouts = profile.user_spaces.layouts_of()
    if not layouts.any():
        return np.zeros(1, np.int64)
    spaces = profile.tasks.spaces()
    spaces[spaces >= len(layouts)] = 0
    return layouts[spaces]


def _padded(column: Int64s, length: int) -> Int64s:
    return np.pad(column, (0, length - len(column)))


def _at(of_task: NDArray[S], task: UInt32s) -> NDArray[S]:
    """What is known of tasks by their ids; of one that was never numbered what is of 0."""
    return of_task[np.where(task < len(of_task), task, 0)]
