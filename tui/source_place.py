"""Where the source of a row is on this machine."""

from __future__ import annotations

from gprof.annotator import Annotator
from gprof.profile.profile import Profile
from gprof.profile.view import Row
from symbols.errors import SymbolsError
from symbols.source_frames import SourceFrame
from symbols.source_tree import SourceTree
from tui.editor import SourcePlace


def source_place(annotator: Annotator, row: Row, profile: Profile) -> SourcePlace:
    """The line of a row, or of its symbol that where most samples lie, or where it begins.

    Meant for a worker thread.

    Raises:
        SymbolsError: its lines are not known, or the file is not here.
    """
    if row.frame is not None:
        return place_of(annotator.tree, row.frame)
    listing = annotator.with_sources(profile, annotator.of_row(row, profile))
    known = [line for line in listing.lines if line.chain]
    if not known:
        raise SymbolsError(
            f"no source line of {row.label} is known", "Give a vmlinux with debugging information."
        )
    # What is inlined has its line elsewhere; the last of a chain is the function itself.
    frame = max(known, key=lambda line: line.samples).chain[-1]
    return place_of(annotator.tree, frame)


def place_of(tree: SourceTree, frame: SourceFrame) -> SourcePlace:
    """Where a line of source is.

    Raises:
        SymbolsError: its file is not here.
    """
    path = tree.path(frame.file)
    if path is None:
        raise SymbolsError(
            f"{frame} is not on this machine",
            "Say where the source is with --source DIR or --source-map FROM=TO.",
        )
    return SourcePlace(path, frame.line)
