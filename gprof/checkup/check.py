"""One thing that was looked at, and how it is."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from symbols.errors import GprofError


class Verdict(StrEnum):
    """How a check ended."""

    FINE = "ok"
    NOTICE = "note"
    MISSING = "missing"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: what.
        verdict: how it is.
        seen: what was seen.
        remedy: what to do; empty where nothing is to be done.
        exit_code: what a command would end with because of it.
    """

    name: str
    verdict: Verdict
    seen: str
    remedy: str = ""
    exit_code: int = 0


def failed(name: str, error: GprofError) -> Check:
    """What an error says of the thing that was looked at."""
    return Check(name, Verdict.FAILED, error.problem, error.remedy, error.exit_code)
