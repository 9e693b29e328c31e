"""What stands above a table."""

from __future__ import annotations

import pytest

from gprof.export.heading import describe
from gprof.profile.profile import Guest


@pytest.mark.parametrize(
    ("guest", "text"),
    [
        (Guest(0, "web", "x86_64", (0, 1), "6.1.0"), "web (x86_64, 2 vcpus, 6.1.0)"),
        (Guest(0, "web", "aarch64", (0,)), "web (aarch64, 1 vcpu)"),
        (Guest(0, "web\n", "", ()), r"web\x0a"),
    ],
)
def test_a_guest_in_one_line(guest: Guest, text: str) -> None:
    assert describe(guest) == text
