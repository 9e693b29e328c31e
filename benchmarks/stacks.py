"""What call stacks cost: the guest in halted time, and us in CPU time.

    python benchmarks/stacks.py [--stops 300] [--linux]

Stops the bundled guest (or, with --linux, the Linux guest of the tests, which the first run
downloads) in turn with and without stacks, and prints how long it was halted each time: from the
stub's word that it stands to the last answer, of those stops in which that word was caught alone
(see gprof/sampling/stop_cost.py). Then how long our unwinding of what was captured takes, and
with --linux, where drgn is installed, how long drgn's takes on the same registers and memory.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from gprof.attach import Attached, attach
from gprof.guest.address import Address
from gprof.guest.demo import DemoGuest
from gprof.guest.dialogue import Exchange
from gprof.guest.greeting import Vcpu
from gprof.guest.machine import Machine, Sampled
from gprof.guest.stack_reader import StackReader
from gprof.guest_stacks import most_stack, unwinding_of
from gprof.sources import Sources
from symbols.unwinding.stack import CapturedWords
from symbols.unwinding.unwind import Way
from tests.guests.debian_kernel import fetch_kernel
from tests.guests.drgn_stacks import DrgnStacks
from tests.guests.linux import boot, find_busybox

Ask = Callable[..., tuple[Exchange, list[Sampled]]]


@contextmanager
def guest(*, linux: bool) -> Iterator[tuple[str, Sources]]:
    """The address of a running guest's stub, and its symbols."""
    if not linux:
        with DemoGuest() as demo:
            yield demo.gdb_address, Sources.open(demo.image, None, None)
        return
    busybox = find_busybox()
    if busybox is None:
        raise SystemExit("no static busybox is installed (apt-get install busybox-static)")
    booted = boot(fetch_kernel(), busybox)
    try:
        yield booted.gdb_address, Sources.open(booted.vmlinux, booted.kallsyms, booted.modules)
    finally:
        booted.close()


def halted(ways: dict[str, Ask], vcpus: Sequence[Vcpu], stops: int) -> dict[str, list[float]]:
    """Microseconds of the stops that were seen to begin, by way; the ways take turns."""
    rng = random.Random(0)
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(stops):
        for name, ask in ways.items():
            time.sleep(rng.uniform(0.001, 0.01))
            exchange, _ = ask(vcpus, timed=True)
            if exchange.caught:
                found[name].append((exchange.answered_ns - exchange.stopped_ns) / 1000)
    return found


def show(name: str, values: list[float], base: float) -> float:
    """Print one line of the table; the median."""
    if len(values) < 10:
        print(f"{name:<18} only {len(values)} stops were seen to begin")
        return base
    low, *_, high = statistics.quantiles(values, n=10)
    middle = statistics.median(values)
    ratio = f"{middle / base:5.2f} times" if base else ""
    print(
        f"{name:<18} {low:8.0f} {middle:8.0f} {high:8.0f} {statistics.mean(values):8.0f}  {ratio}"
    )
    return middle


def unwinding(attached: Attached, captured: list[Sampled]) -> None:
    """Print what unwinding takes, rules remembered as they are after a second."""
    unwinder = unwinding_of(attached, Way.AUTO).unwinder
    if unwinder is None:
        raise SystemExit("the stacks of this guest cannot be unwound")
    work = [(one.registers, CapturedWords(one.memory)) for one in captured if one.registers]
    stacks = [unwinder.unwind(registers, word) for registers, word in work]
    started = time.process_time_ns()
    for registers, word in work:
        unwinder.unwind(registers, word)
    spent = (time.process_time_ns() - started) / 1000 / len(work)
    frames = statistics.mean(len(stack.pcs) for stack in stacks)
    whole = sum(stack.ending.whole for stack in stacks) / len(stacks)
    print(f"\nunwinding: {spent:.1f} µs a stack of {frames:.1f} frames, {100 * whole:.2f} % whole")
    print(dict(Counter(stack.ending.name.lower() for stack in stacks)))


def drgn(attached: Attached, captured: list[Sampled]) -> None:
    """Print what drgn takes for the same."""
    image, slide = attached.sources.image, attached.slide
    machine = attached.machine
    if image is None or slide is None or not isinstance(machine, Machine):
        raise SystemExit("no symbols")
    oracle = DrgnStacks(image, slide.offset, attached.machine.memory)
    some = [one for one in captured if one.registers is not None][:300]
    started = time.process_time_ns()
    for one in some:
        oracle.kernel_pcs(machine.values(one), one.memory)
    print(f"drgn:      {(time.process_time_ns() - started) / 1000 / len(some):.1f} µs a stack")


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stops", type=int, default=300)
    parser.add_argument("--linux", action="store_true")
    given = parser.parse_args()
    with guest(linux=given.linux) as (address, sources):
        attached = attach(Address.parse(address), sources)
        machine = attached.machine
        try:
            reader = StackReader(machine, most_stack(attached))
            captured: list[Sampled] = []

            def with_stacks(
                vcpus: Sequence[Vcpu], *, timed: bool
            ) -> tuple[Exchange, list[Sampled]]:
                exchange, sampled = reader.sample(vcpus, timed=timed)
                captured.extend(one for one in sampled if one.registers is not None)
                return exchange, sampled

            found = halted(
                {"registers": machine.sample, "registers, stacks": with_stacks},
                machine.vcpus,
                given.stops,
            )
            print(f"{Path(address).name}, {len(machine.vcpus)} vcpus; halted, µs")
            print(f"{'':<18} {'10 %':>8} {'median':>8} {'90 %':>8} {'mean':>8}")
            base = show("registers", found["registers"], 0)
            show("registers, stacks", found["registers, stacks"], base)
            unwinding(attached, captured)
            if given.linux:
                drgn(attached, captured)
        finally:
            machine.stub.close()


if __name__ == "__main__":
    main()
