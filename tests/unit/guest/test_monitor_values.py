"""Values are found by whole names, wherever they stand in the monitor's text."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from gprof.guest.monitor_registers import blocks
from gprof.guest.monitor_registers.values import hexadecimal, value, word


def test_a_name_is_no_end_of_another_one() -> None:
    assert value(hexadecimal("PC"), "XPC=1 _PC=2 x/PC=3 PC = 4f") == 0x4F
    assert value(hexadecimal("[RE]IP"), "GRIP=1 RRIP=2\nEIP=3") == 3
    assert value(hexadecimal("CR0"), "DCR0=1") is None
    assert word("HLT=1", r"(?!\w)").search("XHLT=1 HLT=10") is None


def test_a_heading_begins_its_line() -> None:
    text = "\nCPU#0\nRIP=1\n CPU#7\nsee CPU#8\nCPU#1\r\nRIP=2 CPU#0\n"
    assert {index: block.strip() for index, block in blocks(text).items()} == {
        0: "RIP=1\n CPU#7\nsee CPU#8",
        1: "RIP=2 CPU#0",
    }


@given(st.text(alphabet="PC=1f /_\nx"))
def test_the_pattern_finds_what_one_that_looks_ahead_of_the_name_finds(text: str) -> None:
    plain = re.compile(r"(?<![\w/])PC\s*=\s*([0-9a-fA-F]{1,16})(?![0-9a-zA-Z])").search(text)
    assert value(hexadecimal("PC"), text) == (int(plain[1], 16) if plain else None)
