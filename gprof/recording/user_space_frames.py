"""What is written of user spaces: layouts, which space has which, and symbols of what was used."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from gprof.profile.user_spaces import UserSpaces
from gprof.recording.format import Kind
from gprof.recording.images import image_fields, symbol_fields
from gprof.sampling.source import Int64s, Mode, SampleBatch, UInt64s

_FRAME_SPACES = 1 << 18


class UserSpaceFrames:
    """Remembers what was written, and appends what is new.

    Args:
        append: takes a frame.
    """

    def __init__(self, append: Callable[[Kind, Mapping[str, object]], None]) -> None:
        self._append = append
        self._layouts_written = 1
        self._layouts_of = np.zeros(1, np.int64)
        self._pcs: dict[int, UInt64s] = {}  # by user space
        # By user space the layout, and of how many addresses, that symbols were written for.
        self._looked_up: dict[int, tuple[int, int]] = {}
        # By layout and image the symbols that were written, ascending.
        self._symbols: dict[tuple[int, int], Int64s] = {}

    def append(self, spaces: UserSpaces, samples: SampleBatch, space_of_task: Int64s) -> None:
        """Append what came since the last time.

        Args:
            spaces: the same table each time.
            samples: new ones, with tasks as they are recorded.
            space_of_task: by id of such a task, the id of its user space.
        """
        self._append_layouts(spaces)
        self._append_symbols(spaces, samples, space_of_task)

    def _append_layouts(self, spaces: UserSpaces) -> None:
        now = spaces.layouts_of()
        layouts = spaces.layouts
        for number in range(self._layouts_written, len(layouts)):
            images = [image_fields(image) for image in layouts[number].images]
            self._append(Kind.LAYOUTS, {"number": number, "images": images})
            self._layouts_written = number + 1
        before = np.zeros(len(now), np.int64)
        before[: len(self._layouts_of)] = self._layouts_of
        changed = np.flatnonzero(before != now)
        for at in range(0, len(changed), _FRAME_SPACES):
            part = changed[at : at + _FRAME_SPACES]
            self._append(
                Kind.USER_SPACES,
                {
                    "space": part.astype("<u4").tobytes(),
                    "layout": now[part].astype("<u4").tobytes(),
                },
            )
        self._layouts_of = now

    def _append_symbols(
        self, spaces: UserSpaces, samples: SampleBatch, space_of_task: Int64s
    ) -> None:
        """Write the symbols of addresses in user spaces.

        A space may be read, or found to have more, long after it was sampled: so the addresses of
        each are kept.
        """
        space = space_of_task[samples.task]
        user = (samples.mode == Mode.USER) & (space > 0) & (space < len(self._layouts_of))
        for number in np.unique(space[user]).tolist():
            new = np.unique(samples.pc[user & (space == number)])
            kept = self._pcs.get(number)
            self._pcs[number] = new if kept is None else np.union1d(kept, new)
        for number, pcs in self._pcs.items():
            layout = int(self._layouts_of[number])
            looked_up = self._looked_up.get(number)
            if layout and looked_up != (layout, len(pcs)):
                self._append_names_in(spaces, layout, pcs)
                self._looked_up[number] = (layout, len(pcs))

    def _append_names_in(self, spaces: UserSpaces, layout: int, pcs: UInt64s) -> None:
        space = spaces.layouts[layout]
        resolved = space.resolve(pcs)
        for image in np.unique(resolved.image[resolved.image >= 0]).tolist():
            table = space.images[image].table
            if table is None or not len(table):
                continue
            wanted = resolved.symbol[(resolved.image == image) & (resolved.symbol >= 0)]
            # As in other images, the first shows that there are some.
            wanted = np.union1d(wanted, np.zeros(1, np.int64))
            written = self._symbols.get((layout, image), np.empty(0, np.int64))
            new = np.setdiff1d(wanted, written, assume_unique=True)
            self._symbols[layout, image] = np.union1d(written, new)
            for fields in symbol_fields(table, new):
                self._append(Kind.USER_SYMBOLS, {"layout": layout, "image": image, **fields})
