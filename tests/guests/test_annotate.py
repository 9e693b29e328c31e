"""Annotating the kernel of a real guest, held to binutils and to memory read in another way."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from gprof.annotator import Annotator
from gprof.attach import attach
from gprof.given_symbols import GivenSymbols
from gprof.guest.address import Address
from gprof.inputs import Input, load
from gprof.profile.code import Code
from gprof.profile.listing import Listing
from gprof.profile.profile import Profile
from gprof.profile.view import tabulate
from gprof.sampling.source import SampleBatch, SourceFacts
from gprof.sources import Sources
from symbols.disassembly import disassemble
from symbols.elf import Image
from symbols.lines_by_drgn import Drgn
from symbols.lines_by_program import Addr2line, find_addr2line
from symbols.lines_of_space import SpaceLines
from symbols.original import Original
from symbols.patch_sites import PatchKind
from symbols.source_frames import FinderFailed
from symbols.space import ImageKind
from tests.command_line import end, gprof, started
from tests.guests.linux import LinuxGuest
from tests.guests.recordings import await_samples
from tests.monitor import Monitor
from tests.unit.symbols.elf_files import ALLOC, EXECUTE, ElfFile, Sec, Sym

SAMPLES = 3000
HOTTEST = 200
#: Trampolines of static calls end in bytes that mark them and are never run: `ud1 %esp, %ecx`
#: to objdump, which takes one byte more for it than capstone does.
_TRAMPOLINE = "__SCT__"


@dataclass(frozen=True)
class Recorded:
    """A recording of the guest at work, and its kernel's text at one instant.

    Attributes:
        path: of the recording.
        input: the same with the symbols of the vmlinux.
        image: the vmlinux.
        slide: how far KASLR moved it.
        text: the guest's own text, as QEMU wrote it.
        annotator: makes listings of that text.
    """

    path: Path
    input: Input
    image: Image
    slide: int
    text: bytes
    annotator: Annotator

    @property
    def hottest(self) -> list[int]:
        """Runtime addresses of the kernel functions with most samples."""
        rows = tabulate(self.input.profile).rows
        found = [row.address for row in rows if row.module == "[kernel]" and row.symbol]
        return list(dict.fromkeys(found))[:HOTTEST]

    def listing(self, address: int) -> Listing:
        return self.annotator.at_address(self.input.profile, 0, address)


class _At:
    """Bytes at one address."""

    def __init__(self, start: int, data: bytes) -> None:
        self._start, self._data = start, data

    def read(self, address: int, size: int) -> bytes:
        first = address - self._start
        assert 0 <= first <= len(self._data) - size
        return self._data[first : first + size]


@pytest.fixture(scope="module")
def recorded(booted_linux_guest: LinuxGuest, tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    folder = tmp_path_factory.mktemp("annotate")
    path, dump = folder / "linux.gprof", folder / "text"
    vmlinux = booted_linux_guest.vmlinux
    image = Image.open(vmlinux)
    with (
        booted_linux_guest.awake() as guest,
        Monitor(guest.qmp_address) as monitor,
    ):
        with started(
            "record", "--gdb", guest.gdb_address, "-F", "499", "--max-halted", "100",
            "--call-graph", "none", "--guestvmlinux", vmlinux, "-o", path,
        ) as process:  # fmt: skip
            await_samples(path, SAMPLES)
            code, _, said = end(process, signal.SIGINT)
            assert code == 0, said
        loaded = load(path, GivenSymbols.of(vmlinux=[str(vmlinux)]))
        kernel = next(one for one in loaded.profile.space(0).images if one.kind is ImageKind.KERNEL)
        section = image.section(".text")
        assert section is not None
        # Read by QEMU itself, through the page tables of its first vcpu.
        start = (section.address + kernel.slide) % (1 << 64) - (1 << 64)  # it takes an i64
        monitor.execute(
            "memsave", val=start, size=section.size, filename=str(dump), **{"cpu-index": 0}
        )
    text = dump.read_bytes()
    running = _At(start % (1 << 64), text)
    annotator = Annotator({0: Code(running, Original(image, kernel.slide))})
    return Recorded(path, loaded, image, kernel.slide, text, annotator)


def test_instructions_are_those_of_objdump(recorded: Recorded, tmp_path: Path) -> None:
    if shutil.which("objdump") is None:
        pytest.skip("objdump is not installed (apt-get install binutils)")
    space = recorded.input.profile.space(0)
    functions = []
    for address in recorded.hottest:
        at = space.symbol_at(address)
        assert at is not None
        if not at.symbol.name.startswith(_TRAMPOLINE):
            functions.append(at.symbol)
    assert len(functions) > 100
    functions.sort(key=lambda symbol: symbol.start)
    ours = set()
    sections = []
    for symbol in functions:
        code = recorded.listing(symbol.start).lines
        ours |= {line.address for line in code}
        sections.append(
            Sec(f".{symbol.start:x}", b"".join(line.bytes for line in code), symbol.start,
                flags=ALLOC | EXECUTE)
        )  # fmt: skip
    # What runs, as an ELF file of which objdump knows nothing but the functions' places.
    program = tmp_path / "hottest"
    symbols = [
        Sym(symbol.name, symbol.start, symbol.end - symbol.start, section=i + 1)
        for i, symbol in enumerate(functions)
    ]
    program.write_bytes(ElfFile(sections, symbols).build())
    printed = subprocess.run(
        ["objdump", "-d", "-z", "-w", program],
        check=True, capture_output=True, text=True, timeout=300,
    ).stdout  # fmt: skip
    theirs = {int(at, 16) for at in re.findall(r"^\s*([0-9a-f]+):\t", printed, re.MULTILINE)}
    assert ours == theirs
    assert len(ours) > 5000


def test_source_lines_are_those_of_addr2line(recorded: Recorded) -> None:
    """Function and line of every frame are; and the file.

    llvm-symbolizer calls the function that has the code as the symbol table does, such as
    `__x64_sys_rt_sigreturn`, where its source has `__do_sys_rt_sigreturn`.
    Where a function's first instruction is of a header, addr2line 2.40 names the unit's own file
    with the line of the header. Then drgn decides, or, where that is not installed, such a file
    at least has to be a header.
    """
    program = find_addr2line()
    if program is None:
        pytest.skip("addr2line is not installed (apt-get install binutils)")
    space = recorded.input.profile.space(0)
    pcs = np.unique(recorded.input.profile.samples.pc)
    images = space.resolve(pcs).image
    kernel = [
        pc
        for pc, image in zip(pcs.tolist(), images.tolist(), strict=True)
        if image >= 0 and space.images[image].kind is ImageKind.KERNEL
    ][:400]
    assert len(kernel) > 100
    lines = SpaceLines()
    found = lines.find(space, kernel)
    lines.close()
    linked = {pc: (pc - recorded.slide) % (1 << 64) for pc in kernel}
    oracle = Addr2line(program, recorded.image.path)
    doubtful = {}
    for pc in kernel:
        (theirs,) = oracle.find([linked[pc]])
        ours = found[pc]
        at = space.symbol_at(pc)
        holder = at.symbol.name.partition(".")[0] if at is not None else ""
        assert [one.line for one in ours] == [one.line for one in theirs], hex(linked[pc])
        for one, other in zip(ours, theirs, strict=True):
            assert one.function in {other.function, holder}, hex(linked[pc])
        if not all(
            f"/{other.file}".endswith(f"/{one.file}")
            for one, other in zip(ours, theirs, strict=True)
        ):
            doubtful[pc] = ours
    oracle.close()
    assert len(doubtful) < len(kernel) // 10
    try:
        referee = Drgn(recorded.image.path, "EM_X86_64", little_endian=True)
    except FinderFailed:
        assert all(chain[0].file.endswith(".h") for chain in doubtful.values())
        return
    for pc, chain in doubtful.items():
        (told,) = referee.find([linked[pc]])
        assert [(one.file, one.line) for one in told] == [(one.file, one.line) for one in chain]


def test_what_the_guest_rewrote_is_found_and_nothing_else(recorded: Recorded) -> None:
    """Every byte that QEMU's copy has otherwise than the file is in a marked instruction.

    But for addresses that moved, which the file lists as relocations.
    """
    section = recorded.image.section(".text")
    assert section is not None
    file = np.frombuffer(recorded.image.read(section.address, section.size), np.uint8)
    live = np.frombuffer(recorded.text, np.uint8)
    different = file != live
    assert 10_000 < different.sum() < different.size // 4
    relocations = _relocations(recorded.image)
    for width in (4, 8):
        kind = f"<u{width}"
        for at in relocations[relocations <= section.size - width].tolist():
            if not different[at : at + width].any():
                continue
            now = int(live[at : at + width].view(kind)[0])
            was = int(file[at : at + width].view(kind)[0])
            if (now - was) % (1 << 8 * width) in {
                recorded.slide % (1 << 8 * width), -recorded.slide % (1 << 8 * width),
            }:  # fmt: skip
                different[at : at + width] = False
    kinds = set()
    found = recorded.input.profile.space(0).find("do_syscall_64")
    for address in [found[0].symbol.start, *recorded.hottest]:
        for line in recorded.listing(address).lines:
            first = line.address - recorded.slide - section.address
            assert bool(different[first : first + len(line.bytes)].any()) == (
                line.patch is not None
            ), hex(line.address - recorded.slide)
            if line.patch is not None:
                kinds.add(line.patch.kind)
    # A kernel with ftrace and without KVM's clock has turned many of them.
    assert kinds >= {PatchKind.ALTERNATIVE, PatchKind.RETURN_THUNK, PatchKind.FTRACE}


def _relocations(image: Image) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Where in the text the linker filled in addresses: offsets from its start, ascending."""
    section, text = image.section(".rela.text"), image.section(".text")
    assert section is not None
    assert text is not None
    with Path(image.path).open("rb") as stream:
        stream.seek(section.offset)
        rows = np.frombuffer(stream.read(section.size), "<u8").reshape(-1, 3)
    return np.unique(rows[:, 0] - np.uint64(text.address)).astype(np.int64)


