"""What can be sampled here, what it costs, and what is missing."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

import numpy as np

from gprof.attach import Attached, attach
from gprof.guest.address import Address
from gprof.guest.libvirt import Domain
from gprof.guest.machine import Machine
from gprof.guest.monitored import MonitoredMachine
from gprof.sampling.source import SampleBatch
from gprof.sampling.stop_cost import StopCost
from gprof.sampling_way import source_of
from gprof.sources import Sources
from symbols.elf import Image
from symbols.errors import GprofError
from symbols.extra_images import ExtraImage, open_extra
from symbols.guest_identity import identity_of
from symbols.kallsyms import Kallsyms
from symbols.modules import Module, open_modules
from symbols.names import printable
from symbols.slide import Verified
from symbols.space import Reason

#: How long the trial of sampling goes on.
_TRIAL_S = 1.0
#: How many stops are timed for their cost.
_TIMED_STOPS = 40
#: The same where a monitor counts: enough to know what one in a hundred costs.
_COUNTED_STOPS = 120


class Verdict(StrEnum):
    """How a check ended."""

    FINE = "ok"
    NOTICE = "note"
    MISSING = "missing"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: what.
        verdict: how it is.
        seen: what was seen.
        remedy: what to do; empty where nothing is to be done.
        exit_code: what a command would end with because of it.
    """

    name: str
    verdict: Verdict
    seen: str
    remedy: str = ""
    exit_code: int = 0


def examine(
    address: str | None,
    vmlinux: Path | None,
    kallsyms: Path | None,
    modules: Path | None,
    *,
    hz: float,
    max_halted: float,
    monitor: Address | Domain | None = None,
    max_latency_ns: int | None = None,
    named: Sequence[str] = (),
    directories: Sequence[Path] = (),
) -> list[Check]:
    """Look at the files, the guest, whether they match, and what sampling costs.

    What is wrong with any of them is told, not raised.

    Args:
        address: of the gdbstub; None to do without one.
        vmlinux: may be missing, as the next two.
        kallsyms: a copy of /proc/kallsyms.
        modules: a copy of /proc/modules.
        hz: the rate asked for.
        max_halted: the budget, 0.01 for 1 %.
        monitor: see `attach`.
        max_latency_ns: the longest that one stop in a hundred may take; None for any.
        named: firmware and others, as `FILE[@ADDR]`.
        directories: where files of modules may be.

    Raises:
        UsageError: the address is none.
    """
    checks: list[Check] = []
    sources = _files(checks, vmlinux, kallsyms, modules)
    sources = replace(sources, extras=_extras(checks, named), directories=tuple(directories))
    where = Address.parse(address) if address else None
    way = "gdbstub" if where else "qmp"
    try:
        attached = attach(where, sources, monitor=monitor)
    except GprofError as error:
        checks.append(_failed(way, error))
        if error.exit_code != 5:  # not because of symbols: nothing more can be asked
            return checks
        # The guest is there, only the symbols are not its own: go on without them.
        checks[-1] = _failed("symbols", error)
        try:
            attached = attach(where, Sources(), monitor=monitor)
        except GprofError as again:
            checks.append(_failed(way, again))
            return checks
    try:
        _guest(checks, attached)
        _introspected(checks, attached)
        _match(checks, attached)
        _cost(checks, attached, hz, max_halted, max_latency_ns)
    except GprofError as error:
        checks.append(_failed("guest", error))
    finally:
        attached.close()
    return checks


def _failed(name: str, error: GprofError) -> Check:
    return Check(name, Verdict.FAILED, error.problem, error.remedy, error.exit_code)


def _files(
    checks: list[Check], vmlinux: Path | None, kallsyms: Path | None, modules: Path | None
) -> Sources:
    image = text = None
    loaded: tuple[Module, ...] = ()
    try:
        if vmlinux is not None:
            image = Image.open(vmlinux)
            seen = f"{vmlinux}: {identity_of(image)}, {len(image.table)} functions"
            checks.append(Check("vmlinux", Verdict.FINE, seen))
    except GprofError as error:
        checks.append(_failed("vmlinux", error))
    try:
        if kallsyms is not None:
            text = Kallsyms.open(kallsyms)
            seen = f"{kallsyms}: {len(text.kernel)} functions, {len(text.modules)} modules"
            checks.append(Check("kallsyms", Verdict.FINE, seen))
    except GprofError as error:
        checks.append(_failed("kallsyms", error))
    try:
        if modules is not None:
            loaded = open_modules(modules)
            checks.append(Check("modules", Verdict.FINE, f"{modules}: {len(loaded)} modules"))
    except GprofError as error:
        checks.append(_failed("modules", error))
    return Sources(image, text, loaded)


