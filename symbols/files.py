"""Reading a file that a user named: bounded, and with errors that say what to do."""

from __future__ import annotations

import os
from pathlib import Path

from symbols.errors import SymbolsError
from symbols.names import printable


def read_bounded(
    path: str | os.PathLike[str], limit: int, error: type[SymbolsError]
) -> tuple[str, bytes]:
    """The path as it may be shown, and the bytes of the file.

    Reads until the end instead of asking for the size: files of /proc claim to have none.

    Args:
        path: what the user gave.
        limit: more bytes than this are refused.
        error: what to raise.
    """
    shown = printable(os.fspath(path))
    try:
        with Path(path).open("rb") as stream:
            data = stream.read(limit + 1)
    except FileNotFoundError:
        raise error(f"{shown} does not exist", "Check the path.") from None
    except IsADirectoryError:
        raise error(f"{shown} is a directory", "Name the file in it.") from None
    except (OSError, ValueError) as refused:
        reason = refused.strerror if isinstance(refused, OSError) else str(refused)
        raise error(f"{shown} cannot be read: {reason}") from None
    if len(data) > limit:
        raise error(
            f"{shown} has more than {limit >> 20} MiB", "Check that it is the file you meant."
        )
    return shown, data
