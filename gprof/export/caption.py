"""What stands above a picture of a profile."""

from __future__ import annotations

from gprof.export.heading import describe
from gprof.profile.profile import Profile
from symbols.names import printable


def title_of(profile: Profile, given: str = "") -> str:
    """The title that was given, or else the guests."""
    guests = [describe(guest) for _, guest in sorted(profile.guests.items())]
    return printable(given) or f"gprof: {', '.join(guests) or 'unknown guest'}"


def subtitle_of(profile: Profile, weight: int) -> str:
    """How much was sampled and what it cost.

    Args:
        profile: what was sampled.
        weight: of the samples that are shown.
    """
    facts = profile.facts
    parts = [
        f"{weight:,} samples",
        f"{facts.covered_ns / 1e9:.1f} s",
        f"{facts.reached_hz:.0f} Hz" if facts.reached_hz else "",
        f"guest halted {facts.halted_percent:.2f} %",
        printable(f"{facts.way} {facts.target}").strip(),
    ]
    return " · ".join(part for part in parts if part)
