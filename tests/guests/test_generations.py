"""Kernels of several generations and architectures, asked the same questions: `make test-guests`.

Each is booted once, one after the other; what agreed, in numbers, is printed at the end and kept
in docs/guests.md. Not part of `make test`: the kernels are downloads of 300 MB each.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

from gprof.cli.main import cli
from gprof.guest.emulator import find_qemu
from gprof.guest.mode import Mode
from gprof.profile.filter import Filter
from gprof.profile.view import Group, tabulate
from gprof.sources import Sources
from symbols.elf import Image
from symbols.kernel_space import UNNAMED_TRAMPOLINE
from symbols.modules import open_modules
from symbols.space import AddressSpace, ImageKind
from symbols.unwinding.stack import Ending, Stack
from tests.command_line import gprof
from tests.guests.debian_kernel import KernelUnavailable
from tests.guests.generations import EXPECTED, Generation, Taken, kernel_of, take
from tests.guests.linux import PLATFORMS, LinuxGuest, boot, find_busybox
from tests.guests.test_guest_tasks import (
    both_seen,
    compiled,
    counting,
    functions_of,
    listed,
    sampled,
    spinning,
)
from tests.monitor import Monitor

pytestmark = [pytest.mark.guest, pytest.mark.generations, pytest.mark.timeout(4 * 3600)]

#: Text that the kernel makes at run time is in no table.
GENERATED = (b"\t[bpf]", b"\t[__builtin__ftrace]", b"\t[__builtin__kprobes]")

Figure = Callable[[str, str], None]


@pytest.fixture(scope="module", params=EXPECTED)
def generation(request: pytest.FixtureRequest) -> Iterator[Generation]:
    """One kernel after the other."""
    key: str = request.param
    expected = EXPECTED[key]
    platform = PLATFORMS[key.partition("-")[0]]
    if find_qemu(platform.program) is None:
        pytest.skip(f"{platform.program} is not installed")
    busybox = find_busybox()
    if busybox is None:
        pytest.skip("no static busybox is installed (apt-get install busybox-static)")
    try:
        kernel = kernel_of(expected.kernel or key, busybox)
    except KernelUnavailable as reason:
        pytest.skip(str(reason))
    guest = boot(
        kernel,
        busybox,
        steady=True,
        patience=expected.patience,
        processor=expected.processor,
    )
    guest.pause()
    yield Generation(key, guest, expected)
    guest.close()


@pytest.fixture
def awake(generation: Generation) -> Iterator[LinuxGuest]:
    """The guest, running."""
    with generation.guest.awake() as guest:
        yield guest


@pytest.fixture
def figure(generation: Generation, record_figure: Callable[[str, str, str], None]) -> Figure:
    """Takes down what a test measured, for the table at the end."""
    return lambda name, value: record_figure(generation.key, name, value)


@pytest.fixture(scope="module")
def taken(generation: Generation) -> Taken:
    """As many samples as the generation is to be compared by, under its mixed load."""
    with generation.guest.awake():
        attached = generation.attach(generation.by_vmlinux)
        try:
            return take(attached, generation.expected)
        finally:
            attached.close()


def named(space: AddressSpace, pcs: NDArray[np.uint64]) -> list[str]:
    """The image and the function of each pc."""
    resolved = space.resolve(pcs)
    return [
        f"{space.images[image].name} {space.symbol(int(image), int(symbol)).symbol.name}"
        if symbol >= 0
        else f"{UNNAMED_TRAMPOLINE} ?"
        if image >= 0 and space.images[image].name == UNNAMED_TRAMPOLINE
        else "?"
        for image, symbol in zip(resolved.image, resolved.symbol, strict=True)
    ]


def test_every_source_of_symbols_names_a_sample_alike(
    generation: Generation, taken: Taken, figure: Figure
) -> None:
    pcs = taken.pcs
    by_vmlinux = named(taken.attached.space, pcs)
    for name, sources in (("nothing", Sources()), ("kallsyms", generation.by_texts)):
        attached = generation.attach(sources)
        attached.close()
        others = named(attached.space, pcs)
        # A text has no sizes: to it the jump tables behind a module's functions (aarch64's PLT)
        # belong to the last of those, and to a vmlinux to none; see `unknown` below.
        differ = Counter(
            (ours, other)
            for ours, other in zip(by_vmlinux, others, strict=True)
            if ours not in {other, "?"} and other != f"{UNNAMED_TRAMPOLINE} ?"
        )
        known = len(pcs) - by_vmlinux.count("?")
        figure(f"vmlinux/{name}", f"{known - differ.total()}/{known}")
        assert differ.total() <= 0.001 * len(pcs), differ.most_common(10)
    unknown = by_vmlinux.count("?")
    figure("named", f"{len(pcs) - unknown}/{len(pcs)}")
    assert unknown <= 0.005 * len(pcs)
    assert any(not name.startswith("[kernel]") for name in by_vmlinux)
    # A table of functions alone lacks what user mode goes in and out by, and that is told.
    trampoline = taken.attached.sources.trampoline
    if trampoline is not None:
        inside = [name for name, pc in zip(by_vmlinux, pcs, strict=True) if int(pc) in trampoline]
        figure("in the trampoline", f"{len(inside)}/{len(pcs)}")
        assert bool(inside) == generation.expected.hides  # it may be mapped and not used
        assert all(name.startswith("[kernel] tramp_") for name in inside)
    assert trampoline is not None or not generation.expected.hides


def test_kallsyms_from_memory_is_that_of_the_guest(
    generation: Generation, awake: LinuxGuest, tmp_path: Path, figure: Figure
) -> None:
    lines = [
        line for line in awake.kallsyms.read_bytes().splitlines() if not line.endswith(GENERATED)
    ]
    for name, given in (("vmlinux", ["--guestvmlinux", str(awake.vmlinux)]), ("nothing", [])):
        path = tmp_path / name
        arguments = ["symbols", "--gdb", awake.gdb_address, *given, "-o", str(path)]
        done = CliRunner().invoke(cli, arguments)
        assert done.exit_code == 0, done.output
        expected, found = lines, path.read_bytes().splitlines()
        described = {
            "nothing": generation.expected.described,
            "vmlinux": generation.expected.believed,
        }
        if not described[name]:
            # Of a module the letter is a capital where the symbol is exported.
            expected, found = ([_without_exports(line) for line in one] for one in (lines, found))
        same = (Counter(found) & Counter(expected)).total()
        figure(f"kallsyms from {name}", f"{same}/{len(expected)}")
        assert found == expected


def _without_exports(line: bytes) -> bytes:
    through_letter = len("0123456789abcdef T")
    if b"\t[" not in line:
        return line
    return line[:through_letter].lower() + line[through_letter:]


def test_modules_are_those_of_the_guest(
    generation: Generation, awake: LinuxGuest, figure: Figure
) -> None:
    expected = open_modules(awake.modules)
    assert len(expected) >= 3
    for name, sources in (("vmlinux", generation.by_vmlinux), ("nothing", Sources())):
        attached = generation.attach(sources)
        attached.close()
        found = attached.introspected
        assert not found.problems
        assert found.modules is not None
        assert found.modules.complete
        listed = sorted((one.module for one in found.modules.listed), key=lambda one: one.start)
        figure(f"modules from {name}", f"{len(set(listed) & set(expected))}/{len(expected)}")
        assert tuple(listed) == expected
        assert all(image.table is not None for image in found.modules.images.values())
        assert attached.identity.release == awake.kernel.release


def test_the_slide_is_that_of_the_guest(
    generation: Generation, awake: LinuxGuest, figure: Figure
) -> None:
    attached = generation.attach(generation.by_vmlinux)
    attached.close()
    assert attached.slide is not None
    linked = Image.open(awake.vmlinux).address_of("_stext")
    line = next(
        line for line in awake.kallsyms.read_text().splitlines() if line.endswith(" _stext")
    )
    assert linked is not None
    assert (linked + attached.slide.offset) % 2**64 == int(line.split()[0], 16)
    assert attached.slide.offset or not generation.expected.moved
    figure("slide", f"{attached.slide.offset:#x} ({', '.join(attached.slide.agreeing)})")


def drgn_tells_less(stack: Stack, ours: list[int], theirs: list[int]) -> bool:
    """Whether `theirs` is `ours` without its end, without the caller of a leaf, or both.

    So drgn does where it has no tables: it stops where s390x changes stacks and in the code of
    x86-64's indirect calls, and does not look for a return address in a register.
    """
    if not stack.ending.whole or not 0 < len(theirs) < len(ours):
        return False
    leaves = (0, *stack.exact)
    callers = [stack.pcs[at + 1] for at in leaves if at + 1 < len(stack.pcs)]
    shorter = [ours, *([pc for pc in ours if pc != caller] for caller in callers)]
    return any(one[: len(theirs)] == theirs for one in shorter)


def through_code(space: AddressSpace, pcs: list[int]) -> list[int]:
    """A stack up to where it leaves all code.

    So drgn's may in the code of x86-64's indirect calls, for which it has no rules.
    """
    outside = np.flatnonzero(space.resolve(np.array(pcs, np.uint64)).image < 0)
    return pcs[: int(outside[0])] if len(outside) else pcs


def drgn_goes_on(stack: Stack, ours: list[int], theirs: list[int]) -> bool:
    """Whether `theirs` has one frame more: the registers made for a kernel thread of s390x."""
    return stack.ending is Ending.START and theirs[:-1] == ours


def without_modules(taken: Taken) -> Taken:
    """What was taken, without the stacks that go through a module."""
    space = taken.attached.space
    modules = [loaded.kind is ImageKind.MODULE for loaded in space.images]
    kept = [
        at
        for at, stack in enumerate(taken.stacks)
        if not any(
            image >= 0 and modules[image]
            for image in space.resolve(np.array(stack.pcs, np.uint64)).image
        )
    ]
    return replace(
        taken,
        samples=tuple(taken.samples[at] for at in kept),
        stacks=tuple(taken.stacks[at] for at in kept),
        theirs=tuple(taken.theirs[at] for at in kept),
        ours=tuple(taken.ours[at] for at in kept),
    )


def test_stacks_are_those_of_drgn(generation: Generation, taken: Taken, figure: Figure) -> None:
    if not generation.expected.believed:
        taken, of = without_modules(taken), len(taken.stacks)
        figure("not through modules", f"{len(taken.stacks)}/{of}")
        assert len(taken.stacks) > 0.2 * of
    endings = Counter(stack.ending for stack in taken.stacks)
    whole = sum(count for ending, count in endings.items() if ending.whole)
    figure("whole stacks", f"{whole}/{len(taken.stacks)}")
    if generation.expected.drgn:
        space = taken.attached.space
        pairs = [
            (ours, theirs if ours == theirs else through_code(space, theirs))
            for ours, theirs in zip(taken.ours, taken.theirs, strict=True)
        ]
        explained = [
            drgn_tells_less(stack, ours, theirs) or drgn_goes_on(stack, ours, theirs)
            for stack, (ours, theirs) in zip(taken.stacks, pairs, strict=True)
        ]
        compared = [pair for pair, known in zip(pairs, explained, strict=True) if not known]
        different = [(ours, theirs) for ours, theirs in compared if ours != theirs]
        figure("same as drgn's", f"{len(compared) - len(different)}/{len(compared)}")
        figure("explained", f"{sum(explained)}/{len(pairs)}")
        shown = [
            [named(space, np.array(side, np.uint64)) for side in pair] for pair in different[:5]
        ]
        assert len(different) <= (1 - generation.expected.same) * len(compared), shown
    assert whole >= 0.99 * len(taken.stacks), endings


@pytest.fixture
def with_tasks(generation: Generation) -> None:
    """The guest tells its tasks."""
    if not generation.expected.believed:
        pytest.skip("neither memory nor the vmlinux of this kernel tells its tasks")


@pytest.mark.usefixtures("with_tasks")
@pytest.mark.parametrize("way", ["gdb", "qmp"])
def test_tasks_are_those_that_the_guest_lists(
    generation: Generation, awake: LinuxGuest, figure: Figure, way: str
) -> None:
    if way == "qmp" and awake.kernel.architecture in {"riscv64", "s390x"}:
        pytest.skip("through the monitor tasks are not told, or of s390x no samples taken")
    with spinning(awake, "spinner") as pid:
        before = listed(awake)
        profile = sampled(awake, way)
        after = listed(awake)
    told = right = spun = 0
    for row in tabulate(profile, group=Group.TASK).rows:
        if row.task is None or row.task.idle:
            continue
        there = before.get(row.task.pid)
        # Those that lived all the time are what the guest says they are.
        if there is not None and there == after.get(row.task.pid):
            told += row.self_weight
            same = (row.task.comm, row.task.kernel_thread) == (there.comm, there.kernel_thread)
            right += row.self_weight * same
            spun += row.self_weight * (row.task.pid == pid)
    figure(f"tasks by {way}", f"{right}/{told}")
    user = tabulate(profile, Filter(modes=frozenset({Mode.USER})), Group.TASK)
    of_a_task = sum(row.self_weight for row in user.rows if row.task is not None)
    figure(f"user mode by {way}", f"{of_a_task}/{user.weight} of a task")
    assert right == told
    assert told
    if way == "gdb":  # the monitor tells a task only where it was there before and after a look
        assert of_a_task >= 0.9 * user.weight
    assert spun > 0.05 * len(profile.samples)


@pytest.mark.usefixtures("with_tasks")
def test_functions_of_programs_are_named_by_files_of_their_build(
    generation: Generation, awake: LinuxGuest, tmp_path: Path, figure: Figure
) -> None:
    program = compiled(awake, tmp_path / "root")
    with counting(awake, program, tmp_path / "stripped") as pid:
        profile = sampled(awake, "both", lambda now: both_seen(now, pid), [tmp_path / "root"])
    found = functions_of(profile, pid)
    named = found["count_up"] + found["count_down"]
    figure("programs", f"{named}/{found.total()}")
    assert found["count_up"] > found["count_down"]
    assert named > found.total() * 0.9


def test_a_dump_of_memory_says_what_the_guest_itself_does(
    generation: Generation, tmp_path: Path, figure: Figure
) -> None:
    guest = generation.guest  # paused
    core = tmp_path / "core"
    with Monitor(guest.qmp_address) as monitor:
        monitor.execute("dump-guest-memory", paging=False, protocol=f"file:{core}")
    tasks = ("--tasks",) if generation.expected.believed else ()
    symbols = ("--guestvmlinux", guest.vmlinux, *tasks, "--no-inline", "--json")
    live = json.loads(gprof("dump", "--gdb", guest.gdb_address, *symbols).stdout)
    dead = json.loads(gprof("dump", "--core", core, *symbols).stdout)
    core.unlink()
    assert dead["kernel"] == live["kernel"] == guest.kernel.release
    if tasks:
        assert len(live["tasks"]) > 20
        assert dead["tasks"] == live["tasks"]
    told = same = 0
    for vcpu, other in zip(dead["vcpus"], live["vcpus"], strict=True):
        assert other["task"] is None or vcpu["task"] == other["task"]
        # The stub does not work out the condition code of s390x, which is in pswm.
        different = set(vcpu["registers"].items()) - set(other["registers"].items())
        assert {name for name, _ in different} <= {"pswm"}
        # It lacks the registers that tell an interrupt's handler from what it interrupted.
        if vcpu["frames"][0] == other["frames"][0]:
            told += 1
            same += vcpu["frames"] == other["frames"]
    figure("stacks in a dump", f"{same}/{told}")
    assert same == told
