"""The recordings of real guests in fixtures/perf, laid out as a person has them."""

from __future__ import annotations

import lzma
import shutil
from pathlib import Path

FIXTURES = Path(__file__).parents[1] / "fixtures" / "perf"


def unpacked(name: str, directory: Path) -> Path:
    """A recording as a file."""
    path = directory / f"{name}.data"
    path.write_bytes(lzma.decompress((FIXTURES / f"{name}.data.xz").read_bytes()))
    return path


def guest_mount(directory: Path) -> Path:
    """A directory for `--guestmount`, with what is kept of every guest."""
    for guest in (FIXTURES / "guests").iterdir():
        proc = directory / guest.name / "proc"
        proc.mkdir(parents=True)
        shutil.copy(guest / "modules", proc)
        (proc / "kallsyms").write_bytes(lzma.decompress((guest / "kallsyms.xz").read_bytes()))
    return directory