def _extras(checks: list[Check], named: Sequence[str]) -> tuple[ExtraImage, ...]:
    found: list[ExtraImage] = []
    for one in named:
        try:
            images = open_extra(one)
        except GprofError as error:
            checks.append(_failed("symbols", error))
            continue
        found += images
        first = images[0].loaded
        functions = sum(len(image.loaded.table or ()) for image in images)
        seen = f"{len(images)} ranges, the first at {first.start:#x}, {functions} functions"
        checks.append(Check("symbols", Verdict.FINE, f"{printable(one)}: {seen}"))
    return tuple(found)


def _guest(checks: list[Check], attached: Attached) -> None:
    machine, monitored = attached.live, attached.monitored
    if isinstance(machine, Machine):
        stub = machine.stub
        seen = f"{stub.address.text}, packets of {stub.packet_size} bytes"
        checks.append(Check("gdbstub", Verdict.FINE, seen))
        accelerated = stub.accelerated
        held, status = stub.held, stub.status or "stopped"
    else:
        accelerated = machine.accelerated
        held, status = not machine.run_state.running, machine.run_state.status
    if monitored is not None:
        _monitor(checks, monitored)
    kind = {True: "accelerated (KVM)", False: "emulated (TCG)", None: "acceleration unknown"}
    checks.append(
        Check(
            "guest",
            Verdict.FINE,
            f"{machine.architecture.name}, {len(machine.vcpus)} vcpus, {kind[accelerated]}"
            + (f", Linux {attached.identity.release}" if attached.identity.release else ""),
        )
    )
    if isinstance(machine, Machine) and len(machine.vcpus) < len(machine.stub.vcpus):
        checks.append(
            Check(
                "vcpus",
                Verdict.NOTICE,
                f"{len(machine.stub.vcpus) - len(machine.vcpus)} vcpus are of another "
                "architecture and are not sampled",
            )
        )
    if held:
        checks.append(
            Check(
                "state",
                Verdict.NOTICE,
                f"the guest stands still ({status}), and gprof leaves it so",
                "Type `cont` in QEMU's monitor to let it run.",
            )
        )


def _introspected(checks: list[Check], attached: Attached) -> None:
    """What was read from the guest's memory in place of files, and what that cost."""
    found = attached.introspected
    seen = []
    if found.kallsyms is not None:
        seen.append(f"{len(found.kallsyms.kernel)} functions of its kernel")
    if found.modules is not None:
        whole = "" if found.modules.complete else ", the list was cut short"
        seen.append(f"{len(found.modules.listed)} modules{whole}")
    if seen:
        cost = found.cost
        price = (
            f"{cost.size / 1e6:.1f} MB, read in {cost.stops} stops that halted it for "
            f"{cost.halted_ns / 1e6:.0f} ms at most"
            if cost.stops
            else "read without stopping it"
        )
        names = f"the guest's memory names {' and '.join(seen)}"
        checks.append(Check("memory", Verdict.FINE, f"{names}: {price}"))
    sources = attached.sources
    checks.extend(
        Check("memory", Verdict.NOTICE, problem.problem, problem.remedy)
        for problem in found.problems
    )
    if not attached.starting and sources.image is None and sources.kallsyms is None:
        checks.append(
            Check(
                "symbols",
                Verdict.MISSING,
                "neither a file nor the guest's memory has symbols: addresses stay numbers",
                "Give the kernel's vmlinux (on Debian from linux-image-<release>-dbg), or a copy "
                "of the guest's /proc/kallsyms made as root, or both.",
            )
        )


def _monitor(checks: list[Check], monitored: MonitoredMachine) -> None:
    client = monitored.monitor_client
    version = ".".join(map(str, client.version))
    checks.append(
        Check(
            "qmp",
            Verdict.NOTICE if client.remark else Verdict.FINE,
            f"{client.name}, QEMU {version}",
            client.remark,
        )
    )
    why = monitored.why_packets
    seen = monitored.memory_way
    if why is None:
        checks.append(Check("memory", Verdict.FINE, seen))
    else:
        checks.append(Check("memory", Verdict.NOTICE, f"{seen}: {why.problem}", why.remedy))


def _match(checks: list[Check], attached: Attached) -> None:
    slide = attached.slide
    if slide is None:
        return
    offset = slide.offset - (1 << 64) if slide.offset >> 63 else slide.offset
    proven = slide.verified is not Verified.NOTHING
    checks.append(
        Check(
            "match",
            Verdict.FINE if proven else Verdict.NOTICE,
            f"the kernel runs {offset:+#x} from where it was linked, found by "
            f"{', '.join(slide.agreeing)}; verified by {slide.verified}",
            "" if proven else "Nothing in the guest's memory proves it: look whether names fit.",
        )
    )