def test_do_syscall_64_as_it_runs(recorded: Recorded) -> None:
    """The return, which this vcpu needs no thunk for, was a jump to it when it was built."""
    (at,) = recorded.input.profile.space(0).find("do_syscall_64")
    lines = recorded.listing(at.symbol.start).lines
    returns = [line for line in lines if line.raw == "retq"]
    assert returns
    assert {line.was for line in returns} == {"jmp __x86_return_thunk"}
    assert {line.patch.kind for line in returns if line.patch} == {PatchKind.RETURN_THUNK}
    live = {line.address: line.bytes for line in lines}
    code = recorded.text[at.symbol.start - recorded.slide - recorded.image.text[0] :]
    again = disassemble(code[: at.symbol.end - at.symbol.start], at.symbol.start, "x86_64")
    assert {one.address: one.code for one in again} == live


def test_what_the_guest_rewrote_in_a_module(booted_linux_guest: LinuxGuest) -> None:
    """Every return went through a thunk when the module was built; nothing else is odd."""
    with booted_linux_guest.awake() as guest:
        sources = Sources.open(guest.vmlinux, None, None)
        sources = replace(sources, directories=(guest.kernel.modules,))
        attached = attach(Address.parse(guest.gdb_address), sources)
        try:
            profile = Profile(
                SampleBatch.empty(), SourceFacts("", ""), {0: attached.guest}, {0: attached.space}
            )
            loaded = next(
                one
                for one in attached.space.images
                if one.kind is ImageKind.MODULE and one.path.endswith(".ko") and one.build_id
            )
            assert loaded.table is not None
            annotator = Annotator({0: attached.code})
            listings = [
                annotator.at_address(profile, 0, (start + loaded.slide) % (1 << 64))
                for start in loaded.table.start[:60].tolist()
            ]
        finally:
            attached.close()
    lines = [line for listing in listings for line in listing.lines]
    patched = [line for line in lines if line.patch is not None]
    kinds = {line.patch.kind for line in patched if line.patch is not None}
    assert PatchKind.RETURN_THUNK in kinds
    assert PatchKind.UNKNOWN not in kinds
    assert any(line.raw == "retq" and line.was.startswith("jmp") for line in patched)
    assert len(patched) < len(lines) // 3


