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
FRAGMENTS = Path(__file__).parent
_NEEDED = ("apt-get", "dpkg", "gcc", "make", "flex", "bison", "bc", "xz", "nice")
_PACKAGES = "gcc make flex bison bc xz-utils libelf-dev"

#: A kernel with its types, as a distribution's: DWARF in its vmlinux, and BTF in itself.
DESCRIBED = (
    "CONFIG_DEBUG_KERNEL=y",
    "CONFIG_DEBUG_INFO_DWARF5=y",
    "CONFIG_BPF_SYSCALL=y",
    "CONFIG_DEBUG_INFO_BTF=y",
)


@dataclass(frozen=True, slots=True)
class Target:
    """What a kernel is built for.

    Attributes:
        arch: as the kernel's makefiles call it.
        image: what an emulator boots, below `arch/ARCH/boot`.
        compilers: what the names of the compiler and its tools begin with.
    """

    arch: str
    image: str
    compilers: str = ""


#: By the name that Debian has for the architecture.
TARGETS = {
    "amd64": Target("x86", "bzImage"),
    "arm64": Target("arm64", "Image", "aarch64-linux-gnu-"),
    "riscv64": Target("riscv", "Image", "riscv64-linux-gnu-"),
}


@dataclass(frozen=True, slots=True)
class Variant:
    """A kernel to build.

    Attributes:
        name: of its folder in the cache.
        tree: of the folder that it is built in; variants that share most of it are built quickly.
        options: beyond what every guest needs.
        architecture: as Debian calls it; of `TARGETS`.
        packages: that it needs beyond what every build does.
        compiler: the program; that of the architecture, of GCC, where it is empty.
    """

    name: str
    tree: str
    options: tuple[str, ...]
    architecture: str = "amd64"
    packages: str = ""
    compiler: str = ""

    @property
    def target(self) -> Target:
        """What it is built for."""
        return TARGETS[self.architecture]

    @property
    def config(self) -> list[str]:
        """All options, in the form of a kernel's configuration."""
        fragments = ("own_kernel", f"own_kernel_{self.architecture}")
        lines = [
            line
            for fragment in fragments
            for line in (FRAGMENTS / f"{fragment}.config").read_text().splitlines()
        ]
        return [line for line in lines if line.startswith("CONFIG_")] + list(self.options)

    @property
    def remedy(self) -> str:
        """What to install."""
        compilers = self.target.compilers
        cross = (f"gcc-{compilers.removesuffix('-')}",) if compilers else ()
        words = (_PACKAGES, *cross, self.packages)
        return f"a kernel of our own needs {' '.join(filter(None, words))}"


_SHUFFLING = (
    "CONFIG_RANDSTRUCT_FULL=y",
    "CONFIG_DEBUG_KERNEL=y",
    "CONFIG_DEBUG_INFO_DWARF5=y",
    "CONFIG_UNWINDER_ORC=y",
    "CONFIG_KALLSYMS_ALL=y",
)
#: Both shuffle their structures, and say nothing of it in themselves. Clang's debugging
#: information does, GCC's has every structure as its source has it.
SHUFFLED = Variant(
    "6.12-shuffled",
    "shuffled",
    ("CONFIG_GCC_PLUGINS=y", *_SHUFFLING),
    packages="gcc-VERSION-plugin-dev (of the compiler's version)",
)
SHUFFLED_BY_CLANG = Variant(
    "6.12-shuffled-clang", "shuffled-clang", _SHUFFLING, packages="clang-16", compiler="clang-16"
)


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
        needed = (*_NEEDED, variant.compiler or f"{variant.target.compilers}gcc")
        missing = [tool for tool in needed if shutil.which(tool) is None]
        if missing:
            raise KernelUnavailable(f"{missing[0]} is not installed: {variant.remedy}")
        cache.mkdir(parents=True, exist_ok=True)
        try:
            _build(variant, _sources(cache), cache / f"build-{variant.tree}")
        except _CommandFailed as reason:
            raise KernelUnavailable(f"{reason}; {variant.remedy}") from reason
        _keep(variant.target, cache / f"build-{variant.tree}", folder)
        (folder / "options").write_text(config)
    return DebianKernel(
        (folder / "release").read_text().strip(),
        folder / "vmlinuz",
        folder / "vmlinux",
        folder / "modules",
        busybox,
        variant.architecture,
    )


def _sources(cache: Path) -> Path:
    """The unpacked sources."""
    sources = cache / SOURCE
    if not sources.exists():
        _run(["apt-get", "-qq", "download", SOURCE], cache)
        package = max(cache.glob(f"{SOURCE}_*.deb"), key=lambda path: path.stat().st_mtime)
        _run(["dpkg", "-x", package, cache], cache)
        # Under another name until all of it is there.
        unpacking = cache / "unpacking"
        shutil.rmtree(unpacking, ignore_errors=True)
        unpacking.mkdir()
        _run(["tar", "xJf", cache / "usr" / "src" / f"{SOURCE}.tar.xz"], unpacking)
        (unpacking / SOURCE).rename(sources)
        unpacking.rmdir()
    return sources


def _build(variant: Variant, sources: Path, tree: Path) -> None:
    tree.mkdir(exist_ok=True)
    target = variant.target
    words = (f"O={tree}", f"ARCH={target.arch}", f"CROSS_COMPILE={target.compilers}")
    compiler = (f"CC={variant.compiler}",) if variant.compiler else ()
    make = ("nice", "make", "-s", f"-j{os.cpu_count()}", *words, *compiler)
    _run([*make, "tinyconfig"], sources)
    config = tree / ".config"
    # Of two lines for an option the later one counts.
    with config.open("a") as file:
        file.writelines(f"{line}\n" for line in variant.config)
    _run([*make, "olddefconfig"], sources)
    taken = set(config.read_text().splitlines())
    for line in variant.config:
        if line not in taken and not line.endswith("=n"):
            raise KernelUnavailable(f"{SOURCE} does not take {line} here; {variant.remedy}")
    _run([*make, target.image, "modules"], sources)


def _keep(target: Target, tree: Path, folder: Path) -> None:
    """Copy what a guest needs out of a build."""
    done = folder.with_suffix(".new")
    shutil.rmtree(done, ignore_errors=True)
    (done / "modules").mkdir(parents=True)
    shutil.copy(tree / "arch" / target.arch / "boot" / target.image, done / "vmlinuz")
    shutil.copy(tree / "vmlinux", done / "vmlinux")
    shutil.copy(tree / "include" / "config" / "kernel.release", done / "release")
    for line in (tree / "modules.order").read_text().split():
        module = tree / Path(line).with_suffix(".ko")
        shutil.copy(module, done / "modules")
    shutil.rmtree(folder, ignore_errors=True)
    done.rename(folder)


class _CommandFailed(Exception):
    """A step of a build failed; the message is the last thing that it said."""


def _run(command: Sequence[str | Path], folder: Path) -> None:
    done = subprocess.run(
        command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode:
        said = done.stderr.strip().splitlines()
        last = said[-1] if said else f"status {done.returncode}"
        raise _CommandFailed(f"{command[0]} failed: {last}")
