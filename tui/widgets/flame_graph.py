"""A flame graph in cells: each frame as wide as its share of the samples."""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from typing import ClassVar

from rich.segment import Segment
from textual import events
from textual.binding import BindingType
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from gprof.profile.tree import Node, NodeKey, NodeKind
from tui.actions import FLAME, bindings
from tui.flame_layout import Frame, Path, laid_out, nearest, node_at
from tui.glyphs import BLOCKS, Glyphs
from tui.toned import Tone, fit
from tui.widgets.paint import Paint

_TONES = {
    NodeKind.ROOT: Tone.FRAME_ROOT,
    NodeKind.KERNEL: Tone.FRAME_KERNEL,
    NodeKind.MODULE: Tone.FRAME_MODULE,
    NodeKind.USER: Tone.FRAME_USER,
    NodeKind.IDLE: Tone.FRAME_IDLE,
    NodeKind.FIRMWARE: Tone.FRAME_FIRMWARE,
    NodeKind.UNKNOWN: Tone.FRAME_UNKNOWN,
}
#: The same in another shade, where a name asks for it.
_SHADES = {
    Tone.FRAME_KERNEL: Tone.FRAME_KERNEL_2,
    Tone.FRAME_MODULE: Tone.FRAME_MODULE_2,
    Tone.FRAME_USER: Tone.FRAME_USER_2,
}


