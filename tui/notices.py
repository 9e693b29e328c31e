"""What is said about a view: what its rows are, what is under the cursor, what went wrong."""

from __future__ import annotations

import re
import textwrap

from gprof.errors import GprofError
from gprof.profile.tree import Node
from gprof.profile.view import Group, Row
from symbols.names import printable
from tui.exit_rows import GROUPS
from tui.flame_layout import Path, node_at
from tui.image_rows import ImageRow, details
from tui.picture import Picture
from tui.toned import Piece, Tone, width_of
from tui.tree_rows import matched_weight
from tui.view import View
from tui.widgets.flame_graph import same_function

_Line = list[Piece]

#: Lines that one notice may take.
_MOST_LINES = 3


def what_is_shown(picture: Picture) -> str:
    """What a row or a frame stands for, in two words."""
    choice = picture.choice
    if choice.view is View.TOP:
        return f"by {choice.group}"
    if choice.view is View.EXITS:
        return f"by {', '.join(GROUPS[choice.exit_group % len(GROUPS)])}"
    if choice.view is View.SYMBOLS:
        return "by image"
    if not picture.stacked:
        return "by module (no call stacks)"
    return "from leaf to callers" if choice.inverted else "from caller to leaf"


def detail_lines(
    picture: Picture,
    cursor: Path,
    zoom: Path,
    row: object,
    pattern: re.Pattern[str] | None,
) -> list[_Line]:
    """What is under the cursor of a view whose cells do not tell it all.

    Args:
        picture: what is shown.
        cursor: of Flame.
        zoom: of Flame.
        row: what is under the cursor of Top or Symbols.
        pattern: what is looked for.
    """
    view, tree = picture.choice.view, picture.tree
    lines = []
    if pattern is not None:
        lines.append(_found(picture, pattern))
    if view is View.FLAME and tree is not None and tree.total:
        lines.append(_frame(tree, cursor, zoom))
    if isinstance(row, ImageRow):
        lines.append([(f" {printable(details(row))}", Tone.PLAIN)])
    if isinstance(row, Row) and picture.choice.group is Group.LINE and row.frame is None:
        lines.append([(f" {printable(row.label)}", Tone.PLAIN)])
    return lines


def notice_lines(
    picture: Picture | None, complaint: GprofError | None, hint: str, width: int
) -> list[_Line]:
    """Failures first, then what was just done, then what the sampler has to say.

    Args:
        picture: what is shown; None before the first look.
        complaint: what is wrong with what is being typed.
        hint: one sentence until something else is chosen.
        width: cells of a line; what is longer goes on in the next one.
    """
    return [line for told in _notices(picture, complaint, hint) for line in _wrapped(told, width)]


def _notices(picture: Picture | None, complaint: GprofError | None, hint: str) -> list[_Line]:
    lines: list[_Line] = []
    if picture is not None and picture.failure is not None:
        lines += _told(picture.failure, Tone.BAD)
    if picture is not None and picture.complaint is not None:
        lines += _told(picture.complaint, Tone.BAD)
    if complaint is not None:
        lines += _told(complaint, Tone.WARN)
    elif hint:
        lines.append([(f" {printable(hint)}", Tone.WARN)])
    elif picture is not None and picture.table.left_out and picture.choice.view is View.TOP:
        rest = f"{picture.table.left_out:,} rows with less are not shown"
        lines.append([(f" {rest}; a filter, or an order by name, brings them.", Tone.DIM)])
    elif picture is not None and picture.live.facts.notes and not lines:
        lines.append([(f" {printable(picture.live.facts.notes[-1])}", Tone.DIM)])
    if picture is not None and not lines and (why := _why_empty(picture)):
        lines.append([(f" {why}", Tone.DIM)])
    return lines


def _wrapped(line: _Line, width: int) -> list[_Line]:
    """A line of one piece, as lines that are not too long; a few at most."""
    if len(line) != 1 or width_of(line) <= width:
        return [line]
    text, tone = line[0]
    parts = textwrap.wrap(text, max(width - 2, 10), max_lines=_MOST_LINES, placeholder=" ...")
    return [[(f" {part.strip()}", tone)] for part in parts]


def _told(error: GprofError, tone: Tone) -> list[_Line]:
    """Problem and remedy of an error, line by line."""
    lines: list[_Line] = [[(f" {printable(line)}", tone)] for line in error.problem.split("\n")]
    lines += [[(f" {printable(line)}", Tone.PLAIN)] for line in error.remedy.split("\n") if line]
    return lines


def _why_empty(picture: Picture) -> str:
    choice = picture.choice
    if choice.view is View.EXITS:
        if picture.exits is None or picture.exits.table.rows:
            return ""
        return next(map(printable, picture.exits.table.notes), "No exits yet.")
    if choice.view is View.SYMBOLS:
        return "" if picture.sheet and len(picture.sheet.rows) else "Nothing is loaded."
    if picture.table.samples:
        return ""
    if not len(picture.shown.samples):
        return "No samples yet."
    return "Nothing is left of the samples: I, u, K show hidden modes, Esc removes a filter."


def _found(picture: Picture, pattern: re.Pattern[str]) -> _Line:
    sought: _Line = [(" found ", Tone.FOUND), (f" {printable(pattern.pattern)}", Tone.PLAIN)]
    tree = picture.tree
    if tree is not None:
        share = 100 * matched_weight(tree, pattern) / tree.total if tree.total else 0.0
        return [*sought, (f"  matched {share:.2f} % of the samples", Tone.STRONG)]
    if picture.sheet is None:
        return sought
    rows = sum(
        bool(pattern.search(str(getattr(row, "label", "") or getattr(row, "name", ""))))
        for row in picture.sheet.rows.items
    )
    return [*sought, (f"  in {rows:,} rows", Tone.STRONG)]


def _frame(tree: Node, cursor: Path, zoom: Path) -> _Line:
    node = node_at(tree, cursor)
    if node is None:
        return []
    parts: _Line = [(f" {printable(node.name)}", Tone.TITLE)]
    if node.module and node.module != node.name:
        parts.append((f"  {printable(node.module)}", Tone.DIM))
    parts.append((f"  {100 * node.total / tree.total:.2f} %", Tone.STRONG))
    if node.own and node.own != node.total:
        parts.append((f"  itself {100 * node.own / tree.total:.2f} %", Tone.PLAIN))
    zoomed = node_at(tree, zoom)
    if zoom and zoomed is not None and zoomed.total:
        parts.append((f"  {100 * node.total / zoomed.total:.2f} % of the zoom", Tone.PLAIN))
    if cursor:
        count, weight = same_function(tree, node.key)
        if count > 1:
            share = 100 * weight / tree.total
            parts.append((f"  in {count:,} places, {share:.2f} % in all", Tone.PLAIN))
    return parts
