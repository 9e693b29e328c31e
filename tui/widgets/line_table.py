"""A table that draws only the lines on screen, whatever it holds.

Textual's DataTable lays out and paints every visible cell again when any one changes (45 to
90 ms at 130x50); this paints from strips that it keeps (6 to 12 ms), independent of the rows.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence
from typing import ClassVar, Generic, TypeVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import BindingType
from textual.cache import LRUCache
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from tui.actions import TABLE, bindings
from tui.glyphs import BLOCKS, Glyphs
from tui.toned import Tone, fit
from tui.widgets.column import Cell, Column, Rows, Share
from tui.widgets.paint import Paint

T = TypeVar("T")

#: Cells between two columns, and before the first, where the cursor's mark stands.
_GAP = 2
#: The column that takes what is left wants at least this, before others are left away.
_LEAST = 26
#: What it has beyond this, it shares with columns that can stretch.
_PLENTY = 44
#: A share at least this large is hot, or warm: percent.
_HOT, _WARM = 10.0, 3.0


class LineTable(ScrollView, Generic[T], can_focus=True, inherit_bindings=False):
    """Columns, a header line, rows, and a cursor that stays on its row when rows change.

    On the first row it stays on the first, whichever that is.

    Args:
        glyphs: the marks to draw with.
        id: of the widget.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "line-table--header",
        "line-table--sorted",
        "line-table--cursor",
    }
    BINDINGS: ClassVar[list[BindingType]] = [*bindings(TABLE)]

    class Sorted(Message):
        """The header of a column was clicked."""

        def __init__(self, column: str) -> None:
            super().__init__()
            self.column = column

    class Moved(Message):
        """The cursor is on another row, or there are other rows."""

        def can_replace(self, message: Message) -> bool:
            """Only the last one matters."""
            return isinstance(message, LineTable.Moved)

    def __init__(self, glyphs: Glyphs = BLOCKS, *, id: str | None = None) -> None:  # noqa: A002 - Textual's own name
        super().__init__(id=id)
        self._glyphs = glyphs
        self._pattern: re.Pattern[str] | None = None
        self._columns: tuple[Column[T], ...] = ()
        self._fitted: tuple[tuple[Column[T], int], ...] = ()
        self._rows: Rows[T] = Rows((), (), {})
        self._sort: tuple[str, bool] | None = None
        self._cursor = 0
        self._paint = Paint(self)
        self._strips: LRUCache[tuple[int, int, bool], Strip] = LRUCache(512)

    @property
    def rows(self) -> Rows[T]:
        """What is shown."""
        return self._rows

    @property
    def columns(self) -> tuple[Column[T], ...]:
        """The columns that the terminal is wide enough for, in order."""
        return tuple(column for column, _ in self._fitted)

    @property
    def cursor(self) -> int:
        """Index of the row under the cursor; 0 where there are no rows."""
        return self._cursor

    @property
    def chosen(self) -> T | None:
        """The row under the cursor."""
        return self._rows.items[self._cursor] if self._rows.items else None

    def show(
        self,
        columns: Sequence[Column[T]],
        rows: Rows[T],
        sort: tuple[str, bool] | None = None,
    ) -> None:
        """Show other rows; the cursor stays on the key where it was, if that is still there.

        Args:
            columns: what to show of each row.
            rows: what to show, already in order.
            sort: key of the column that they are sorted by, and whether the largest comes first.
        """
        key = self._key_under_cursor()
        seen = self._first_line() <= self._cursor < self._first_line() + self._page()
        self._columns, self._rows, self._sort = tuple(columns), rows, sort
        # At the top it stays at the top: who follows the hottest row wants no other.
        if self._cursor:
            self._cursor = rows.positions.get(key, min(self._cursor, max(len(rows) - 1, 0)))
        self.virtual_size = Size(self.size.width, len(rows) + 1)
        self._refit()
        if seen:
            self._scroll_to_cursor()
        self.post_message(self.Moved())

    def find(self, pattern: re.Pattern[str] | None) -> None:
        """Mark the rows whose name has a match."""
        self._pattern = pattern
        self._strips.clear()
        self.refresh()

    def found(self) -> list[int]:
        """Index of every row whose name has a match."""
        if self._pattern is None:
            return []
        return [
            i for i, item in enumerate(self._rows.items) if self._pattern.search(self.name_of(item))
        ]

    def find_next(self, step: int) -> bool:
        """Go to the next row with a match (1), or the one before (-1), around at the ends."""
        found = self.found()
        if not found:
            return False
        after = [i for i in found if (i > self._cursor if step > 0 else i < self._cursor)]
        self.move_to((after or found)[0 if step > 0 else -1])
        return True

    def name_of(self, item: T) -> str:
        """What a row is called: the text of the column that takes what is left."""
        column = next((column for column in self._columns if not column.width), None)
        cell = column.cell(item) if column is not None else ""
        text = cell[0] if isinstance(cell, tuple) else cell
        return text.strip() if isinstance(text, str) else ""

    def move_to(self, index: int) -> None:
        """Put the cursor on a row, the nearest that exists, and bring it into sight."""
        self._cursor = max(0, min(index, len(self._rows) - 1))
        self._scroll_to_cursor()
        self.refresh()
        self.post_message(self.Moved())

    def action_cursor(self, step: int) -> None:
        """Move by rows."""
        self.move_to(self._cursor + step)

    def action_page(self, step: int) -> None:
        """Move by pages."""
        self.move_to(self._cursor + step * max(self._page() - 1, 1))

    def action_first(self) -> None:
        """Move to the first row."""
        self.move_to(0)

    def action_last(self) -> None:
        """Move to the last row."""
        self.move_to(len(self._rows) - 1)

    def on_click(self, event: events.Click) -> None:
        """A click on the header sorts, one on a row puts the cursor there."""
        if event.y > 0:
            index = event.y - 1 + self._first_line()
            if index < len(self._rows):
                self.move_to(index)
            return
        at = _GAP
        for column, width in self._fitted:
            if at <= event.x < at + width + _GAP and column.order is not None:
                self.post_message(self.Sorted(column.key))
                return
            at += width + _GAP

    def on_resize(self) -> None:
        """Fit the columns to the new width; keep the cursor in sight."""
        self.virtual_size = Size(self.size.width, len(self._rows) + 1)
        self._refit()
        self._scroll_to_cursor()

    def notify_style_update(self) -> None:
        """Another theme: paint everything anew."""
        super().notify_style_update()
        self._strips.clear()
        self._paint.forget()

    def render_line(self, y: int) -> Strip:
        """One line of the screen: the header, a row, or nothing."""
        width = self._width()
        if y == 0:
            return Strip(self._header()).adjust_cell_length(width, self._header_style())
        index = y - 1 + self._first_line()
        if index >= len(self._rows):
            return Strip.blank(width, self._paint.base)
        key = (index, width, index == self._cursor)
        strip = self._strips.get(key)
        if strip is None:
            strip = self._strips[key] = self._row(index, width)
        return strip

    def _row(self, index: int, width: int) -> Strip:
        base = self._paint.base
        under = index == self._cursor
        if under:
            base += self.get_component_rich_style("line-table--cursor")
        mark = self._glyphs.cursor if under else " "
        segments = [Segment(mark.ljust(_GAP), base)]
        item = self._rows.items[index]
        for number, (column, cells) in enumerate(self._fitted):
            if number:
                segments.append(Segment(" " * _GAP, base))
            cell = column.cell(item)
            if column.width == 0 and self._pattern is not None and self._is_found(item):
                cell = (cell[0] if isinstance(cell, tuple) else str(cell), Tone.FOUND)
            segments += self._cell(column, cell, cells, base)
        return Strip(segments).adjust_cell_length(width, base)

    def _is_found(self, item: T) -> bool:
        return self._pattern is not None and self._pattern.search(self.name_of(item)) is not None

    def _cell(self, column: Column[T], cell: Cell, width: int, base: Style) -> list[Segment]:
        if isinstance(cell, Share):
            return self._share(cell, width, base)
        if isinstance(cell, tuple):
            text, tone = cell
            style = base + self._paint[tone]
        else:
            text, style = (cell if isinstance(cell, str) else f"{cell:,}"), base
        return [Segment(fit(text, width, self._glyphs.ellipsis, right=column.right), style)]

    def _share(self, share: Share, width: int, base: Style) -> list[Segment]:
        tone = self._paint[
            Tone.HOT
            if share.percent >= _HOT
            else Tone.WARM
            if share.percent >= _WARM
            else Tone.COOL
        ]
        number = f"{share.percent:6.2f}"
        bar = bar_of(share.length, width - len(number) - 1, self._glyphs.bar)
        return [Segment(fit(number, min(width, 6)), base + tone)] + (
            [Segment(" " + bar, base + tone)] if bar else []
        )

    def _header(self) -> list[Segment]:
        style = self._header_style()
        marked = style + self.get_component_rich_style("line-table--sorted")
        segments = [Segment(" " * _GAP, style)]
        for number, (column, width) in enumerate(self._fitted):
            if number:
                segments.append(Segment(" " * _GAP, style))
            title = column.title
            sorted_here = self._sort is not None and column.key == self._sort[0]
            if sorted_here and self._sort is not None:
                mark = self._glyphs.falling if self._sort[1] else self._glyphs.rising
                title = f"{title} {mark}"
            text = fit(title, width, self._glyphs.ellipsis, right=column.right)
            segments.append(Segment(text, marked if sorted_here else style))
        return segments

    def _header_style(self) -> Style:
        return self.get_component_rich_style("line-table--header")

    def _refit(self) -> None:
        self._fitted = fitted(self._columns, self._width())
        self._strips.clear()
        self.refresh()

    def _key_under_cursor(self) -> Hashable:
        return self._rows.keys[self._cursor] if self._rows.keys else None

    def _first_line(self) -> int:
        return round(self.scroll_offset.y)

    def _width(self) -> int:
        """What the scrollbar leaves, which Textual's own size does not tell."""
        scrolls = len(self._rows) + 1 > self.size.height
        return max(self.size.width - scrolls * self.scrollbar_size_vertical, 0)

    def _page(self) -> int:
        """How many rows fit below the header."""
        return max(self.size.height - 1, 0)

    def _scroll_to_cursor(self) -> None:
        first = self._first_line()
        page = self._page()
        if self._cursor < first:
            first = self._cursor
        elif page and self._cursor >= first + page:
            first = self._cursor - page + 1
        else:
            return
        self.scroll_to(y=first, animate=False, force=True, immediate=True)


