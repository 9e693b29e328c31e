"""Opening files, with the refusals of the system as sentences."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import BinaryIO

from gprof.errors import GprofError, PermissionProblem, UsageError


def open_input(path: Path) -> BinaryIO:
    """Open a file to read.

    Raises:
        UsageError: there is no such file, or it is a directory.
        PermissionProblem: it may not be read.
        GprofError: anything else that the system says.
    """
    try:
        return path.open("rb")
    except (FileNotFoundError, NotADirectoryError):
        raise UsageError(f"{path} does not exist", "Give the path of an existing file.") from None
    except IsADirectoryError:
        raise UsageError(f"{path} is a directory", "Give the path of a file.") from None
    except PermissionError as error:
        raise PermissionProblem(
            f"{path} cannot be read: {error.strerror}",
            "Recordings belong to who made them: run gprof as that user, or change the owner.",
        ) from None
    except (OSError, ValueError) as error:
        raise GprofError(f"{path} cannot be read: {error}") from None


def create(path: Path, *, force: bool = False, shown: Path | None = None) -> int:
    """Create a file to write and return its descriptor.

    Only its owner may read it: a profile tells where the guest's kernel lies. Under sudo the
    owner is the person who called sudo.

    Args:
        path: of the new file.
        force: replace what is there.
        shown: what people call it, where that is not its path.

    Raises:
        UsageError: it exists and `force` is not given, or its directory does not exist.
        PermissionProblem: the system refuses.
        GprofError: anything else that the system says.
    """
    shown = shown or path
    how = os.O_TRUNC if force else os.O_EXCL
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | how, 0o600)
    except FileExistsError:
        raise UsageError(
            f"{shown} exists already", "Give --force to replace it, or another name with -o."
        ) from None
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        raise UsageError(
            f"{shown} cannot be created: its directory does not exist, or it is one itself",
            "Give the path of a file in an existing directory.",
        ) from None
    except PermissionError as error:
        raise PermissionProblem(
            f"{shown} cannot be created: {error.strerror}",
            "Give a path in a directory that you may write to.",
        ) from None
    except OSError as error:
        raise GprofError(f"{shown} cannot be created: {error.strerror}") from None
    _give_to_caller_of_sudo(file)
    return file


def _give_to_caller_of_sudo(file: int) -> None:
    if os.geteuid() != 0:
        return
    uid, gid = os.environ.get("SUDO_UID", ""), os.environ.get("SUDO_GID", "")
    if uid.isdecimal() and gid.isdecimal():
        # A device, or a file system without owners: then it stays as it is.
        with contextlib.suppress(OSError, OverflowError):
            os.fchown(file, int(uid), int(gid))
