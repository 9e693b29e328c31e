"""The bundled guest: what its documents say is what its file holds."""

from __future__ import annotations

import json
import struct
import tomllib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import NoteSection, Symbol, SymbolTableSection

from gprof.errors import GprofError
from gprof.export.folded import Folded
from gprof.given_symbols import GivenSymbols
from gprof.guest.demo import DemoGuest, demo_file
from gprof.inputs import load
from gprof.profile.filter import Filter
from gprof.profile.view import tabulate
from gprof.sampling.source import Mode

REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def image() -> Iterator[ELFFile]:
    with ELFFile.load_from_path(str(demo_file("demo.elf"))) as loaded:
        yield loaded


@pytest.fixture(scope="module")
def shares() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(demo_file("shares.json").read_text())
    return loaded


def symbol(image: ELFFile, name: str) -> Symbol:
    table = image.get_section_by_name(".symtab")
    assert isinstance(table, SymbolTableSection)
    found = table.get_symbol_by_name(name)
    assert found is not None, f"no symbol {name}"
    assert len(found) == 1
    return found[0]


def contents(image: ELFFile, name: str) -> bytes:
    """The initialised bytes of a variable."""
    found = symbol(image, name)
    section = image.get_section(found["st_shndx"])
    start = found["st_value"] - section["sh_addr"]
    data: bytes = section.data()[start : start + found["st_size"]]
    return data


def test_shares_are_those_in_the_image(image: ELFFile, shares: dict[str, Any]) -> None:
    # In the order of enum task in workload.c.
    parts = dict(
        zip(
            ["flush_journal", "handle_fault", "read_inode", "reclaim_memory", "lookup_path"],
            contents(image, "work_shares"),
            strict=True,
        )
    )
    assert parts == shares["callers_percent"]
    work: dict[str, int] = {}
    for caller, percent in parts.items():
        callee = shares["calls"][caller]
        work[callee] = work.get(callee, 0) + percent
    assert work == shares["work_percent"]
    assert sum(work.values()) == 100

    cycle_ms = 3
    first, other = (cycles * cycle_ms for cycles in contents(image, "work_cycles"))
    assert 100 - 100 * first / shares["round_ms"] == shares["idle_percent"]["first_vcpu"]
    assert 100 - 100 * other / shares["round_ms"] == shares["idle_percent"]["other_vcpus"]


def test_callers_call_what_they_are_said_to(image: ELFFile, shares: dict[str, Any]) -> None:
    text = image.get_section_by_name(".text")
    assert text is not None
    for caller, callee in shares["calls"].items():
        found = symbol(image, caller)
        start = found["st_value"] - text["sh_addr"]
        code = text.data()[start : start + found["st_size"]]
        call = code.index(b"\xe8")  # the only call, after push %rbp; mov %rsp,%rbp
        (distance,) = struct.unpack_from("<i", code, call + 1)
        target = found["st_value"] + call + 5 + distance
        assert target == symbol(image, callee)["st_value"]


def test_image_is_what_the_emulator_and_the_profiler_need(
    image: ELFFile, shares: dict[str, Any]
) -> None:
    assert image.elfclass == 64
    assert image.has_dwarf_info()
    names = {*shares["work_percent"], *shares["calls"], shares["idle_function"]}
    for name in names:
        found = symbol(image, name)
        assert found["st_size"] > 0
        assert found["st_value"] >> 63 == 1
    notes = image.get_section_by_name(".notes")
    assert isinstance(notes, NoteSection)
    kinds = {f"{note['n_name']} {note['n_type']}" for note in notes.iter_notes()}
    assert kinds == {"GNU NT_GNU_BUILD_ID", "Xen 18"}  # 18: the PVH entry


def test_the_recording_shows_who_calls_whom(shares: dict[str, Any]) -> None:
    profile = load(demo_file("demo.gprof"), GivenSymbols.of()).profile
    awake = Filter(modes=frozenset(Mode) - {Mode.IDLE})
    table = tabulate(profile, awake)
    total = {row.symbol: table.percent(row.total_weight) for row in table.rows}
    own = {row.symbol: table.percent(row.self_weight) for row in table.rows}
    for caller, share in shares["callers_percent"].items():
        assert total[caller] == pytest.approx(share, abs=5)
        assert own[caller] < 1
    chain = "start_kernel;run_rounds;do_work;flush_journal;checksum_blocks "
    folded = BytesIO()
    Folded(chosen=awake).write(profile, folded)
    assert any(chain in line for line in folded.getvalue().decode().splitlines())


def test_bundle_is_packed_into_the_wheel() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel["force-include"]["fixtures/demo"] == "gprof/bundled"
    strangers = [
        path.name for path in demo_file("demo.elf").parent.iterdir() if path.suffix in {".o", ".a"}
    ]
    assert not strangers


def test_missing_file_is_named_with_a_remedy() -> None:
    with pytest.raises(GprofError, match=r"nothing\.elf is missing") as caught:
        demo_file("nothing.elf")
    assert "pip install" in caught.value.remedy


@pytest.mark.parametrize("vcpus", [0, 9])
def test_vcpus_are_bounded(vcpus: int) -> None:
    with pytest.raises(ValueError, match="1 to 8"):
        DemoGuest(vcpus=vcpus)
