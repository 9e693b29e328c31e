"""Opening a source line in the person's editor."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from textual.app import App, SuspendNotSupported

from gprof.errors import UsageError

#: Editors that take `file:line` after an option of their own, not `+line`.
_BY_COLON = {"code": ["--goto"], "codium": ["--goto"], "subl": [], "zed": [], "hx": []}


@dataclass(frozen=True, slots=True)
class SourcePlace:
    """A line of a file on this machine.

    Attributes:
        path: of the file.
        line: counted from 1; 0 where unknown.
    """

    path: Path
    line: int


def editor_command(environment: Mapping[str, str], place: SourcePlace) -> list[str]:
    """The program and its arguments, by $VISUAL, then $EDITOR.

    Raises:
        UsageError: neither names a program, or the file is not here.
    """
    text = environment.get("VISUAL") or environment.get("EDITOR") or ""
    try:
        words = shlex.split(text)
    except ValueError:
        words = []
    if not words:
        raise UsageError("no editor is known", "Set $EDITOR, for instance to vim.")
    if not place.path.is_file():
        raise UsageError(
            f"{place.path} is not on this machine", "Unpack the source where it was built."
        )
    # A file called `-x` is no option.
    path = str(place.path if place.path.is_absolute() else place.path.absolute())
    if (goto := _BY_COLON.get(Path(words[0]).name)) is not None:
        return [*words, *goto, f"{path}:{max(place.line, 1)}"]
    return [*words, *([f"+{place.line}"] if place.line else []), path]


def edit(app: App[Any], place: SourcePlace) -> str:
    """Give the terminal to the person's editor until it ends; returns why where that cannot be."""
    try:
        command = editor_command(os.environ, place)
        with app.suspend():
            subprocess.run(command, check=False)
    except UsageError as error:
        return str(error).replace("\n", " ")
    except (OSError, SuspendNotSupported):
        return f"The editor cannot be started here: {place.path}:{place.line}"
    return ""
