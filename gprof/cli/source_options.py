"""Options that say where source files are, and what they come to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import click

from gprof.cli.options import PATH

if TYPE_CHECKING:
    from gprof.annotator import Annotator
    from symbols.lines_of_space import SpaceLines
    from symbols.memory import Memory
    from symbols.source_tree import SourceTree

F = TypeVar("F", bound=Callable[..., Any])


def source_options(command: F) -> F:
    """Add `--source` and `--source-map`."""
    for option in (
        click.option("--source-map", "mapped", multiple=True, metavar="FROM=TO",
                     help="Paths that the compiler knew as FROM... are TO... here."),
        click.option("--source", "sources", type=PATH, multiple=True,
                     metavar="DIR",
                     help="Where the source is, such as linux-6.1; may be given again."),
    ):  # fmt: skip
        command = option(command)
    return command


def source_tree(given: dict[str, Any]) -> SourceTree:
    """What the options say; they are taken out of `given`.

    Raises:
        SymbolsError: a directory does not exist, or a mapping is none.
    """
    from symbols.source_tree import SourceTree, parse_map

    return SourceTree(given.pop("sources"), [parse_map(text) for text in given.pop("mapped")])


def annotator_of(
    code: Mapping[int, Memory],
    tree: SourceTree | None = None,
    *,
    lines: bool = True,
    bits: int | None = None,
) -> Annotator:
    """What makes listings; close it.

    Args:
        code: of each guest.
        tree: the text of source files.
        lines: look up lines of source, and keep them in the user's cache directory.
        bits: of x86 code.
    """
    from gprof.annotator import Annotator

    return Annotator(code, lines=kept_lines if lines else None, tree=tree, bits=bits)


def kept_lines() -> SpaceLines:
    """What tells source lines, and keeps them in the user's cache directory; close it."""
    from symbols.lines_cache import LineCache, default_cache
    from symbols.lines_of_space import SpaceLines

    return SpaceLines(LineCache(default_cache()))
