"""The tables of names inside a tracepoint's print format: `__print_symbolic(value, {n, "name"}…)`.

Source: ftrace_print_symbols_seq and __print_symbolic in
include/trace/stages/stage3_trace_output.h, Linux 6.12.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_CALL = re.compile(r"__print_symbolic\(")
_PAIR = re.compile(r'\{\s*([^{},"]{1,200}?)\s*,\s*"((?:[^"\\]|\\.){0,200})"\s*\}')
_TERM = re.compile(r"\s*(-?)\s*(0[xX][0-9a-fA-F]{1,16}|\d{1,20})[uUlL]{0,3}\s*")
#: A print format is text of a few kilobytes; more is cut.
_LONGEST = 1 << 18


@dataclass(frozen=True, slots=True)
class SymbolicTable:
    """One table.

    Attributes:
        expression: what is looked up, such as `REC->exit_reason & 0xffff`.
        names: by value; negative ones as written.
    """

    expression: str
    names: Mapping[int, str]


def symbolic_tables(print_format: str) -> list[SymbolicTable]:
    """Every table of a print format, in order.

    An entry whose value is no sum of numbers (the name of an enumerator that the kernel did not
    replace) is left out.
    """
    text = print_format[:_LONGEST]
    found = []
    for call in _CALL.finditer(text):
        brace = text.find("{", call.end())
        if brace < 0:
            break
        expression = text[call.end() : brace].rstrip().rstrip(",").strip()
        names: dict[int, str] = {}
        at = brace
        while pair := _PAIR.match(text, at):
            value = _value(pair[1])
            if value is not None:
                names.setdefault(value, pair[2])
            at = pair.end()
            separator = re.compile(r"\s*,\s*").match(text, at)
            if separator is None:
                break
            at = separator.end()
        found.append(SymbolicTable(expression, names))
    return found


def _value(text: str) -> int | None:
    """A sum of numbers such as `0x040 + 6`; None for anything else."""
    total, at = 0, 0
    text = text.replace("(", " ").replace(")", " ")
    while term := _TERM.match(text, at):
        number = int(term[2], 16 if term[2][:2] in {"0x", "0X"} else 10)
        total += -number if term[1] else number
        at = term.end()
        if at == len(text):
            return total
        if text[at] != "+":
            return None
        at += 1
    return None
