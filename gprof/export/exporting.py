"""Writing a profile to a file in a format."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any, BinaryIO, cast

from gprof.export.files import writing
from gprof.export.formats import FORMATS, compressed
from gprof.profile.filter import EVERYTHING, Filter
from gprof.profile.profile import Profile
from gprof.profile.view import Group
from symbols.lines_of_space import SpaceLines


def export(
    profile: Profile,
    path: Path,
    form: str,
    *,
    chosen: Filter = EVERYTHING,
    group: Group = Group.SYMBOL,
    lines: SpaceLines | None = None,
    force: bool = False,
) -> None:
    """Write a profile.

    Args:
        profile: what was sampled.
        path: of the new file; `-` is stdout. Where its name ends in `.gz` it is compressed.
        form: a key of `FORMATS`.
        chosen: which samples count.
        group: what a row stands for, in formats that have rows.
        lines: tells which functions were inlined, in formats that show them.
        force: replace what is there.

    Raises:
        GprofError: see `writing`.
    """
    options: dict[str, Any] = {"group": group} if FORMATS[form].grouped else {}
    if FORMATS[form].inlining:
        options["lines"] = lines
    exporter = FORMATS[form].make(chosen=chosen, **options)
    with writing(path, force=force) as out:
        if compressed(path, form):
            # Without a time and a name in its head the same profile gives the same bytes.
            with gzip.GzipFile("", "wb", 6, out, mtime=0) as packed:
                exporter.write(profile, cast("BinaryIO", packed))
        else:
            exporter.write(profile, out)
