"""Lines of source that are looked for in the background while a screen goes on."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from gprof.sampling.source import UInt64s
from symbols.errors import GprofError
from symbols.source_frames import SourceFrame
from symbols.space import AddressSpace

if TYPE_CHECKING:  # it brings a database and what reads ELF files
    from symbols.lines_of_space import SpaceLines

#: Addresses that are looked for at once: the screen shows what was found after each.
_AT_ONCE = 1000
_NONE = "no line is known there"


class LineSearch:
    """Tells what was found until now, and looks for the rest in a thread of its own.

    Args:
        lines: gives where lines are found; None where nobody knows any.
        found: is called from that thread whenever more is known.
    """

    def __init__(self, lines: Callable[[], SpaceLines | None], found: Callable[[], object]) -> None:
        self._lines = lines
        self._found = found
        self._known: dict[AddressSpace, dict[int, SourceFrame | str]] = {}
        self._asked: dict[AddressSpace, set[int]] = {}
        self._waiting: deque[tuple[AddressSpace, list[int]]] = deque()
        self._some = threading.Condition()
        self._closed = False
        self._thread: threading.Thread | None = None

    def at(self, space: AddressSpace, pcs: UInt64s) -> Sequence[SourceFrame | str | None]:
        """The line of each address, or why there is none; None while it is looked for.

        Of inlined code it is the line where that was written.
        """
        wanted = pcs.tolist()
        with self._some:
            known = self._known.setdefault(space, {})
            asked = self._asked.setdefault(space, set())
            missing = [pc for pc in wanted if pc not in asked]
            asked.update(missing)
            for first in range(0, len(missing), _AT_ONCE):
                self._waiting.append((space, missing[first : first + _AT_ONCE]))
            if missing and self._thread is None and not self._closed:
                self._thread = threading.Thread(target=self._search, name="lines", daemon=True)
                self._thread.start()
            self._some.notify()
            return [known.get(pc) for pc in wanted]

    def close(self) -> None:
        """Look for nothing more. Whoever has the lines closes them."""
        with self._some:
            self._closed = True
            self._waiting.clear()
            self._some.notify()

    def _search(self) -> None:
        while True:
            with self._some:
                self._some.wait_for(lambda: self._waiting or self._closed)
                if self._closed:
                    return
                space, pcs = self._waiting.popleft()
            found = self._lines_of(space, pcs)
            with self._some:
                self._known[space] |= found
            self._found()

    def _lines_of(self, space: AddressSpace, pcs: list[int]) -> dict[int, SourceFrame | str]:
        lines = self._lines()
        if lines is None:
            return dict.fromkeys(pcs, _NONE)
        try:
            chains = lines.find(space, pcs)
        except GprofError as error:
            return dict.fromkeys(pcs, error.problem)
        found: dict[int, SourceFrame | str] = {}
        for pc in pcs:
            if chains[pc]:
                found[pc] = chains[pc][0]
            else:
                image = space.image_at(pc)
                found[pc] = (lines.why(image) if image is not None else "") or _NONE
        return found
