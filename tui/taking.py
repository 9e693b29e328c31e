"""Taking away what is on screen: as a file of another tool, or as a recording."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from gprof.export.exporting import export
from gprof.export.formats import FORMATS, format_of
from gprof.profile.profile import Profile
from gprof.profile.view import Group
from gprof.recording.writer import save
from symbols.memory import Memory
from tui.picture import Picture


def export_picture(picture: Picture, path: Path) -> str:
    """Write the samples that a picture counts; says what was written.

    Raises:
        GprofError: the name asks for no format, or the file cannot be written.
    """
    form = format_of(path)
    # Files have their lines from `gprof annotate`.
    group = picture.choice.group if picture.choice.group is not Group.LINE else Group.SYMBOL
    export(picture.shown, path, form, chosen=picture.filter, group=group)
    weights = f", weights in 1/{picture.scale} of a sample" if picture.scale != 1 else ""
    return f"Wrote {path}: {form} ({FORMATS[form].about}){weights}."


def save_profile(profile: Profile, path: Path, memories: Mapping[int, Memory]) -> str:
    """Write all samples as a recording; says what was written.

    Raises:
        GprofError: the file exists, or cannot be written.
    """
    save(profile, path, memories=memories)
    return f"Wrote {path}: {len(profile.samples):,} samples. Look: gprof report -i {path}"
