"""A Linux guest under QEMU that really works: Debian's kernel, busybox, a busy module."""

from __future__ import annotations

import base64
import gzip
import re
import shutil
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

from gprof.guest.emulator import Emulator
from tests.guests.debian_kernel import DebianKernel
from tests.guests.initramfs import write_initramfs


class GuestFailed(Exception):
    """The guest did not come up, or went away; carries the end of its console."""


@dataclass(frozen=True, slots=True)
class TickProfile:
    """The guest kernel's own profile, from its timer tick (kernel/profile.c).

    Attributes:
        step: bytes of kernel text that share one counter.
        start: the guest address that the first counter begins at (`_stext`).
        counts: ticks that found the vcpu there, one counter a step. The last one also takes
            every pc outside the kernel's text, those in modules among them.
    """

    step: int
    start: int
    counts: NDArray[np.uint32]


class LinuxGuest(Emulator):
    """A running guest; a context manager, ready on entering.

    Args:
        kernel: what to boot.
        busybox: a statically linked busybox.
        vcpus: how many.
        command_line: further words for the kernel, such as `nokaslr`.
        patience: seconds that the guest may take until it works.

    Attributes:
        kallsyms: a file with the guest's `/proc/kallsyms`, as root sees it.
        modules: a file with the guest's `/proc/modules`.

    Raises:
        GuestFailed: on entering, the guest did not come up.
    """

    def __init__(
        self,
        kernel: DebianKernel,
        busybox: Path,
        *,
        vcpus: int = 2,
        command_line: str = "",
        patience: float = 180.0,
    ) -> None:
        super().__init__(["-M", "pc", "-accel", "tcg", "-smp", str(vcpus), "-m", "512"])
        self.kernel = kernel
        self.vcpus = vcpus
        self._busybox = busybox
        self._command_line = command_line
        self._boot_patience = patience
        self._line: socket.socket | None = None
        self._answers: BinaryIO | None = None

    @property
    def vmlinux(self) -> Path:
        """The kernel as an ELF file with DWARF."""
        return self.kernel.vmlinux

    @property
    def kallsyms(self) -> Path:
        """A file with the guest's `/proc/kallsyms`, as root sees it."""
        return self.directory / "kallsyms"

    @property
    def modules(self) -> Path:
        """A file with the guest's `/proc/modules`."""
        return self.directory / "modules"

    @property
    def console(self) -> str:
        """What the kernel has said so far."""
        try:
            return (self.directory / "console").read_text(errors="replace")
        except OSError:
            return ""

    def __enter__(self) -> Self:
        super().__enter__()
        try:
            self._wait_ready()
            self.read_symbols()
        except BaseException:
            self.close()
            raise
        return self

    def read_symbols(self) -> None:
        """Copy its kallsyms and modules, as they are now."""
        self.kallsyms.write_bytes(self.run("cat /proc/kallsyms"))
        self.modules.write_bytes(self.run("cat /proc/modules"))

    def extra_arguments(self) -> Sequence[str]:
        initramfs = self.directory / "initramfs"
        write_initramfs(initramfs, busybox=self._busybox, modules=self.kernel.modules)
        # panic, oops: a guest that tripped over something ends, and with it our waiting.
        words = "console=ttyS0 quiet profile=2 panic=-1 oops=panic " + self._command_line
        return (
            "-kernel", str(self.kernel.vmlinuz), "-initrd", str(initramfs),
            "-append", words.strip(), "-no-reboot",
            "-serial", f"file:{self.directory / 'console'}",
            "-device", "virtio-serial-pci",
            "-chardev", f"socket,id=line,path={self.directory / 'line'},server=on,wait=off",
            "-device", "virtserialport,chardev=line,name=gprof",
        )  # fmt: skip

    def close(self) -> None:
        if self._answers is not None:
            self._answers.close()
        if self._line is not None:
            self._line.close()
        self._answers = self._line = None
        super().close()

    @contextmanager
    def awake(self) -> Iterator[LinuxGuest]:
        """Let the guest, paused otherwise, run for a while."""
        self.resume()
        try:
            yield self
        finally:
            self.pause()

    def run(self, command: str, *, patience: float = 60.0) -> bytes:
        """What a shell command in the guest writes, its complaints included.

        Raises:
            GuestFailed: the guest went away or did not answer.
        """
        assert self._line is not None
        self._line.settimeout(patience)
        try:
            self._line.sendall(command.encode() + b"\n")
        except OSError as error:
            raise self._failure(f"the guest does not take {command!r}: {error}") from error
        lines: list[bytes] = []
        while (line := self._read_line(f"the guest does not answer {command!r}")) != b".":
            lines.append(line)
        return gzip.decompress(base64.b64decode(b"".join(lines)))

    def reset_profile(self) -> None:
        """Set the counters of the guest's own profile to zero."""
        self.run("echo >/proc/profile")

    def read_profile(self) -> TickProfile:
        """The guest's own profile since it booted or was reset."""
        # The first word is the step, the counters follow (read_profile in kernel/profile.c).
        words = np.frombuffer(self.run("cat /proc/profile"), "<u4")
        found = re.search(rb"^([0-9a-f]+) \w _stext$", self.kallsyms.read_bytes(), re.MULTILINE)
        assert found is not None
        return TickProfile(int(words[0]), int(found[1], 16), words[1:])

    def _wait_ready(self) -> None:
        self._line = socket.socket(socket.AF_UNIX)
        self._line.settimeout(self._boot_patience)
        self._line.connect(str(self.directory / "line"))
        self._answers = self._line.makefile("rb")
        self._wait_line()

    def _wait_line(self) -> None:
        """Wait until its init has everything set up."""
        if self._read_line("the guest does not get ready") != b"ready":
            raise self._failure("the guest began with something else than `ready`")

    def _read_line(self, problem: str) -> bytes:
        assert self._answers is not None
        try:
            line = self._answers.readline()
        except OSError as error:
            raise self._failure(f"{problem}: {error}") from error
        if not line:
            raise self._failure(f"{problem}: it went away")
        return line.strip()

    def _failure(self, problem: str) -> GuestFailed:
        return GuestFailed(f"{problem}\n--- console ---\n{self.console[-3000:]}")


def find_busybox() -> Path | None:
    """A busybox that runs without a C library of its own, or None where none is installed."""
    found = shutil.which("busybox")
    return Path(found) if found and b"/ld-linux" not in Path(found).read_bytes() else None


def boot(kernel: DebianKernel, busybox: Path, *, attempts: int = 3) -> LinuxGuest:
    """A guest that works; the caller closes it.

    Multi-threaded TCG sometimes trips over a kernel that patches its own text while it boots,
    so a guest that fails to come up is started again.

    Raises:
        GuestFailed: it did not come up in any of the attempts.
    """
    for attempt in range(1, attempts + 1):
        try:
            return LinuxGuest(kernel, busybox).__enter__()
        except GuestFailed:
            if attempt == attempts:
                raise
    raise AssertionError("attempts must be positive")
