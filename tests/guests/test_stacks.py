"""Call stacks of real guests: the paths of the bundled one, and Linux's against drgn's."""

from __future__ import annotations

import json
import random
import time
from collections import Counter

import pytest

from gprof.attach import Attached, attach
from gprof.dump import lines_of, take
from gprof.guest.address import Address
from gprof.guest.machine import Machine, Sampled
from gprof.guest.stack_reader import StackReader
from gprof.guest_stacks import unstacking_of, unwinding_of
from gprof.profile.profile import Profile
from gprof.profile.stacks import StackTable
from gprof.profile.tree import call_tree
from gprof.sampling.source import SampleBatch
from gprof.sampling_way import source_of
from gprof.sources import Sources
from symbols.unwinding.orc import OrcUnwinder
from symbols.unwinding.stack import CapturedWords, Ending, Stack
from symbols.unwinding.unwind import Way
from tests.guests.drgn_stacks import DrgnStacks
from tests.guests.linux import LinuxGuest
from tests.guests.watched_demo import SHARES, WatchedDemo
from tests.monitor import Monitor
from tests.waiting import Deadline

#: Of the demo guest: by the caller, the function and its share of all work.
PATHS: dict[str, tuple[str, float]] = {
    caller: (SHARES["calls"][caller], percent / 100)
    for caller, percent in SHARES["callers_percent"].items()
}


def sampled(attached: Attached, stops: int) -> Profile:
    stacks = StackTable()
    unstacking, _ = unstacking_of(attached, Way.AUTO, stacks)
    source = source_of(attached, hz=200, max_halted=1, unstacking=unstacking)
    batches = []
    deadline = Deadline(f"{stops} samples", source.facts)
    for batch in source.batches():
        deadline.check()
        batches.append(batch)
        if source.facts().taken >= stops:
            source.close()
    samples = SampleBatch.concatenate(batches)
    return Profile(samples, source.facts(), {0: attached.guest}, {0: attached.space}, stacks=stacks)


def test_a_function_reached_by_two_paths_shows_both(demo_guest: WatchedDemo) -> None:
    sources = Sources.open(demo_guest.image, None, None)
    profile = sampled(attach(Address.parse(demo_guest.gdb_address), sources), 1000)
    work: Counter[str] = Counter()
    for above, node in call_tree(profile).walk():
        if above and above[-1].name in PATHS and node.name == PATHS[above[-1].name][0]:
            work[above[-1].name] += node.own
    assert work.keys() == PATHS.keys()
    total = sum(work.values())
    for caller, (_, share) in PATHS.items():
        # Four standard deviations of as many samples as there were.
        margin = 4 * (share * (1 - share) / total) ** 0.5
        assert work[caller] / total == pytest.approx(share, abs=margin), work
    assert profile.facts.endings.keys() == {"start"}


def captured(attached: Attached, stops: int) -> list[Sampled]:
    machine = attached.machine
    assert isinstance(machine, Machine)
    reader = StackReader(machine)
    rng = random.Random(2)
    found: list[Sampled] = []
    for _ in range(stops):
        time.sleep(rng.uniform(0.001, 0.01))  # out of step with the guest's timer
        found += [one for one in reader.sample(machine.vcpus)[1] if one.registers is not None]
    return found


def test_stacks_of_linux_are_those_of_drgn(linux_guest: LinuxGuest) -> None:
    sources = Sources.open(linux_guest.vmlinux, linux_guest.kallsyms, linux_guest.modules)
    attached = attach(Address.parse(linux_guest.gdb_address), sources)
    try:
        assert sources.image is not None
        assert attached.slide is not None
        assert isinstance(attached.machine, Machine)
        chosen = unwinding_of(attached, Way.AUTO)
        assert (chosen.way, chosen.missing) == ("orc", "")
        assert isinstance(chosen.unwinder, OrcUnwinder)
        oracle = DrgnStacks(sources.image, attached.slide.offset, attached.machine.memory)
        samples = captured(attached, 250)
        stacks = [
            chosen.unwinder.unwind(one.registers, CapturedWords(one.memory))
            for one in samples
            if one.registers is not None
        ]
        endings = Counter(stack.ending for stack in stacks)
        whole = [
            (stack, one) for stack, one in zip(stacks, samples, strict=True) if stack.ending.whole
        ]
        drgns = [oracle.kernel_pcs(attached.machine.values(one), one.memory) for _, one in whole]
        different = [
            (describe(stack, attached), theirs)
            for (stack, _), theirs in zip(whole, drgns, strict=True)
            if oracle.without_repeats(stack.pcs) != theirs
        ]
    finally:
        attached.close()
    assert len(stacks) > 250
    assert len(whole) >= 0.98 * len(stacks), endings
    assert endings[Ending.USER] > len(stacks) / 2, endings
    assert len(different) <= 0.005 * len(whole), different[:5]


def describe(stack: Stack, attached: Attached) -> list[str]:
    found = [attached.space.symbol_at(pc) for pc in stack.pcs]
    return [at.symbol.name if at is not None else "?" for at in found]


def test_a_dump_shows_each_vcpu_and_leaves_a_stopped_guest_stopped(demo_guest: WatchedDemo) -> None:
    sources = Sources.open(demo_guest.image, None, None)
    for running in (True, False):
        with Monitor(demo_guest.qmp_address) as monitor:
            if not running:
                monitor.execute("stop")
        attached = attach(Address.parse(demo_guest.gdb_address), sources)
        try:
            dump = take(attached)
        finally:
            attached.close()
        with Monitor(demo_guest.qmp_address) as monitor:
            assert monitor.is_running() is running
        assert dump.stopped is not running
        assert [vcpu.index for vcpu in dump.vcpus] == [0, 1]
        for vcpu in dump.vcpus:
            names = [frame.name for frame in vcpu.frames]
            assert names[-1] == "enter_upper_half"
            assert "run_rounds" in names
            assert vcpu.ending is Ending.START
            assert vcpu.registers["rip"] == vcpu.frames[0].address
        again = json.loads(json.dumps(dump.content()))
        assert again["vcpus"][1]["frames"][-1]["symbol"] == "enter_upper_half"
        assert again["stopped"] is not running
        shown = "\n".join(lines_of(dump))
        assert "enter_upper_half+0x" in shown
        assert ("stopped by somebody else" in shown) is not running