class FlameGraph(ScrollView, can_focus=True, inherit_bindings=False):
    """Frames on frames; the cursor and the zoom stay on their paths when the tree changes.

    Args:
        glyphs: the marks to draw with.
        id: of the widget.
    """

    BINDINGS: ClassVar[list[BindingType]] = [*bindings(FLAME)]

    class Moved(Message):
        """The cursor or the zoom is somewhere else, or the tree is another one."""

        def can_replace(self, message: Message) -> bool:
            """Only the last one matters."""
            return isinstance(message, FlameGraph.Moved)

    class Turned(Message):
        """The root is above now, or below."""

        def __init__(self, icicle: bool) -> None:
            super().__init__()
            self.icicle = icicle

    def __init__(self, glyphs: Glyphs = BLOCKS, *, id: str | None = None) -> None:  # noqa: A002 - Textual's own name
        super().__init__(id=id)
        self._glyphs = glyphs
        self._root_node: Node | None = None
        self._levels: tuple[tuple[Frame, ...], ...] = ()
        self._zoom: Path = ()
        self._cursor: Path = ()
        self._pattern: re.Pattern[str] | None = None
        self._icicle = True
        self._paint = Paint(self)

    @property
    def cursor(self) -> Path:
        """Where the cursor is."""
        return self._cursor

    @property
    def zoom(self) -> Path:
        """What fills the width."""
        return self._zoom

    @property
    def icicle(self) -> bool:
        """The root is above."""
        return self._icicle

    def turn(self, *, icicle: bool) -> None:
        """Draw with the root above, or below."""
        self._icicle = icicle
        self._reveal()
        self.refresh()

    @property
    def chosen(self) -> Node | None:
        """The node under the cursor."""
        return None if self._root_node is None else node_at(self._root_node, self._cursor)

    @property
    def levels(self) -> Sequence[Sequence[Frame]]:
        """What is drawn, from the root on."""
        return self._levels

    def show_tree(self, tree: Node) -> None:
        """Draw another tree."""
        self._root_node = tree
        self._zoom, self._cursor = nearest(tree, self._zoom), nearest(tree, self._cursor)
        self._lay_out()

    def find(self, pattern: re.Pattern[str] | None) -> None:
        """Mark the frames that have a match."""
        self._pattern = pattern
        self.refresh()

    def find_next(self, step: int) -> bool:
        """Go to the next frame with a match, outwards and from left to right."""
        if self._pattern is None:
            return False
        found = [
            frame.path
            for level in self._levels
            for frame in level
            if frame.path and self._pattern.search(frame.node.name)
        ]
        if not found:
            return False
        at = found.index(self._cursor) + step if self._cursor in found else min(step, 0)
        self._go(found[at % len(found)])
        return True

    def zoom_out(self) -> bool:
        """Show what is around; whether there was more."""
        if not self._zoom:
            return False
        self._zoom = self._zoom[:-1]
        self._lay_out()
        return True

    def action_zoom(self) -> None:
        """Let the frame under the cursor fill the width."""
        if self._zoom != self._cursor:
            self._zoom = self._cursor
            self._lay_out()

    def action_zoom_reset(self) -> None:
        """Show everything."""
        self._zoom = ()
        self._lay_out()

    def action_turn(self) -> None:
        """Draw with the root on the other side."""
        self.turn(icicle=not self._icicle)
        self.post_message(self.Turned(self._icicle))

    def action_level(self, step: int) -> None:
        """Go up or down on the screen."""
        outwards = step if self._icicle else -step
        if outwards < 0:
            self._go(self._cursor[:-1])
            return
        depth = len(self._cursor) + 1
        inner = [
            frame
            for frame in (self._levels[depth] if depth < len(self._levels) else ())
            if frame.path[:-1] == self._cursor
        ]
        if inner:
            self._go(max(inner, key=lambda frame: frame.width).path)

    def action_beside(self, step: int) -> None:
        """Go to the frame at the left or the right on the same level."""
        level = self._levels[len(self._cursor)] if len(self._cursor) < len(self._levels) else ()
        paths = [frame.path for frame in level]
        if self._cursor in paths:
            at = paths.index(self._cursor) + step
            if 0 <= at < len(paths):
                self._go(paths[at])

    def action_root(self) -> None:
        """Go to where everything begins, within the zoom."""
        self._go(self._zoom)

    def on_click(self, event: events.Click) -> None:
        """A click puts the cursor on a frame, a second one zooms."""
        frame = self._frame_at(event.x, event.y)
        if frame is None:
            return
        if frame.path == self._cursor:
            self.action_zoom()
        else:
            self._go(frame.path)

    def on_resize(self) -> None:
        """Lay the frames out for another width."""
        self._lay_out()

    def notify_style_update(self) -> None:
        """Another theme: paint everything anew."""
        super().notify_style_update()
        self._paint.forget()

    def render_line(self, y: int) -> Strip:
        """One level."""
        width, base = self.size.width, self._paint.base
        depth = self._depth_at(y)
        if not 0 <= depth < len(self._levels):
            return Strip.blank(width, base)
        node = self.chosen
        here = node.key[:2] if node is not None and self._cursor else None
        segments: list[Segment] = []
        at = 0
        for frame in self._levels[depth]:
            if frame.left > at:
                segments.append(Segment(" " * (frame.left - at), base))
            segments += self._drawn(frame, here)
            at = frame.left + frame.width
        return Strip(segments).adjust_cell_length(width, base)

    def _drawn(self, frame: Frame, here: tuple[str, str] | None) -> list[Segment]:
        node, glyphs = frame.node, self._glyphs
        tone, mark = _TONES[node.kind], glyphs.edge
        if frame.path == self._cursor:
            tone, mark = Tone.FRAME_HERE, glyphs.here
        elif self._pattern is not None and frame.path and self._pattern.search(node.name):
            tone, mark = Tone.FRAME_FOUND, glyphs.found
        elif here is not None and node.key[:2] == here:
            tone, mark = Tone.FRAME_SAME, glyphs.same
        else:
            tone = _shaded(tone, node.name)
        room = frame.width - 1
        name = fit(node.name, room, glyphs.ellipsis) if room > 2 else " " * room
        return [Segment(mark + name, self._paint[tone])]

    def _lay_out(self) -> None:
        width = self.size.width
        if self._root_node is None or not width:
            return
        self._levels = laid_out(self._root_node, self._zoom, width)
        if len(self._levels) > self.size.height and self.scrollbar_size_vertical:
            # The scrollbar lies on the last cells.
            self._levels = laid_out(
                self._root_node, self._zoom, max(width - self.scrollbar_size_vertical, 1)
            )
        if not any(f.path == self._cursor for f in self._level_of(self._cursor)):
            self._cursor = self._zoom
        self.virtual_size = Size(width, len(self._levels))
        self._reveal()
        self.refresh()
        self.post_message(self.Moved())

    def _level_of(self, path: Path) -> Sequence[Frame]:
        return self._levels[len(path)] if len(path) < len(self._levels) else ()

    def _go(self, path: Path) -> None:
        # What lies around the zoom is left by zooming out.
        if path[: len(self._zoom)] != self._zoom:
            self._zoom = path
            self._cursor = path
            self._lay_out()
            return
        self._cursor = path
        self._reveal()
        self.refresh()
        self.post_message(self.Moved())

    def _frame_at(self, x: int, y: int) -> Frame | None:
        depth = self._depth_at(y)
        level = self._levels[depth] if 0 <= depth < len(self._levels) else ()
        return next((f for f in level if f.left <= x < f.left + f.width), None)

    def _depth_at(self, y: int) -> int:
        """The level on a line of the screen."""
        line = y + round(self.scroll_offset.y)
        if self._icicle:
            return line
        return max(len(self._levels), self.size.height) - 1 - line

    def _reveal(self) -> None:
        """Bring the cursor's level into sight."""
        depth, page = len(self._cursor), self.size.height
        line = depth if self._icicle else max(len(self._levels), page) - 1 - depth
        first = round(self.scroll_offset.y)
        if line < first:
            first = line
        elif page and line >= first + page:
            first = line - page + 1
        self.scroll_to(y=first, animate=False, force=True, immediate=True)


def _shaded(tone: Tone, name: str) -> Tone:
    """One of two shades, always the same for a name."""
    odd = zlib.crc32(name.encode("utf-8", "surrogateescape")) & 1
    return _SHADES.get(tone, tone) if odd else tone


def same_function(root: Node, key: NodeKey) -> tuple[int, int]:
    """How often a function is in the tree, and the weight of the stacks that have it."""
    return root.matching(lambda other: other[:2] == key[:2])
