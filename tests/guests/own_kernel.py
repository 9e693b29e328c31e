"""Kernels that no distribution has, built from Debian's sources and kept in the cache.

A build compiles 900 files; what differs little is built from what is there.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.guests.debian_kernel import DebianKernel, KernelUnavailable, cache_folder

SOURCE = "linux-source-6.12"
FRAGMENT = Path(__file__).with_name("own_kernel.config")
_NEEDED = ("apt-get", "dpkg", "gcc", "make", "flex", "bison", "bc", "xz", "nice")
_PACKAGES = "gcc make flex bison bc xz-utils libelf-dev"


@dataclass(frozen=True, slots=True)
class Variant:
    """A kernel to build.

    Attributes:
        name: of its folder in the cache.
        tree: of the folder that it is built in; variants that share most of it are built quickly.
        options: beyond what every guest needs.
    """

    name: str
    tree: str
    options: tuple[str, ...]

    @property
    def config(self) -> list[str]:
        """All options, in the form of a kernel's configuration."""
        lines = FRAGMENT.read_text().splitlines()
        return [line for line in lines if line.startswith("CONFIG_")] + list(self.options)


def build_kernel(variant: Variant, busybox: Path) -> DebianKernel:
    """The kernel, built where the cache does not have it.

    Args:
        variant: which.
        busybox: a statically linked busybox for the guest, which is of this architecture.

    Raises:
        KernelUnavailable: the sources are not to be had, or cannot be built here.
    """
    # The build notes where it is; a link to another disk is followed first.
    cache = (cache_folder() / "own").resolve()
    folder, config = cache / variant.name, "\n".join(variant.config)
    if not (folder / "options").exists() or (folder / "options").read_text() != config:
        missing = [tool for tool in _NEEDED if shutil.which(tool) is None]
        if missing:
            raise KernelUnavailable(
                f"{missing[0]} is not installed: a kernel of our own needs {_PACKAGES}"
            )
        cache.mkdir(parents=True, exist_ok=True)
        _build(variant, _sources(cache), cache / f"build-{variant.tree}")
        _keep(cache / f"build-{variant.tree}", folder)
        (folder / "options").write_text(config)
    release = (folder / "release").read_text().strip()
    return DebianKernel(
        release, folder / "vmlinuz", folder / "vmlinux", folder / "modules", busybox, "amd64"
    )


def _sources(cache: Path) -> Path:
    """The unpacked sources."""
    sources = cache / SOURCE
    if not (sources / "Makefile").exists():
        _run(["apt-get", "-qq", "download", SOURCE], cache)
        package = next(cache.glob(f"{SOURCE}_*.deb"))
        _run(["dpkg", "-x", package, cache], cache)
        _run(["tar", "xJf", cache / "usr" / "src" / f"{SOURCE}.tar.xz"], cache)
    return sources


def _build(variant: Variant, sources: Path, tree: Path) -> None:
    tree.mkdir(exist_ok=True)
    make = ("nice", "make", "-s", f"-j{os.cpu_count()}", f"O={tree}")
    _run([*make, "tinyconfig"], sources)
    config = tree / ".config"
    # Of two lines for an option the later one counts.
    with config.open("a") as file:
        file.writelines(f"{line}\n" for line in variant.config)
    _run([*make, "olddefconfig"], sources)
    taken = set(config.read_text().splitlines())
    for line in variant.config:
        if line not in taken and not line.endswith("=n"):
            raise KernelUnavailable(f"{SOURCE} does not take {line} here; it needs {_PACKAGES}")
    _run([*make, "bzImage", "modules"], sources)


def _keep(tree: Path, folder: Path) -> None:
    """Copy what a guest needs out of a build."""
    done = folder.with_suffix(".new")
    shutil.rmtree(done, ignore_errors=True)
    (done / "modules").mkdir(parents=True)
    shutil.copy(tree / "arch" / "x86" / "boot" / "bzImage", done / "vmlinuz")
    shutil.copy(tree / "vmlinux", done / "vmlinux")
    shutil.copy(tree / "include" / "config" / "kernel.release", done / "release")
    for line in (tree / "modules.order").read_text().split():
        module = tree / Path(line).with_suffix(".ko")
        shutil.copy(module, done / "modules")
    shutil.rmtree(folder, ignore_errors=True)
    done.rename(folder)


def _run(command: Sequence[str | Path], folder: Path) -> None:
    done = subprocess.run(
        command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode:
        said = done.stderr.strip().splitlines()
        last = said[-1] if said else f"status {done.returncode}"
        raise KernelUnavailable(
            f"{command[0]} failed: {last}; a kernel of our own needs {_PACKAGES}"
        )
