"""What a real guest's memory says of itself, beside what the guest prints."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from gprof.attach import Attached, attach
from gprof.cli.main import cli
from gprof.guest.address import Address
from gprof.sources import Sources
from symbols.elf import Image
from symbols.kallsyms_memory import read_kallsyms, tables_by_symbols
from symbols.kallsyms_search import find_kallsyms
from symbols.modules import open_modules
from symbols.slide import Method
from symbols.structures import Structures
from symbols.tasks import CurrentPlaces, Tasks, current_task
from tests.guests.linux import LinuxGuest


def attached_to(guest: LinuxGuest, sources: Sources) -> Attached:
    attached = attach(Address.parse(guest.gdb_address), sources)
    attached.close()
    return attached


@pytest.mark.parametrize("way", ["gdb", "qmp"])
def test_kallsyms_from_memory_is_that_of_the_guest(
    linux_guest: LinuxGuest, tmp_path: Path, way: str
) -> None:
    path = tmp_path / "kallsyms"
    address = linux_guest.gdb_address if way == "gdb" else linux_guest.qmp_address
    done = CliRunner().invoke(cli, ["symbols", f"--{way}", address, "-o", str(path)])
    assert done.exit_code == 0, done.output
    # Text that the kernel makes at run time is not in its tables.
    generated = (b"\t[bpf]", b"\t[__builtin__ftrace]", b"\t[__builtin__kprobes]")
    lines = [
        line for line in linux_guest.kallsyms.read_bytes().splitlines()
        if not line.endswith(generated)
    ]  # fmt: skip
    assert len(lines) > 50_000
    assert path.read_bytes().splitlines() == lines


@pytest.mark.parametrize("with_vmlinux", [True, False])
def test_modules_are_those_of_the_guest(linux_guest: LinuxGuest, with_vmlinux: bool) -> None:
    vmlinux = linux_guest.vmlinux if with_vmlinux else None
    attached = attached_to(linux_guest, Sources.open(vmlinux, None, None))
    found = attached.introspected
    assert not found.problems
    assert found.modules is not None
    assert found.modules.complete
    listed = sorted((module.module for module in found.modules.listed), key=lambda m: m.start)
    assert tuple(listed) == open_modules(linux_guest.modules)
    assert attached.identity.release == linux_guest.kernel.release
    if not with_vmlinux:
        assert attached.slide is not None
        assert attached.slide.agreeing == (Method.KALLSYMS, Method.VECTOR, Method.FIRST_PAGE)


@pytest.mark.parametrize("with_stub", [True, False])
def test_with_a_monitor_symbols_are_read_without_a_stop(
    linux_guest: LinuxGuest, with_stub: bool
) -> None:
    attached = attach(
        Address.parse(linux_guest.gdb_address) if with_stub else None,
        Sources(),
        monitor=Address.parse(linux_guest.qmp_address),
    )
    monitored = attached.monitored
    assert monitored is not None
    stopped = monitored.stops_it
    attached.close()
    if monitored.why_packets is not None:
        pytest.skip(monitored.why_packets.problem)
    found = attached.introspected
    assert not found.problems
    assert found.kernel is not None
    assert found.modules is not None
    assert len(found.modules.listed) == len(open_modules(linux_guest.modules))
    assert found.cost.stops == 0
    assert stopped == with_stub  # by connecting, where there is a stub


def test_every_choice_of_symbols_names_the_same_functions(linux_guest: LinuxGuest) -> None:
    by_file = attached_to(
        linux_guest, Sources.open(None, linux_guest.kallsyms, linux_guest.modules)
    )
    by_memory = attached_to(linux_guest, Sources())
    by_vmlinux = attached_to(linux_guest, Sources.open(linux_guest.vmlinux, None, None))
    assert by_file.sources.kallsyms is not None
    tables = [by_file.sources.kallsyms.kernel, *by_file.sources.kallsyms.modules.values()]
    starts = np.concatenate([table.start for table in tables])
    names = {}
    for way, attached in (("file", by_file), ("memory", by_memory), ("vmlinux", by_vmlinux)):
        resolved = attached.space.resolve(starts)
        names[way] = [
            attached.space.symbol(int(image), int(symbol)).symbol.name if symbol >= 0 else ""
            for image, symbol in zip(resolved.image, resolved.symbol, strict=True)
        ]
    agree = np.array(names["file"]) == np.array(names["memory"])
    assert agree.mean() > 0.999
    # A vmlinux knows more names of one address, and which of them has a size.
    assert (np.array(names["vmlinux"]) == np.array(names["memory"])).mean() > 0.99


def test_current_task_is_one_that_the_guest_runs(linux_guest: LinuxGuest) -> None:
    attached = attach(Address.parse(linux_guest.gdb_address), Sources())
    try:
        types, kallsyms = attached.introspected.types, attached.sources.kallsyms
        assert types is not None
        assert kallsyms is not None
        memory = attached.machine.fresh_memory()
        tasks = Tasks(Structures(memory, types))
        places = CurrentPlaces.of(kallsyms.address_of, types)
        task = None
        for _ in range(200):
            # Each is read in a stop of its own; between two of them the vcpu may change modes.
            registers = {
                name: attached.machine.register(name) or 0 for name in ("gs_base", "k_gs_base")
            }
            pointer = current_task("x86_64", registers, memory, places, user=False)
            task = tasks.at(pointer) if pointer is not None else None
            if task is not None:
                break
        assert task is not None
        assert task.comm
        init = kallsyms.address_of("init_task")
        assert init is not None
        idle = tasks.at(init)
        assert idle is not None
        assert (idle.pid, idle.comm, idle.kernel_thread) == (0, "swapper/0", True)
    finally:
        attached.close()


def test_files_of_modules_are_taken_by_their_build_id(linux_guest: LinuxGuest) -> None:
    sources = Sources.open(linux_guest.vmlinux, None, None)
    address = Address.parse(linux_guest.gdb_address)
    attached = attach(address, replace(sources, directories=(linux_guest.kernel.modules,)))
    attached.close()
    by_memory = attached_to(linux_guest, sources).sources.module_images
    by_file = attached.sources.module_images
    assert by_file.keys() == by_memory.keys()
    for name, image in by_file.items():
        assert image.path.endswith(".ko")
        assert image.build_id == by_memory[name].build_id
        ours, kernels = image.table, by_memory[name].table
        assert ours is not None
        assert kernels is not None
        assert ours.start.tolist() == kernels.start.tolist()
        assert ours.end.tolist() == kernels.end.tolist()


def test_the_table_in_a_vmlinux_is_what_nm_says(linux_guest: LinuxGuest) -> None:
    if shutil.which("nm") is None:
        pytest.skip("nm is not installed (apt-get install binutils)")
    image = Image.open(linux_guest.vmlinux)
    tables = tables_by_symbols(image, image.address_of)
    assert tables is not None
    lines = read_kallsyms(image, tables)
    start = image.address_of("_stext")
    assert start is not None
    assert find_kallsyms(image, start, start + (64 << 20))[0] == tables
    said = subprocess.run(["nm", linux_guest.vmlinux], capture_output=True, check=True).stdout
    known = {(line[:16], line[19:]) for line in said.splitlines()}
    listed = {
        (b"%016x" % address, lines.names.raw(i)) for i, address in enumerate(lines.address.tolist())
    }
    assert len(listed) > 50_000
    assert listed <= known


def test_doctor_says_what_reading_cost(linux_guest: LinuxGuest) -> None:
    done = CliRunner().invoke(cli, ["doctor", "--gdb", linux_guest.gdb_address])
    assert done.exit_code == 0, done.output
    assert "the guest's memory names" in done.output
    assert "stops that halted it" in done.output


def test_text_made_at_run_time_is_what_the_guest_lists(linux_guest: LinuxGuest) -> None:
    tracing = "/sys/kernel/tracing"
    linux_guest.run(
        f"mount -t tracefs none {tracing} && cd {tracing} && "
        "echo schedule >set_ftrace_filter && echo function >current_tracer"
    )
    try:
        attached = attached_to(linux_guest, Sources())
        listed = linux_guest.run(r"grep '\[__builtin__' /proc/kallsyms").decode()
    finally:
        linux_guest.run(
            f"cd {tracing} && echo nop >current_tracer && echo >set_ftrace_filter; "
            f"cd / && umount {tracing}"
        )
    # Where the kernel is built without the tracer there is nothing to be listed.
    assert {
        f"{start:016x} t {table.names[i]}\t[{kind}]"
        for kind, table in attached.sources.generated.items()
        for i, start in enumerate(table.start.tolist())
    } == set(listed.splitlines())
