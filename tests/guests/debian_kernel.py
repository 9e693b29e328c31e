"""A real kernel with its debugging symbols, from the archive of Debian, kept in a cache.

Nothing of it is installed: any user may do this. The cache is `$GPROF_TEST_CACHE`, by default
`~/.cache/gprof-tests`, and holds one folder a kernel release; it may be deleted at any time.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

META_PACKAGE = "linux-image-cloud-amd64"
REMEDY = "a guest test needs the package sources of Debian on x86-64, apt and a network"


class KernelUnavailable(Exception):
    """No kernel in the cache, and none to be had from the archive; the message says why."""


@dataclass(frozen=True, slots=True)
class DebianKernel:
    """One unpacked kernel.

    Attributes:
        release: as `uname -r` says it.
        vmlinuz: what the emulator boots.
        vmlinux: the same kernel as an ELF file with DWARF.
        modules: the folder of its modules, `/lib/modules/RELEASE` on an installed system.
    """

    release: str
    vmlinuz: Path
    vmlinux: Path
    modules: Path

    @classmethod
    def at(cls, folder: Path) -> DebianKernel:
        """The kernel in one folder of the cache."""
        return cls(folder.name, folder / "vmlinuz", folder / "vmlinux", folder / "modules")


def cache_folder() -> Path:
    """Where downloads are kept."""
    chosen = os.environ.get("GPROF_TEST_CACHE")
    return Path(chosen) if chosen else Path.home() / ".cache" / "gprof-tests"


def fetch_kernel() -> DebianKernel:
    """The archive's current cloud kernel, downloaded where the cache does not have it.

    Where the archive cannot be asked, the newest kernel of the cache.

    Raises:
        KernelUnavailable: there is none to be had.
    """
    cache = cache_folder()
    cache.mkdir(parents=True, exist_ok=True)
    with _lock(cache):
        try:
            return _current(cache)
        except KernelUnavailable:
            cached = sorted(cache.glob("*/vmlinux"), key=lambda path: path.stat().st_mtime)
            if not cached:
                raise
            return DebianKernel.at(cached[-1].parent)


def _current(cache: Path) -> DebianKernel:
    for tool in ("apt-get", "apt-cache", "dpkg"):
        if shutil.which(tool) is None:
            raise KernelUnavailable(f"{tool} is not installed; {REMEDY}")
    problem = ""
    # The machine's own lists first: they are there already, but may be missing or out of date.
    for options in ((), _private_state(cache)):
        try:
            if options:
                _run(["apt-get", *options, "-qq", "update"], cache)
            package = _resolve(options, cache)
            folder = cache / package.removeprefix("linux-image-")
            if not folder.is_dir():
                _download(package, options, folder)
            return DebianKernel.at(folder)
        except KernelUnavailable as error:
            problem = str(error)
    raise KernelUnavailable(f"{problem}; {REMEDY}")


def _resolve(options: Sequence[str], cache: Path) -> str:
    """The package behind the meta package: its name holds an ABI number that moves."""
    said = _run(["apt-cache", *options, "depends", META_PACKAGE], cache)
    found = re.search(r"^\s*Depends: (linux-image-[\w.+-]+)$", said, re.MULTILINE)
    if found is None:
        raise KernelUnavailable(f"the package sources have no {META_PACKAGE}")
    return found[1]


def _download(package: str, options: Sequence[str], folder: Path) -> None:
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="unpacking-") as name:
        work = Path(name)
        _run(["apt-get", *options, "-qq", "download", package, f"{package}-dbg"], work)
        archives = sorted(work.glob("*.deb"))
        for archive in archives:
            debugging = archive.name.startswith(f"{package}-dbg")
            # The modules' debugging files are as large as everything else together.
            wanted = ["*/vmlinux*"] if debugging else ["*/boot/vmlinuz-*", "*/lib/modules/*"]
            unpacked = work / ("debugging" if debugging else "image")
            unpacked.mkdir()
            with subprocess.Popen(
                ["dpkg", "--fsys-tarfile", archive], stdout=subprocess.PIPE
            ) as reading:
                assert reading.stdout is not None
                _run(
                    ["tar", "x", "--wildcards", "--no-same-owner", "-C", str(unpacked), *wanted],
                    work,
                    stdin=reading.stdout,
                )
        done = work / "done"
        done.mkdir()
        release = folder.name
        for kind, patterns, new_name in (
            ("debugging", (f"vmlinux-{release}", "vmlinux"), "vmlinux"),
            ("image", (f"vmlinuz-{release}",), "vmlinuz"),
            ("image", (f"modules/{release}",), "modules"),
        ):
            found = [path for pattern in patterns for path in (work / kind).rglob(pattern)]
            real = [path for path in found if not path.is_symlink()]
            if not real:
                raise KernelUnavailable(f"{package} of this archive has no {patterns[0]}")
            real[0].rename(done / new_name)
        done.rename(folder)


def _private_state(cache: Path) -> tuple[str, ...]:
    """Options that let any user update package lists, without touching the machine's."""
    lists, archives = cache / "apt" / "lists", cache / "apt" / "archives"
    for folder in (lists, archives):
        (folder / "partial").mkdir(parents=True, exist_ok=True)
    return (
        "-o", f"Dir::State::Lists={lists}",
        "-o", f"Dir::Cache={archives}",
        "-o", "APT::Sandbox::User=",
    )  # fmt: skip


def _run(command: Sequence[str], folder: Path, *, stdin: object = subprocess.DEVNULL) -> str:
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            stdin=stdin,  # type: ignore[call-overload]
            capture_output=True,
            text=True,
            timeout=900,
            check=True,
        )
    except subprocess.CalledProcessError as error:
        said = error.stderr.strip().splitlines()
        raise KernelUnavailable(
            f"{command[0]} failed: {said[-1] if said else error.returncode}"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise KernelUnavailable(f"{command[0]} took more than {error.timeout:.0f} s") from error
    return str(done.stdout)


@contextmanager
def _lock(cache: Path) -> Iterator[None]:
    """One download at a time, however many test runs share the cache."""
    with (cache / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
