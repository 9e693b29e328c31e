"""Notes that repeat themselves."""

from __future__ import annotations

from gprof.export.notes import told


def test_of_notes_that_differ_in_numbers_the_last_one_is_told() -> None:
    lowered = "The rate is lowered from 99 to {} Hz: a stop costs this guest {} µs."
    notes = [lowered.format(87, 574), "Something else.", lowered.format(24, 2085.5)]
    assert told(notes) == [
        "Something else.",
        lowered.format(24, 2085.5) + " That is the last of 2 such notes.",
    ]


def test_what_is_said_once_stays_as_it_is() -> None:
    assert told([]) == []
    assert told(["No ext3.", "No ext4."]) == ["No ext3.", "No ext4."]
    assert told(["1 of 2", "a\x1b[31m", "1 in 2"]) == ["1 of 2", r"a\x1b[31m", "1 in 2"]


def test_very_many_notes() -> None:
    (note,) = told(f"{n} Hz." for n in range(50_000))
    assert note == "49999 Hz. That is the last of 50000 such notes."
