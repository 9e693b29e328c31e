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
from typing import IO

MIRROR = "http://deb.debian.org/debian"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
REMEDY = "a guest test needs apt, a network, and the archive of Debian"


@dataclass(frozen=True, slots=True)
class Archived:
    """Where the archive has a kernel.

    Attributes:
        meta: the package that always depends on the newest one.
        suite: Debian's release, or empty for whatever this machine's own package sources have.
        architecture: as Debian calls it.
        cached: a pattern of releases: which of the cache's will do when the archive is away.
    """

    meta: str
    suite: str
    architecture: str
    cached: str


#: By generation: what differs between them is said in docs/guests.md.
KERNELS = {
    "amd64-5.10": Archived("linux-image-cloud-amd64", "bullseye", "amd64", "5.10.*-cloud-amd64"),
    "amd64-6.1": Archived("linux-image-cloud-amd64", "", "amd64", "6.1.*-cloud-amd64"),
    "amd64-6.12": Archived("linux-image-cloud-amd64", "trixie", "amd64", "6.12.*-cloud-amd64"),
    "amd64-sid": Archived("linux-image-cloud-amd64", "sid", "amd64", "[7-9].*-cloud-amd64"),
    "arm64-6.1": Archived("linux-image-cloud-arm64", "bookworm", "arm64", "6.1.*-cloud-arm64"),
    "arm64-16k-6.12": Archived("linux-image-arm64-16k", "trixie", "arm64", "6.12.*-arm64-16k"),
    "s390x-6.1": Archived("linux-image-s390x", "bookworm", "s390x", "6.1.*-s390x"),
    "s390x-6.12": Archived("linux-image-s390x", "trixie", "s390x", "6.12.*-s390x"),
    "riscv64-6.12": Archived("linux-image-riscv64", "trixie", "riscv64", "6.12.*-riscv64"),
}


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
        busybox: a statically linked busybox of the same architecture and age.
        architecture: as Debian calls it.
    """

    release: str
    vmlinuz: Path
    vmlinux: Path
    modules: Path
    busybox: Path
    architecture: str

    @classmethod
    def at(cls, folder: Path, architecture: str) -> DebianKernel:
        """The kernel in one folder of the cache."""
        return cls(
            folder.name,
            folder / "vmlinuz",
            folder / "vmlinux",
            folder / "modules",
            folder / "busybox",
            architecture,
        )


def cache_folder() -> Path:
    """Where downloads are kept."""
    chosen = os.environ.get("GPROF_TEST_CACHE")
    return Path(chosen) if chosen else Path.home() / ".cache" / "gprof-tests"


def fetch_kernel(wanted: Archived = KERNELS["amd64-6.1"]) -> DebianKernel:
    """The archive's current kernel of one kind, downloaded where the cache does not have it.

    Where the archive cannot be asked, the newest such kernel of the cache.

    Raises:
        KernelUnavailable: there is none to be had.
    """
    cache = cache_folder()
    cache.mkdir(parents=True, exist_ok=True)
    with _lock(cache):
        try:
            return _current(cache, wanted)
        except KernelUnavailable:
            found = [path for path in cache.glob(wanted.cached) if (path / "busybox").exists()]
            if not found:
                raise
            newest = max(found, key=lambda path: path.stat().st_mtime)
            return DebianKernel.at(newest, wanted.architecture)


def _current(cache: Path, wanted: Archived) -> DebianKernel:
    for tool in ("apt-get", "apt-cache", "dpkg"):
        if shutil.which(tool) is None:
            raise KernelUnavailable(f"{tool} is not installed; {REMEDY}")
    problem = ""
    # The machine's own lists first: they are there already, but may be missing or out of date.
    own: tuple[tuple[str, ...], ...] = () if wanted.suite else ((),)
    for options in (*own, _private_state(cache, wanted)):
        try:
            if options:
                _run(["apt-get", *options, "-qq", "update"], cache)
            package = _resolve(wanted.meta, options, cache)
            folder = cache / package.removeprefix("linux-image-")
            if not (folder / "busybox").exists():
                _download(package, options, folder)
            return DebianKernel.at(folder, wanted.architecture)
        except KernelUnavailable as error:
            problem = str(error)
    raise KernelUnavailable(f"{problem}; {REMEDY}")


def _resolve(meta: str, options: Sequence[str], cache: Path) -> str:
    """The package behind the meta package: its name holds an ABI number that moves."""
    depends = _depends(meta, options, cache)
    found = next((name for name in depends if name.startswith("linux-image-")), None)
    if found is None:
        raise KernelUnavailable(f"the package sources have no {meta}")
    return found


def _depends(package: str, options: Sequence[str], folder: Path) -> list[str]:
    said = _run(["apt-cache", *options, "depends", package], folder)
    return re.findall(r"^\s*Depends: ([\w.+-]+)$", said, re.MULTILINE)


def _download(package: str, options: Sequence[str], folder: Path) -> None:
    release = package.removeprefix("linux-image-")
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="unpacking-") as name:
        work = Path(name)
        # Since 2026 the image is a shell around two more packages.
        parts = [
            part
            for part in _depends(package, options, work)
            if part in {f"linux-binary-{release}", f"linux-modules-{release}"}
        ]
        packages = [package, f"{package}-dbg", "busybox-static", *parts]
        _run(["apt-get", *options, "-qq", "download", *packages], work)
        for archive in sorted(work.glob("*.deb")):
            debugging = archive.name.startswith(f"{package}-dbg")
            # The modules' debugging files are as large as everything else together.
            wanted = (
                ["*/vmlinux*"]
                if debugging
                else ["*/vmlinu[xz]*", "*/lib/modules/*", "*/bin/busybox"]
            )
            unpacked = work / ("debugging" if debugging else "image")
            unpacked.mkdir(exist_ok=True)
            with subprocess.Popen(
                ["dpkg", "--fsys-tarfile", archive], stdout=subprocess.PIPE
            ) as reading:
                assert reading.stdout is not None
                _unpack(reading.stdout, wanted, unpacked)
        done = work / "done"
        done.mkdir()
        for kind, names, new_name in (
            ("debugging", (f"vmlinux-{release}", "vmlinux"), "vmlinux"),
            # riscv64 boots an image that is not compressed.
            ("image", (f"vmlinuz-{release}", "vmlinuz", f"vmlinux-{release}"), "vmlinuz"),
            ("image", (f"modules/{release}",), "modules"),
            ("image", ("busybox",), "busybox"),
        ):
            found = [path for name in names for path in (work / kind).rglob(name)]
            real = [path for path in found if not path.is_symlink()]
            if not real:
                raise KernelUnavailable(f"{package} of this archive has no {names[0]}")
            real[0].rename(done / new_name)
        shutil.rmtree(folder, ignore_errors=True)
        done.rename(folder)


def _unpack(archive: IO[bytes], wanted: Sequence[str], folder: Path) -> None:
    """Take out of a tar archive what it has of some patterns; it need not have all of them."""
    command = ["tar", "x", "--wildcards", "--no-same-owner", "-C", str(folder), *wanted]
    done = subprocess.run(command, stdin=archive, capture_output=True, text=True, check=False)
    missing = re.compile(r"Not found in archive|Exiting with failure status due to previous errors")
    complaints = [line for line in done.stderr.splitlines() if not missing.search(line)]
    if complaints:
        raise KernelUnavailable(f"tar failed: {complaints[-1]}")


def _private_state(cache: Path, wanted: Archived) -> tuple[str, ...]:
    """Options that let any user update package lists, without touching the machine's."""
    state = cache / "apt" / f"{wanted.suite or 'own'}-{wanted.architecture}"
    lists, archives = state / "lists", state / "archives"
    for folder in (lists, archives):
        (folder / "partial").mkdir(parents=True, exist_ok=True)
    options = [f"Dir::State::Lists={lists}", f"Dir::Cache={archives}", "APT::Sandbox::User="]
    if wanted.suite:
        sources, installed = state / "sources.list", state / "status"
        sources.write_text(f"deb [signed-by={KEYRING}] {MIRROR} {wanted.suite} main\n")
        installed.touch()
        options += [
            f"Dir::Etc::sourcelist={sources}",
            "Dir::Etc::sourceparts=/dev/null",
            f"Dir::State::status={installed}",
            f"APT::Architecture={wanted.architecture}",
            f"APT::Architectures={wanted.architecture}",
            "Acquire::Languages=none",
        ]
    return tuple(word for option in options for word in ("-o", option))


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
