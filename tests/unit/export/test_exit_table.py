"""Exit statistics as text, JSON and CSV."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

from gprof.export.exit_table import exit_csv, exit_json, exit_notes, exit_text
from gprof.profile.exit_summary import ExitRow, ExitTable

ROW = ExitRow(0, 1, "hlt", "default_idle", 3, 75.0, 900, 90.0, 100, 500, 300.0, 12.5, 300, 500)
OTHER = replace(ROW, guest=1, vcpu=None, reason="=1+1", symbol=None, count=1)
TABLE = ExitTable((ROW, OTHER), 4, 1000, 2, 5, "host")
GUESTS = {0: "web\x1b", 1: "db"}


def test_the_json_object_is_what_was_promised() -> None:
    text = exit_json(TABLE, GUESTS)
    assert text.endswith("}\n")
    assert text.count("\n") == 1
    content = json.loads(text)
    assert content["rows"][0] == {
        "guest": "web\x1b",
        "vcpu": 1,
        "reason": "hlt",
        "symbol": "default_idle",
        "count": 3,
        "share_percent": 75.0,
        "total_ns": 900,
        "time_percent": 90.0,
        "min_ns": 100,
        "max_ns": 500,
        "mean_ns": 300.0,
        "deviation_percent": 12.5,
        "p50_ns": 300,
        "p99_ns": 500,
    }
    assert [list(content), content["events"], content["unpaired"], content["lost"]] == [
        ["events", "unpaired", "lost", "rows"], 4, 2, 5,
    ]  # fmt: skip
    assert (content["rows"][1]["vcpu"], content["rows"][1]["symbol"]) == (None, None)


def test_a_row_of_all_guests_has_the_name_of_the_only_one() -> None:
    one = replace(TABLE, rows=(replace(ROW, guest=None),))
    assert json.loads(exit_json(one, {0: "web"}))["rows"][0]["guest"] == "web"
    assert json.loads(exit_json(one, GUESTS))["rows"][0]["guest"] == ""


def test_csv_has_a_heading_and_empty_fields() -> None:
    rows = list(csv.DictReader(exit_csv(TABLE, GUESTS).splitlines()))
    assert (rows[0]["guest"], rows[0]["vcpu"], rows[0]["p99_ns"]) == ("web\\x1b", "1", "500")
    assert (rows[1]["vcpu"], rows[1]["symbol"]) == ("", "")
    assert rows[1]["reason"] == "'=1+1"  # no spreadsheet computes it


def test_text_shows_the_columns_that_say_something() -> None:
    lines = list(exit_text(TABLE, GUESTS))
    assert lines[0] == "# 4 exits, 0.001 ms of time outside the guest; 2 unpaired, 5 lost"
    assert lines[2].split()[1:8] == [
        *("Guest", "Vcpu", "Reason", "Symbol", "Count", "Share%", "Time%"),
    ]
    assert lines[3].split()[:4] == ["web\\x1b", "1", "hlt", "default_idle"]
    assert lines[4].split()[:4] == ["db", "?", "=1+1", "[unknown]"]
    assert len({len(line) for line in lines[3:]}) == 1
    plain = [replace(row, guest=None, vcpu=None, symbol=None) for row in TABLE.rows]
    lines = list(exit_text(replace(TABLE, rows=tuple(plain)), GUESTS, limit=1))
    assert lines[2].split()[1:3] == ["Reason", "Count"]
    assert lines[-1] == "# 1 more rows are not shown"
    assert list(exit_text(replace(TABLE, rows=()), GUESTS))[-1] == "# no exits"


def test_notes_tell_whose_time_it_is_and_are_harmless() -> None:
    assert exit_notes(TABLE) == []
    arm = replace(TABLE, measures="guest", notes=("\x1b[2J",))
    assert exit_notes(arm)[0].startswith("this architecture tells how long the guest ran")
    assert exit_notes(arm)[1] == "\\x1b[2J"
    text = "\n".join(exit_text(arm, GUESTS))
    assert "time in the guest" in text
    assert "\x1b" not in text
