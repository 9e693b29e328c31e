"""Formats of tracepoints and the tables of names in them."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gprof.perfdata.cursor import Order
from gprof.perfdata.errors import PerfDataError
from gprof.perfdata.symbolic import symbolic_tables
from gprof.perfdata.tracepoints import parse_format, parse_tracing_data
from tests.perf_writer import TracingWriter


@pytest.mark.parametrize("order", ["<", ">"])
def test_fields_and_tables_come_from_the_file(order: Order) -> None:
    tracing = parse_tracing_data(TracingWriter().data(order))
    assert (tracing.version, tracing.word_size, tracing.page_size) == ("0.6", 8, 4096)
    found = tracing.find("kvm:kvm_exit")
    assert found is not None
    assert (found.id, found.fields["guest_rip"].offset, found.fields["isa"].size) == (1002, 16, 4)
    intel, amd = found.tables()
    assert intel.expression == "REC->exit_reason & 0xffff"
    assert intel.names == {0: "EXCEPTION_NMI", 12: "HLT"}
    assert amd.names == {0x4E: "PF excp", 0x78: "hlt", 0x400: "npf"}
    assert tracing.find("kvm:kvm_fpu") is None


def test_values_of_tables_are_sums_of_numbers_and_nothing_else() -> None:
    (table,) = symbolic_tables(
        '"%s", __print_symbolic(REC->x, { 1UL, "a" }, {-1,"b"}, { (0x10 + 2), "c{" },'
        ' { SOME_NAME, "d" }, { 3 * 4, "e" }, { 5, "f\\"g" })'
    )
    assert table.names == {1: "a", -1: "b", 0x12: "c{", 5: 'f\\"g'}


def test_an_array_field_keeps_its_name() -> None:
    found = parse_format("s", "name: n\nID: 3\n\tfield:char comm[16];\toffset:8;\tsize:16;\n")
    assert found is not None
    assert found.fields["comm"].size == 16
    assert parse_format("s", "name: n\n") is None


@given(st.binary(max_size=300))
def test_any_bytes_raise_nothing_else(data: bytes) -> None:
    for whole in (data, b"\x17\x08\x44tracing" + data, TracingWriter().data()[: len(data)]):
        with contextlib.suppress(PerfDataError):
            parse_tracing_data(whole)


@given(st.text(alphabet='_printsymbolc({}",0x1+- )', max_size=200))
def test_any_print_format_gives_tables_or_none(text: str) -> None:
    for table in symbolic_tables("__print_symbolic(x," + text):
        assert all(isinstance(value, int) for value in table.names)
