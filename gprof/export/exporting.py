"""Writing a profile to a file in a format."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import BinaryIO, cast

from gprof.export.files import writing
from gprof.export.formats import FORMATS, compressed
from gprof.profile.filter import EVERYTHING, Filter
from gprof.profile.profile import Profile
from gprof.profile.view import Group


def export(
    profile: Profile,
    path: Path,
    form: str,
    *,
    chosen: Filter = EVERYTHING,
    group: Group = Group.SYMBOL,
    force: bool = False,
) -> None:
    """Write a profile.

    Args:
        profile: what was sampled.
        path: of the new file; `-` is stdout. Where its name ends in `.gz` it is compressed.
        form: a key of `FORMATS`.
        chosen: which samples count.
        group: what a row stands for, in formats that have rows.
        force: replace what is there.

    Raises:
        GprofError: see `writing`.
    """
    grouped = {"group": group} if FORMATS[form].grouped else {}
    exporter = FORMATS[form].make(chosen=chosen, **grouped)
    with writing(path, force=force) as out:
        if compressed(path, form):
            # Without a time and a name in its head the same profile gives the same bytes.
            with gzip.GzipFile("", "wb", 6, out, mtime=0) as packed:
                exporter.write(profile, cast("BinaryIO", packed))
        else:
            exporter.write(profile, out)
