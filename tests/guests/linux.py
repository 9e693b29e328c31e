"""A Linux guest under QEMU that really works: Debian's kernel, busybox, a busy module.

`$GPROF_TEST_QEMU` is a folder with other emulators (`qemu-system-x86_64` and so on) than those on
the PATH; a shell script that starts one is as good.
"""

from __future__ import annotations

import base64
import gzip
import os
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
from tests.guests.device_tree import tree_with_seed
from tests.guests.initramfs import write_initramfs
from tests.guests.kaslr import moving_kernel


class GuestFailed(Exception):
    """The guest did not come up, or went away; carries the end of its console."""


@dataclass(frozen=True, slots=True)
class Platform:
    """What QEMU and the kernel have to be told on one architecture.

    Attributes:
        emulator: QEMU's program.
        machine: options that choose the machine.
        console: what the kernel calls the first serial port.
        bus: that QEMU's virtio devices are on.
        steady: options by which every kernel comes up, on one thread for all vcpus: more trip
            over kernels that patch their own text.
        sockets: each vcpu is a processor of its own. SeaBIOS tells a kernel without ACPI of
            processors alone, by one vcpu of each.
    """

    emulator: str
    machine: tuple[str, ...]
    console: str
    bus: str = "pci"
    steady: tuple[str, ...] = ("-accel", "tcg,thread=single")
    sockets: bool = False

    @property
    def program(self) -> str:
        """The emulator to start: of `$GPROF_TEST_QEMU`, where that is set."""
        folder = os.environ.get("GPROF_TEST_QEMU")
        return str(Path(folder) / self.emulator) if folder else self.emulator


#: By the name that Debian has for the architecture.
PLATFORMS = {
    # On one thread QEMU 7.2 has cmpxchg16b leave rubbish in the flags; Linux 6.12 falls over that.
    "amd64": Platform(
        "qemu-system-x86_64",
        ("-M", "pc"),
        "ttyS0",
        steady=("-accel", "tcg,thread=single", "-cpu", "qemu64,-cx16"),
        sockets=True,
    ),
    # With the real algorithm half of all time would go into signing pointers.
    "arm64": Platform(
        "qemu-system-aarch64", ("-M", "virt", "-cpu", "max,pauth-impdef=on"), "ttyAMA0"
    ),
    # True random numbers, by which the kernel moves itself, only the greatest model has.
    "s390x": Platform(
        "qemu-system-s390x", ("-M", "s390-ccw-virtio", "-cpu", "max"), "ttysclp0", "ccw"
    ),
    "riscv64": Platform("qemu-system-riscv64", ("-M", "virt"), "ttyS0"),
}


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
        busybox: a statically linked busybox that runs here.
        vcpus: how many.
        command_line: further words for the kernel, such as `nokaslr`.
        patience: seconds that the guest may take until it works.
        steady: choose reliability over speed; see `Platform.steady`.
        processor: another model than the platform's.

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
        patience: float = 300.0,
        steady: bool = False,
        processor: str = "",
    ) -> None:
        self.platform = PLATFORMS[kernel.architecture]
        chosen = self.platform.steady if steady else ("-accel", "tcg")
        model = ("-cpu", processor) if processor else ()  # QEMU takes the last one
        processors = f"{vcpus},sockets={vcpus}" if self.platform.sockets else str(vcpus)
        super().__init__(
            [*self.platform.machine, *chosen, *model, "-smp", processors, "-m", "512"],
            program=self.platform.program,
        )
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
        write_initramfs(
            initramfs,
            busybox=self.kernel.busybox,
            modules=self.kernel.modules,
            packer=self._busybox,
        )
        # panic, oops: a guest that tripped over something ends, and with it our waiting.
        console, bus = self.platform.console, self.platform.bus
        words = f"console={console} quiet profile=2 panic=-1 oops=panic {self._command_line}"
        vmlinuz = moving_kernel(self.kernel.architecture, self.kernel.vmlinuz, self.directory)
        return (
            "-kernel", str(vmlinuz), "-initrd", str(initramfs),
            "-append", words.strip(), "-no-reboot",
            "-serial", f"file:{self.directory / 'console'}",
            "-device", f"virtio-serial-{bus}",
            "-chardev", f"socket,id=line,path={self.directory / 'line'},server=on,wait=off",
            "-device", "virtserialport,chardev=line,name=gprof",
            *self._tree(),
        )  # fmt: skip

    def _tree(self) -> Sequence[str]:
        if self.kernel.architecture != "riscv64":
            return ()
        tree = tree_with_seed(self.platform.program, self._arguments, self.directory)
        return "-dtb", str(tree)

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

    def run(self, command: str, *, patience: float = 300.0) -> bytes:
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
        # Between `begin-base64 MODE NAME` and `====` (POSIX, uuencode -m).
        return gzip.decompress(base64.b64decode(b"".join(lines[1:-1])))

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


def boot(
    kernel: DebianKernel,
    busybox: Path,
    *,
    attempts: int = 3,
    steady: bool = False,
    patience: float = 300.0,
    processor: str = "",
) -> LinuxGuest:
    """A guest that works; the caller closes it.

    Multi-threaded TCG sometimes trips over a kernel that patches its own text while it boots,
    so a guest that fails to come up is started again.

    Raises:
        GuestFailed: it did not come up in any of the attempts.
    """
    for attempt in range(1, attempts + 1):
        try:
            return LinuxGuest(
                kernel, busybox, steady=steady, patience=patience, processor=processor
            ).__enter__()
        except GuestFailed:
            if attempt == attempts:
                raise
    raise AssertionError("attempts must be positive")