def _cost(
    checks: list[Check],
    attached: Attached,
    hz: float,
    max_halted: float,
    max_latency_ns: int | None,
) -> None:
    """Measure what a sample costs, then sample for a moment."""
    machine = attached.live
    if isinstance(machine, MonitoredMachine):
        if not machine.run_state.running:
            return
        checks.append(_cost_of_looks(machine, hz))
    elif machine.stub.held:
        return
    elif attached.monitored is not None:
        looks = _cost_of_looks(attached.monitored, hz)
        checks.append(replace(looks, name="looks"))
        stops = _cost_by_events(machine, attached.monitored, hz, max_halted)
        latency = attached.monitored.run_state.latency_ns
        if latency is not None and max_latency_ns is not None and latency > max_latency_ns:
            stops = replace(
                stops,
                verdict=Verdict.NOTICE,
                remedy=f"That is longer than the {max_latency_ns / 1e6:g} ms of "
                "--max-halt-latency: the monitor would take over.",
            )
        checks.extend((stops, _way(stops, looks)))
    else:
        cost = StopCost()
        for _ in range(_TIMED_STOPS):
            exchange, _ = machine.sample(machine.vcpus, timed=True)
            cost.add(exchange)
            time.sleep(0.005)
        checks.append(_cost_of(cost.ns, hz, max_halted, known=cost.known))
    if attached.stub_samples and (besides := attached.hazards()):
        checks.append(
            Check(
                "stops",
                Verdict.NOTICE,
                besides.rstrip("."),
                "By the monitor (--qmp or --domain alone) the guest is not stopped.",
            )
        )
    source = source_of(attached, hz=hz, max_halted=max_halted)
    batches = []
    end = time.monotonic() + _TRIAL_S
    for batch in source.batches():
        batches.append(batch)
        if time.monotonic() >= end:
            source.close()
    _trial(checks, attached, SampleBatch.concatenate(batches))


def _cost_by_events(
    machine: Machine, monitored: MonitoredMachine, hz: float, max_halted: float
) -> Check:
    """What a stop costs by QEMU's own clock."""
    state = monitored.run_state
    state.ask()
    state.forget_costs()
    for _ in range(_COUNTED_STOPS):
        machine.sample(machine.vcpus)
        time.sleep(0.005)
    state.ask()
    latency = state.latency_ns
    check = _cost_of(state.cost_ns, hz, max_halted, known=state.cost_known)
    if latency is None:
        return check
    return replace(check, seen=f"{check.seen}, one in a hundred {latency / 1000:.0f} µs and longer")


def _way(stops: Check, looks: Check) -> Check:
    """Which of the two would sample, by what they cost."""
    if stops.verdict is Verdict.FINE:
        return Check(
            "way",
            Verdict.FINE,
            "the stub samples, all vcpus at one instant, and the monitor watches over it",
        )
    return Check(
        "way",
        Verdict.NOTICE,
        "the stub samples, at a lower rate or, where less than half of it is left or stops take "
        f"too long, the monitor in its place: {looks.seen}",
        "--qmp (or --domain) without --gdb leaves the guest running from the start.",
    )


def _cost_of_looks(machine: MonitoredMachine, hz: float) -> Check:
    """How long the monitor takes for the registers."""
    indices = machine.choose(None)
    taken = []
    for _ in range(_TIMED_STOPS):
        look = machine.sample(indices)
        taken.append(look.answered_ns - look.asked_ns)
        time.sleep(0.005)
    typical = sorted(taken)[len(taken) // 2]
    seen = f"the guest is not stopped; the monitor takes {typical / 1000:.0f} µs for the registers"
    if typical * hz < 1e9:
        return Check("cost", Verdict.FINE, seen)
    return Check("cost", Verdict.NOTICE, seen, f"It can do {1e9 / typical:.0f} Hz.")


def _cost_of(stop_ns: float, hz: float, max_halted: float, *, known: bool) -> Check:
    if not known:
        return Check(
            "cost",
            Verdict.NOTICE,
            f"a stop halts the guest for less than {stop_ns / 1000:.0f} µs; this host is too busy "
            "to measure it better",
            "Try again when it is less so.",
        )
    affordable = max_halted * 1e9 / stop_ns
    seen = f"a stop halts the guest for {stop_ns / 1000:.0f} µs"
    share = f"{100 * hz * stop_ns / 1e9:.2f} % of the time at {hz:g} Hz"
    if affordable >= hz:
        return Check("cost", Verdict.FINE, f"{seen}: {share}")
    return Check(
        "cost",
        Verdict.NOTICE,
        f"{seen}: {share}",
        f"Within {100 * max_halted:g} % the rate is {affordable:.0f} Hz; --max-halted allows more.",
    )


def _trial(checks: list[Check], attached: Attached, taken: SampleBatch) -> None:
    resolved = attached.space.resolve(taken.pc)
    reasons = np.bincount(resolved.reason, minlength=max(Reason) + 1)
    parts = [f"{reasons[reason]} {reason.sentence}" for reason in Reason if reasons[reason]]
    named = reasons[Reason.RESOLVED] + sum(reasons[reason] for reason in Reason if reason.expected)
    unnamed = len(taken) - named
    checks.append(
        Check(
            "samples",
            Verdict.FINE if len(taken) and not unnamed else Verdict.NOTICE,
            f"{len(taken)} in {_TRIAL_S:g} s: " + (", ".join(parts) or "none"),
        )
    )
