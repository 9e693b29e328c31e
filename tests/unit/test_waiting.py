"""Waits of tests end, and say why."""

from __future__ import annotations

import pytest

from tests.command_line import end, started
from tests.waiting import wait_until


def test_a_wait_ends_with_the_process_that_it_needs() -> None:
    with (
        started("nonsense"),
        pytest.raises(
            AssertionError, match=r"(?s)samples: not any more.*No such command 'nonsense'"
        ),
    ):
        wait_until(lambda: False, "samples")


def test_a_process_that_was_to_end_ends_no_wait() -> None:
    with started("nonsense") as process:
        assert end(process)[0] == 2
        wait_until(iter((False, True)).__next__, "the second look")


def test_a_wait_that_is_too_long_tells_what_there_is() -> None:
    with pytest.raises(AssertionError, match=r"samples: not within 0 s\. There are 3"):
        wait_until(lambda: False, "samples", seen=lambda: "There are 3", patience=0)
