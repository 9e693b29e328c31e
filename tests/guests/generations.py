"""The guests of `make test-guests`, what is expected of each, and what is taken of them."""

from __future__ import annotations

import random
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gprof.attach import Attached, attach
from gprof.guest.address import Address
from gprof.guest.machine import Machine, Sampled
from gprof.guest.mode import Mode
from gprof.guest.stack_reader import StackReader
from gprof.guest_stacks import unwinding_of
from gprof.sources import Sources
from symbols.unwinding.stack import CapturedWords, Stack
from symbols.unwinding.unwind import Way
from tests.guests.debian_kernel import KERNELS, DebianKernel, fetch_kernel
from tests.guests.drgn_stacks import DrgnStacks
from tests.guests.linux import LinuxGuest
from tests.guests.own_kernel import (
    DESCRIBED,
    SHUFFLED,
    SHUFFLED_BY_CLANG,
    Variant,
    build_kernel,
)
from tests.waiting import Deadline


@dataclass(frozen=True, slots=True)
class Expected:
    """What holds for a generation.

    Attributes:
        stacks: how many are compared with drgn's; fewer where the emulation is slow.
        same: the share of them that must be identical.
        described: the kernel describes its types (BTF), without which its memory alone does not
            tell what modules export.
        drgn: drgn can unwind this architecture.
        believed: its vmlinux describes its types as they are, without which that tells neither
            tasks nor what modules export.
        way: of unwinding.
        moved: it never runs where it was linked. Of amd64 and arm64 one boot in five hundred
            does.
        patience: seconds that it may take to boot.
        kernel: of which generation its kernel is, where that has another name.
        processor: another model than its platform's.
        hides: the kernel takes its tables away while a program runs.
    """

    stacks: int = 2000
    same: float = 0.995
    described: bool = True
    drgn: bool = True
    believed: bool = True
    way: Way = Way.AUTO
    moved: bool = False
    patience: float = 240.0
    kernel: str = ""
    processor: str = ""
    hides: bool = False


EXPECTED = {
    "amd64-5.10": Expected(),
    "amd64-6.1": Expected(),
    "amd64-6.12": Expected(),
    "amd64-sid": Expected(),
    "arm64-6.1": Expected(stacks=1000, same=0.99, patience=600),
    # Without E0PD a kernel that moves hides itself.
    "arm64-hidden-6.1": Expected(
        stacks=1000,
        same=0.99,
        patience=600,
        kernel="arm64-6.1",
        processor="cortex-a72",
        hides=True,
    ),
    # On the way out of the kernel (`ret_to_user`) drgn has no caller: up to one in a hundred.
    "arm64-16k-6.12": Expected(stacks=1000, same=0.98, patience=900),
    "s390x-6.1": Expected(stacks=1000, same=0.99, described=False, moved=True, patience=600),
    "s390x-6.12": Expected(stacks=1000, same=0.99, moved=True, patience=600),
    "riscv64-6.12": Expected(stacks=500, drgn=False, patience=600),
    "arm64-64k-6.12": Expected(stacks=1000, same=0.98, patience=900),
    "amd64-shuffled-6.12": Expected(described=False, believed=False),
    "amd64-clang-6.12": Expected(described=False),
}

#: What no distribution has is built, by the same names.
OWN = {
    # Of everything a distribution's kernel has what tells of itself: only the pages are larger.
    "arm64-64k-6.12": Variant(
        "6.12-64k",
        "64k",
        (
            "CONFIG_ARM64_64K_PAGES=y",
            "CONFIG_ARM64_VA_BITS_52=y",
            "CONFIG_KALLSYMS_ALL=y",
            *DESCRIBED,
        ),
        "arm64",
        packages="pahole",
    ),
    "amd64-shuffled-6.12": SHUFFLED,
    "amd64-clang-6.12": SHUFFLED_BY_CLANG,
}


def kernel_of(key: str, busybox: Path) -> DebianKernel:
    """A generation's kernel, downloaded or built where the cache does not have it.

    Args:
        key: of `EXPECTED`.
        busybox: a statically linked busybox that runs here.

    Raises:
        KernelUnavailable: it is not to be had here.
    """
    if key not in OWN:
        return fetch_kernel(KERNELS[key])
    variant = OWN[key]
    if variant.architecture != "amd64":
        busybox = fetch_kernel(KERNELS[f"{variant.architecture}-6.1"]).busybox
    return build_kernel(variant, busybox)


