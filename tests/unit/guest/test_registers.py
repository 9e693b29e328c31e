"""Target descriptions: QEMU's own quirks, and documents of ill will."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gprof.errors import ProtocolError
from gprof.guest.registers import read_description
from tests.stub_model import CORE, TARGET

DOCUMENTS = {"target.xml": TARGET, "core.xml": CORE}


def test_registers_in_comments_do_not_count() -> None:
    found = read_description(DOCUMENTS.get)
    assert found.architecture == "i386:x86-64"
    assert list(found.by_name) == ["rax", "rip", "cs", "cr0", "rsp", "rbp", "gs_base", "k_gs_base"]
    assert (found.by_name["cs"].number, found.by_name["cs"].offset) == (2, 16)
    assert (found.by_name["cr0"].number, found.by_name["cr0"].offset) == (24, 20)


def test_a_value_is_read_at_its_offset_in_its_byte_order() -> None:
    found = read_description(DOCUMENTS.get)
    reply = (bytes(8) + bytes(range(8))).hex().encode()
    assert found.value("rip", reply) == 0x0706050403020100
    assert found.value("cs", reply) is None  # the reply ends before it
    assert found.value("rip", b"x" * 32) is None  # known, but not its value
    assert found.value("none", reply) is None


@pytest.mark.parametrize(
    "document",
    [
        b"<target>",
        b"<target></target>",
        b"<target><reg name='a' bitsize='x'/></target>",
        b"<target><reg name='a' bitsize='-8'/></target>",
        b"<target><xi:include href='target.xml'/></target>",
        b"<target><xi:include href='missing.xml'/></target>",
    ],
    ids=["cut", "empty", "no number", "negative", "includes itself", "includes nothing"],
)
def test_descriptions_that_describe_nothing_are_refused(document: bytes) -> None:
    with pytest.raises(ProtocolError):
        read_description({"target.xml": document}.get)


@given(st.binary(max_size=200))
def test_any_document_is_read_or_refused(document: bytes) -> None:
    with pytest.raises(ProtocolError):
        read_description({"target.xml": b"<target>" + document}.get)


@pytest.mark.parametrize("order", ["little", "big"])
def test_registers_of_ppc64_are_in_the_order_that_one_of_them_tells(order: str) -> None:
    described = (
        b"<target><architecture>powerpc:common64</architecture><feature name='x'>"
        b"<reg name='pc' bitsize='64'/><reg name='msr' bitsize='64'/></feature></target>"
    )
    registers = read_description(lambda name: described if name == "target.xml" else None)
    little = order == "little"
    status = 0x8000_0000_0000_0032 | little  # MSR.LE is its lowest bit
    reply = b"".join(
        value.to_bytes(8, "little" if little else "big").hex().encode()
        for value in (0xC000_0000_0000_3000, status)
    )
    assert registers.value("pc", reply) == 0xC000_0000_0000_3000
    assert registers.value("msr", reply) == status
