"""The guest's first and only file system: busybox, a few modules, and a script that is init."""

from __future__ import annotations

import gzip
import lzma
import re
import shutil
import stat
import subprocess
from collections.abc import Iterable
from pathlib import Path

import zstandard

# The channel to us comes first; the rest is there to be profiled. What a kernel has built in,
# or does not have at all, is left out.
MODULES = ("virtio_pci", "virtio_ccw", "virtio_console", "lzo-rle", "zstd", "zram")

FOLDERS = ("bin", "dev", "modules", "proc", "root", "sys", "tmp")

_LARGEST_MODULE = 256 << 20

INIT = Path(__file__).with_name("init.sh")


def write_initramfs(target: Path, *, busybox: Path, modules: Path, packer: Path) -> None:
    """Pack a root file system for a kernel whose modules are in `modules`.

    The format is the kernel's `Documentation/driver-api/early-userspace/buffer-format.rst`;
    a busybox packs it.

    Args:
        target: the file to write.
        busybox: a statically linked busybox for the guest.
        modules: a folder that holds .ko files anywhere below it.
        packer: a busybox that runs here; the guest may be of another architecture.
    """
    root = target.with_suffix(".root")
    for folder in FOLDERS:
        (root / folder).mkdir(parents=True)
    shutil.copy(busybox, root / "bin" / "busybox")
    shutil.copy(INIT, root / "init")
    for program in (root / "bin" / "busybox", root / "init"):
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
    order = load_order(MODULES, modules)
    for name in order:
        (root / "modules" / f"{name}.ko").write_bytes(read_module(_find(name, modules)))
    (root / "modules" / "order").write_text("".join(f"{name}\n" for name in order))

    names = "".join(f"{path.relative_to(root)}\n" for path in sorted(root.rglob("*")))
    packed = subprocess.run(
        [packer, "cpio", "-o", "-H", "newc"],
        cwd=root,
        input=names.encode(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=True,
    )
    target.write_bytes(gzip.compress(packed.stdout, compresslevel=1))
    shutil.rmtree(root)


def load_order(wanted: Iterable[str], modules: Path) -> list[str]:
    """Names of modules, each after those that it depends on, without those built in."""
    order: list[str] = []

    def visit(name: str) -> None:
        path = _find(name, modules)
        if path is None or name in order:
            return
        # .modinfo holds `key=value` texts, each ended by a zero (include/linux/moduleparam.h).
        found = re.search(rb"\0depends=([^\0]*)\0", read_module(path))
        for needed in filter(None, found[1].decode().split(",") if found else ()):
            visit(needed)
        order.append(name)

    for name in wanted:
        visit(name)
    return order


def read_module(path: Path | None) -> bytes:
    """A module's ELF file, uncompressed: distributions differ in whether they compress it."""
    if path is None:
        raise FileNotFoundError("no such module")
    raw = path.read_bytes()
    if path.suffix == ".zst":
        return zstandard.ZstdDecompressor().decompress(raw, max_output_size=_LARGEST_MODULE)
    return lzma.decompress(raw) if path.suffix == ".xz" else raw


def _find(name: str, modules: Path) -> Path | None:
    # A module's name has underscores where its file's may have dashes, and the other way round.
    pattern = re.sub("[-_]", "[-_]", name)
    return next(
        (
            path
            for end in (".ko", ".ko.xz", ".ko.zst")
            for path in sorted(modules.rglob(pattern + end))
        ),
        None,
    )
