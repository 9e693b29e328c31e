"""What sampling costs the guest, measured, and what a moment of it shows."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing, nullcontext
from dataclasses import replace

import numpy as np

from gprof.attach import Attached
from gprof.checkup.check import Check, Verdict
from gprof.guest.dialogue import Exchange
from gprof.guest.machine import Machine
from gprof.guest.main_thread import MainThread
from gprof.guest.monitored import MonitoredMachine
from gprof.sampling.source import SampleBatch
from gprof.sampling.stop_cost import StopCost
from gprof.sampling.stop_work import SETTLED_NS, StopWork
from gprof.sampling_way import source_of
from symbols.space import Reason

#: How long the trial of sampling goes on.
_TRIAL_S = 1.0
#: How many stops are timed for their cost.
_TIMED_STOPS = 40
#: Between two of them, when nothing of the first is left to do.
_REST_S = 0.003
#: The same where a monitor counts: enough to know what one in a hundred costs.
_COUNTED_STOPS = 120


def look_at_cost(
    checks: list[Check],
    attached: Attached,
    hz: float,
    max_halted: float,
    max_latency_ns: int | None,
) -> None:
    """Measure what a sample costs, then sample for a moment.

    Args:
        checks: takes what is found.
        attached: the guest; one that stands is left alone.
        hz: the rate asked for.
        max_halted: the budget, 0.01 for 1 %.
        max_latency_ns: the longest that one stop in a hundred may take; None for any.

    Raises:
        TargetError: the guest went away.
    """
    machine = attached.live
    if isinstance(machine, MonitoredMachine):
        if not machine.run_state.running:
            return
        checks.append(_cost_of_looks(machine, hz))
    elif machine.stub.held:
        return
    elif attached.monitored is not None and attached.monitored.why_no_looks is None:
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
        work_ns = _stop(machine, _TIMED_STOPS, cost.add)
        checks.append(_cost_of(cost.ns, work_ns, hz, max_halted, known=cost.known))
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


def _stop(machine: Machine, times: int, timed: Callable[[Exchange], None] | None = None) -> float:
    """Stop a guest as samples do; what QEMU does around a stop, in ns, 0 where that is not known.

    Args:
        machine: the guest.
        times: how often.
        timed: takes how long each stop took; None where that is known otherwise.
    """
    with closing(machine.threads()) as threads:
        thread = MainThread.of_process(threads.process)
    with closing(thread) if thread is not None else nullcontext():
        work = StopWork(thread)
        for _ in range(times):
            work.before_stop(time.monotonic_ns())
            exchange, _ = machine.sample(machine.vcpus, timed=timed is not None)
            if timed is not None:
                timed(exchange)
            time.sleep(SETTLED_NS / 1e9)
            work.settle(time.monotonic_ns())
            time.sleep(_REST_S)
    return work.ns


def _cost_by_events(
    machine: Machine, monitored: MonitoredMachine, hz: float, max_halted: float
) -> Check:
    """What a stop costs by QEMU's own clock."""
    state = monitored.run_state
    state.ask()
    state.forget_costs()
    work_ns = _stop(machine, _COUNTED_STOPS)
    state.ask()
    latency = state.latency_ns
    check = _cost_of(state.cost_ns, work_ns, hz, max_halted, known=state.cost_known)
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
    """How long it takes to have the registers without a stop."""
    indices = machine.choose(None)
    taken = []
    for _ in range(_TIMED_STOPS):
        look = machine.sample(indices)
        taken.append(look.answered_ns - look.asked_ns)
        time.sleep(0.005)
    typical = sorted(taken)[len(taken) // 2]
    seen = f"the guest is not stopped; the monitor takes {typical / 1000:.0f} µs for the registers"
    if machine.registers_from_memory:
        seen = (
            "the guest is not stopped, and QEMU is not asked: the registers are read in its "
            f"memory, in {typical / 1000:.0f} µs"
        )
    if typical * hz < 1e9:
        return Check("cost", Verdict.FINE, seen)
    return Check("cost", Verdict.NOTICE, seen, f"It can do {1e9 / typical:.0f} Hz.")


def _cost_of(
    stood_ns: float, work_ns: float, hz: float, max_halted: float, *, known: bool
) -> Check:
    besides = f", and what QEMU does before and after it takes {work_ns / 1000:.0f}"
    besides = besides if work_ns else ""
    if not known:
        return Check(
            "cost",
            Verdict.NOTICE,
            f"a stop halts the guest for less than {stood_ns / 1000:.0f} µs; this host is too busy "
            f"to measure it better{besides}",
            "Try again when it is less so.",
        )
    stop_ns = stood_ns + work_ns
    affordable = max_halted * 1e9 / stop_ns
    seen = f"a stop halts the guest for {stood_ns / 1000:.0f} µs{besides}"
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