@dataclass(frozen=True, slots=True)
class Generation:
    """A guest at work.

    Attributes:
        key: of `EXPECTED`.
        guest: booted; it sleeps until `LinuxGuest.awake`.
        expected: of it.
    """

    key: str
    guest: LinuxGuest
    expected: Expected

    def attach(self, sources: Sources) -> Attached:
        """Connect by the stub; whoever asks closes."""
        return attach(Address.parse(self.guest.gdb_address), sources)

    @property
    def by_vmlinux(self) -> Sources:
        return Sources.open(self.guest.vmlinux, None, None)

    @property
    def by_texts(self) -> Sources:
        return Sources.open(None, self.guest.kallsyms, self.guest.modules)


@dataclass(frozen=True, slots=True)
class Taken:
    """Samples of one guest, with the stacks that gprof makes of them.

    Attributes:
        attached: with the vmlinux alone; closed, its memory as far as it was read.
        samples: of vcpus that stood in the kernel.
        stacks: one for each of them.
        theirs: the pcs of the kernel by drgn, for each; empty where drgn cannot.
        ours: ours, in the same form.
        modes: how many samples of which mode there were.
    """

    attached: Attached
    samples: tuple[Sampled, ...]
    stacks: tuple[Stack, ...]
    theirs: tuple[list[int], ...]
    ours: tuple[list[int], ...]
    modes: Counter[Mode]

    @property
    def pcs(self) -> NDArray[np.uint64]:
        return np.array([one.state.pc for one in self.samples if one.state], np.uint64)


def take(attached: Attached, expected: Expected) -> Taken:
    """Sample a guest until there is enough to compare."""
    machine = attached.machine
    assert isinstance(machine, Machine)
    chosen = unwinding_of(attached, expected.way)
    assert chosen.unwinder is not None, chosen.why
    # Modules have their tables where their structures say.
    assert bool(chosen.missing) != expected.believed, chosen.missing
    reader = StackReader(machine, patient=True)
    rng = random.Random(2)
    samples: list[Sampled] = []
    modes: Counter[Mode] = Counter()
    deadline = Deadline(f"{expected.stacks} stacks", lambda: modes, patience=1200)
    while len(samples) < expected.stacks:
        deadline.check()
        time.sleep(rng.uniform(0.001, 0.01))  # out of step with the guest's timer
        for one in reader.sample(machine.vcpus)[1]:
            assert one.state is not None
            modes[one.state.mode] += 1
            # Every idle vcpu stands at the same place: one of fifty is enough of those.
            idle = one.state.mode is Mode.IDLE and modes[Mode.IDLE] % 50
            if one.registers is not None and not idle:
                samples.append(one)
    image, slide = attached.sources.image, attached.slide
    assert image is not None
    assert slide is not None
    big_endian = not image.little_endian
    stacks = [
        chosen.unwinder.unwind(one.registers, CapturedWords(one.memory, big_endian=big_endian))
        for one in samples
        if one.registers is not None
    ]
    theirs: list[list[int]] = []
    ours: list[list[int]] = []
    if expected.drgn:
        # On s390x user space has every address that the kernel has.
        separate = image.architecture == "s390x"
        text = [(one.start, one.end) for one in attached.space.loaded()] if separate else []
        oracle = DrgnStacks(image, slide.offset, machine.memory, text=text)
        theirs = [oracle.kernel_pcs(_values(machine, one), one.memory) for one in samples]
        ours = [oracle.without_repeats(stack.pcs) for stack in stacks]
    return Taken(attached, tuple(samples), tuple(stacks), tuple(theirs), tuple(ours), modes)


def _values(machine: Machine, one: Sampled) -> dict[str, int]:
    """All registers as they were before an interrupt that came with the stop."""
    values = machine.values(one)
    assert one.registers is not None
    for name in {"rip", "pc", "pswa"} & values.keys():
        values[name] = one.registers.pc
    return values
