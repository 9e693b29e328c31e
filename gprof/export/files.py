"""Writing an export to a file or to stdout, whole or not at all."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from gprof.errors import GprofError, UsageError
from gprof.recording.files import create


@contextmanager
def writing(path: Path, *, force: bool = False) -> Iterator[BinaryIO]:
    """Give a file to write, which takes its name when everything is written.

    Args:
        path: of the new file; `-` is stdout.
        force: replace what is there.

    Raises:
        UsageError: it exists and `force` is not given, or its directory does not exist.
        PermissionProblem, GprofError: the system refuses.
    """
    if str(path) == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    file = create(part, force=True, shown=path)
    try:
        with os.fdopen(file, "wb") as out:
            if path.exists() and not force:
                raise UsageError(
                    f"{path} exists already", "Give --force to replace it, or another name with -o."
                )
            yield out
        part.replace(path)
    except OSError as error:
        raise GprofError(
            f"{path} cannot be written: {error.strerror}",
            "Free some space, or choose another place.",
        ) from None
    finally:
        part.unlink(missing_ok=True)
