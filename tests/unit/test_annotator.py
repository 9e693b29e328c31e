"""Listings out of all that is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from gprof.annotator import Annotator
from gprof.profile.code import Code
from gprof.profile.profile import Profile
from gprof.profile.view import tabulate
from gprof.sampling.source import Mode, SampleBatch
from symbols.elf import Image
from symbols.errors import SymbolsError
from symbols.kernel_space import kernel_space
from symbols.lines_of_space import SpaceLines
from symbols.memory import BytesMemory, MemoryFault
from symbols.original import Original
from symbols.space import AddressSpace, ImageKind, LoadedImage
from symbols.table import Symbol, SymbolTable
from tests.profiles import synthetic
from tests.unit.symbols.elf_files import ALLOC, EXECUTE, TEXT, ElfFile, Sec, Sym

CODE = bytes.fromhex("90 e800000000 c3")


@pytest.fixture
def image(tmp_path: Path) -> Image:
    path = tmp_path / "vmlinux"
    path.write_bytes(
        ElfFile(
            [Sec(".text", CODE, TEXT, flags=ALLOC | EXECUTE)], [Sym("function", TEXT, len(CODE))]
        ).build()
    )
    return Image.open(path)


def profile_of(image: Image, *pcs: int) -> Profile:
    return replace(synthetic(1), samples=SampleBatch.of(pcs), spaces={0: kernel_space(image=image)})


def test_what_runs_is_shown_and_what_was_rewritten_is_marked(image: Image) -> None:
    live = BytesMemory([(TEXT, b"\xcc" + CODE[1:])])
    profile = profile_of(image, TEXT)
    listing = Annotator({0: Code(live, Original(image))}).at_address(profile, 0, TEXT)
    assert [line.text for line in listing.lines] == ["int3", "callq +0x6", "retq"]
    assert listing.lines[0].was == "nop"
    assert "1 instruction of the file were rewritten: these run" in listing.notes


def test_bytes_of_the_file_are_told_from_what_runs(image: Image) -> None:
    listing = Annotator({0: Code(None, Original(image))}).at_address(profile_of(image), 0, TEXT)
    assert [line.text for line in listing.lines] == ["nop", "callq +0x6", "retq"]
    assert f"these are the bytes of {image.path}: the guest's own are not at hand" in listing.notes


def test_the_row_of_a_table(image: Image) -> None:
    profile = profile_of(image, TEXT, 0x1234)
    annotator = Annotator({0: Code(None, Original(image))})
    rows = {row.symbol: row for row in tabulate(profile).rows}
    assert annotator.of_row(rows["function"], profile).totals.samples == 1
    with pytest.raises(SymbolsError, match="is no symbol"):
        annotator.of_row(rows[None], profile)


def test_what_cannot_be_listed_says_why(image: Image) -> None:
    profile = profile_of(image)
    with pytest.raises(SymbolsError, match="no symbol holds the address 0x5"):
        Annotator({}).at_address(profile, 0, 5)
    with pytest.raises(SymbolsError, match="nothing is known of the code"):
        Annotator({}).at_address(profile, 0, TEXT)
    with pytest.raises(SymbolsError, match="cannot be read"):
        Annotator({0: Code()}).at_address(profile, 0, TEXT)


def test_a_file_without_sources_says_so(image: Image) -> None:
    profile = profile_of(image)
    annotator = Annotator({0: Code(None, Original(image))}, lines=SpaceLines())
    listing = annotator.with_sources(profile, annotator.at_address(profile, 0, TEXT))
    (note,) = [note for note in listing.notes if "no source lines" in note]
    assert note.startswith(f"no source lines: {image.path} has no debugging information; ")
    annotator.close()


def test_a_file_that_is_not_here_is_not_called_damaged(image: Image) -> None:
    profile = profile_of(image)
    annotator = Annotator({0: Code(None, Original(image))}, lines=SpaceLines())
    Path(image.path).unlink()
    listing = annotator.with_sources(profile, annotator.at_address(profile, 0, TEXT))
    (note,) = [note for note in listing.notes if "no source lines" in note]
    assert note.startswith(f"no source lines: {image.path} does not exist here; ")
    annotator.close()


def test_other_kinds_of_x86_code(image: Image) -> None:
    code = {0: Code(BytesMemory([(TEXT, bytes.fromhex("90 e8000000 c3c3c3"))]))}
    listing = Annotator(code, bits=16).at_address(profile_of(image), 0, TEXT)
    assert listing.lines[1].raw.startswith("callw")


def test_what_ran_without_paging_is_no_64_bit_code() -> None:
    # decl %ecx; jne: in 64-bit code the first byte is a prefix of the second instruction.
    code = {0: Code(BytesMemory([(0x1000, bytes.fromhex("49 75fd c3"))]))}
    table = SymbolTable.of([Symbol("busy", 0x1000, 0x1004)])
    image = LoadedImage("firmware.elf", ImageKind.FIRMWARE, 0x1000, 0x2000, table, 0)
    profile = replace(
        synthetic(1),
        samples=SampleBatch.of([0x1000], mode=Mode.FIRMWARE),
        spaces={0: AddressSpace([image])},
    )
    listing = Annotator(code).at_address(profile, 0, 0x1000)
    assert [line.raw for line in listing.lines] == ["decl %ecx", "jne 0x1000", "retl"]
    assert any("not as 64-bit code" in note for note in listing.notes)
    listing = Annotator(code, bits=64).at_address(profile, 0, 0x1000)
    assert listing.lines[0].raw.startswith("jne")


def test_code_is_read_from_what_runs_first(image: Image) -> None:
    code = Code(BytesMemory([(TEXT, b"\xcc")]), Original(image))
    assert code.read(TEXT, 1) == b"\xcc"
    assert code.read(TEXT, 2) == CODE[:2]
    assert code.runs(TEXT, 1)
    assert not code.runs(TEXT, 2)
    with pytest.raises(MemoryFault):
        code.read(5, 1)