def fitted(columns: Sequence[Column[T]], width: int) -> tuple[tuple[Column[T], int], ...]:
    """The columns that fit into `width` cells, each with the cells that it gets.

    Columns are left away by falling rank until the one without a width of its own has enough.
    """
    kept = list(columns)
    while True:
        room = width - sum(column.width + _GAP for column in kept)
        leaving = max(kept, key=lambda column: column.rank, default=None)
        if room >= _LEAST or leaving is None or leaving.rank == 0:
            break
        kept.remove(leaving)
    widths = {}
    for column in kept:
        extra = max(min(column.stretch, (room - _PLENTY) // 2), 0)
        room -= extra
        widths[column.key] = column.width + extra
    return tuple((column, widths[column.key] if column.width else max(room, 1)) for column in kept)


def bar_of(length: float, width: int, parts: str) -> str:
    """A bar of `width` cells, filled from the left as far as `length` (0 to 1) says.

    What is there at all shows at least the smallest part.
    """
    if width <= 0:
        return ""
    steps = len(parts)
    filled = round(min(max(length, 0.0), 1.0) * width * steps)
    if length > 0:
        filled = max(filled, 1)
    whole, rest = divmod(filled, steps)
    return (parts[-1] * whole + (parts[rest - 1] if rest else "")).ljust(width)