def test_a_recording_shows_what_ran_without_any_file(recorded: Recorded) -> None:
    address = recorded.hottest[0]
    shown = gprof("annotate", f"{address:#x}", "-i", recorded.path, "--no-arrows").stdout
    listing = recorded.listing(address)
    for line in listing.lines:
        assert f"{line.address:x}:  {line.raw.split()[0]}" in shown
    assert "shares are of whole blocks" in shown


def test_the_command_shows_source_and_sums(recorded: Recorded) -> None:
    vmlinux = ("--guestvmlinux", recorded.image.path)
    shown = gprof("annotate", "do_syscall_64", "-i", recorded.path, *vmlinux).stdout
    assert "do_syscall_64 arch/x86/entry/common.c:" in shown
    was = "jmp __x86_return_thunk"
    returning = next(
        address
        for address in recorded.hottest
        if was in {line.was for line in recorded.listing(address).lines}
    )
    place = f"{returning:#x}"
    # The code of what is hot was kept as it ran.
    assert f"# return thunk, was: {was}" in gprof(
        "annotate", place, "-i", recorded.path, *vmlinux, "--no-lines"
    ).stdout  # fmt: skip
    folded = gprof("annotate", place, "-i", recorded.path, *vmlinux, "--fold", "line").stdout
    assert re.search(r"^ +\d+\.\d\d +\d+\.\d\d +\d+ +\S+\.[chS]:\d+$", folded, re.MULTILINE)
