"""Profiles of a Linux guest beside the histogram that its own kernel keeps."""

from __future__ import annotations

import re
import time
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from benchmarks.profiled import LOOKED_AT_BY, Profiled, profiled
from benchmarks.shares import Shares, name_numbers, percent, shares_of, summary
from gprof.attach import Attached
from gprof.guest.architectures import Architecture, VcpuState
from gprof.guest.machine import Machine
from gprof.guest.mode import Mode
from gprof.guest.registers import RegisterFile
from symbols.disassembly import disassemble
from symbols.idle import is_idle
from symbols.memory import MemoryFault
from tests.guests.linux import LinuxGuest, TickProfile

BLOCK_NS = 1_000_000_000
#: How many times longer the row is taken that is compared with the target: the fewer ticks there
#: are for the many functions, the less two equal distributions overlap.
LONGER = 8
#: Functions with columns of their own.
SHOWN = 4
#: Interrupt flag of EFLAGS (Intel SDM, volume 1, 3.4.3).
_INTERRUPTS_ON = 1 << 9
#: What may switch them on.
_SWITCHES_ON = {"sti", "popf", "popfq"}
#: Bytes of a function that are looked at.
_LONGEST = 1 << 14
TARGET = 90.0


class OnlyInterruptible:
    """An architecture that passes over vcpus whose interrupts are off, as a tick does."""

    def __init__(self, real: Any) -> None:
        self._real = real

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def state(self, registers: RegisterFile, reply: bytes, *, halted: bool) -> VcpuState | None:
        found: VcpuState = self._real.state(registers, reply, halted=halted)
        flags = registers.value("eflags", reply) or 0
        return found if flags & _INTERRUPTS_ON else None


def compare_with_ticks(
    guest: LinuxGuest, hz: float, seconds: float, rng: np.random.Generator
) -> None:
    """Print a row for each way, and one for the samples of the stub that a tick can see."""

    def interruptible(machine: Machine) -> None:
        machine.architecture = cast("Architecture", OnlyInterruptible(machine.architecture))

    ways = [(way, way, None, seconds) for way in LOOKED_AT_BY]
    seen_by_ticks = ("stub, interrupts on", "stub", interruptible, LONGER * seconds)
    for name, way, changed, length in [*ways, seen_by_ticks]:
        with profiled(guest, way, hz, guest.vmlinux, guest.kallsyms, changed=changed) as profile:
            guest.reset_profile()
            begun = time.monotonic_ns()
            time.sleep(length)
            # Kept there at once: it is large, and to send it takes the guest a while.
            guest.run("cat /proc/profile >/tmp/profile")
            ended = time.monotonic_ns()
            # The first word is the step, the counters follow (read_profile in kernel/profile.c).
            words = np.frombuffer(guest.run("cat /tmp/profile"), "<u4")
            counted = TickProfile(int(words[0]), kernel_text(guest)[0], words[1:].copy())
            if changed is not None:
                counted.counts[held_back(profile.attached, counted)] = 0
        taken = profile.taken
        profile.batches = [taken.select((taken.time >= begun) & (taken.time <= ended))]
        print(_row(name, profile, counted, guest, rng), flush=True)


def _row(
    name: str, profile: Profiled, counted: TickProfile, guest: LinuxGuest, rng: np.random.Generator
) -> str:
    taken = profile.taken
    start, after = kernel_text(guest)
    chosen = taken.select(
        (taken.mode == Mode.KERNEL) & (taken.pc >= np.uint64(start)) & (taken.pc < np.uint64(after))
    )
    # The last counter also takes every pc outside of the kernel's text.
    hit = np.flatnonzero(counted.counts[:-1])
    places = hit.astype(np.uint64) * np.uint64(counted.step) + np.uint64(counted.start)
    ticks = counted.counts[hit].astype(np.int64)
    names = busy_names(profile.attached, np.concatenate([chosen.pc, places]))
    mine = shares_of(profile.attached, chosen, names, BLOCK_NS)
    # What is left over idles or has no name.
    mine = Shares(mine.names[:-1], mine.blocks[:, :-1])
    sums = np.bincount(name_numbers(profile.attached, places, names), ticks, len(names) + 1)[
        :-1
    ].astype(np.int64)
    truth = percent(sums)
    order = np.argsort(-truth)
    mine = Shares(tuple(np.array(mine.names)[order]), mine.blocks[:, order])
    truth = truth[order]
    chance = by_chance(truth, (mine.total, int(sums.sum())), rng)
    here, _, _ = mine.overlap(truth, rng)
    ours = mine.percent()
    worst = np.argsort(-np.abs(ours - truth))[:SHOWN]
    told = ", ".join(f"{mine.names[i]} {ours[i]:.1f} for {truth[i]:.1f}" for i in worst)
    verdict = "met" if here >= TARGET else "missed"
    return (
        f"{summary(name, mine, truth, rng)}   {int(sums.sum())} ticks, by chance {chance:.1f}: "
        f"{100 * here / chance:.1f} % of that; target {TARGET:.0f}: {verdict}; {told}"
    )


def held_back(attached: Attached, counted: TickProfile) -> NDArray[np.int64]:
    """The counters right behind an instruction that switches interrupts on.

    A tick found there came while they were off, and was held back until then: it tells of the
    code before. `sti` lets one more instruction pass (Intel SDM, volume 2, STI).
    """
    hit = np.flatnonzero(counted.counts[:-1])
    places = hit.astype(np.uint64) * np.uint64(counted.step) + np.uint64(counted.start)
    resolved = attached.space.resolve(places)
    pairs = set(zip(resolved.image.tolist(), resolved.symbol.tolist(), strict=True))
    behind: set[int] = set()
    for image, number in pairs:
        if number < 0:
            continue
        symbol = attached.space.symbol(image, number).symbol
        try:
            code = attached.memory.read(symbol.start, min(symbol.end - symbol.start, _LONGEST))
        except MemoryFault:
            continue
        found = disassemble(code, symbol.start, attached.guest.architecture)
        for i, instruction in enumerate(found):
            before = {one.mnemonic for one in found[max(0, i - 2) : i]}
            if before & _SWITCHES_ON:
                behind.add(instruction.address // counted.step)
    return hit[[place // counted.step in behind for place in places.tolist()]]


def busy_names(attached: Attached, pcs: NDArray[np.uint64]) -> list[str]:
    """The functions of these addresses that do not idle."""
    resolved = attached.space.resolve(pcs)
    pairs = {
        pair
        for pair in zip(resolved.image.tolist(), resolved.symbol.tolist(), strict=True)
        if pair[1] >= 0
    }
    names = {attached.space.symbol(*pair).symbol.name for pair in pairs}
    return sorted(name for name in names if not is_idle(name))


def by_chance(
    truth: NDArray[np.float64], sizes: tuple[int, int], rng: np.random.Generator
) -> float:
    """The overlap, in percent, that two random draws from one distribution have."""
    draws = [rng.multinomial(size, truth / truth.sum()) / max(1, size) for size in sizes]
    return 100 * float(np.minimum(*draws).sum())


def kernel_text(guest: LinuxGuest) -> tuple[int, int]:
    """First address of the kernel's text, and the one after its last."""
    text = guest.kallsyms.read_text()
    found = {
        name: int(address, 16)
        for address, name in re.findall(r"^([0-9a-f]+) \w (_stext|_etext)$", text, re.MULTILINE)
    }
    return found["_stext"], found["_etext"]
