"""Tables as text, JSON and CSV."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import replace
from io import BytesIO, StringIO

import numpy as np
import pytest

from gprof.errors import UsageError
from gprof.export.exporter import Exporter
from gprof.export.folded import Folded
from gprof.export.table import CsvTable, JsonTable, TextTable, remedy, sort_keys
from gprof.guest.vcpu_threads import VcpuTime
from gprof.profile.filter import Filter
from gprof.profile.profile import Guest, Profile
from gprof.profile.tasks import GuestTask, TaskTable
from gprof.profile.view import Group, SortKey, tabulate
from gprof.sampling.source import Mode, SampleBatch
from symbols.space import Reason
from tests.profiles import HOSTILE, hostile, synthetic


def written(exporter: Exporter, profile: Profile) -> str:
    out = BytesIO()
    exporter.write(profile, out)
    again = BytesIO()
    exporter.write(profile, again)
    assert out.getvalue() == again.getvalue()
    return out.getvalue().decode()


def harmless(text: str) -> bool:
    return all(c == "\n" or c.isprintable() for c in text)


def test_what_the_host_gave_the_vcpus_is_told() -> None:
    plain = synthetic(50)
    times = {vcpu: VcpuTime(10**9, vcpu * 10**8) for vcpu in range(10)}
    profile = replace(plain, facts=replace(plain.facts, covered_ns=10**10, vcpu_times=times))
    host = json.loads(written(JsonTable(), profile))["host"]
    assert (host["ran_percent"], host["steal_percent"]) == (pytest.approx(10), pytest.approx(4.5))
    assert host["vcpus"][3] == {"vcpu": 3, "ran_s": 1.0, "waited_s": pytest.approx(0.3)}
    text = written(TextTable(), profile)
    assert (
        "host     vcpus ran 10.0 %, waited 4.5 % for its processors (steal), slept 85.5 %" in text
    )
    assert "vcpu 9 9.0 %, vcpu 8 8.0 %" in text
    assert "vcpu 1 1.0 %, ..." not in text
    assert "vcpu 2 2.0 %, ..." in text


def test_the_json_object_is_what_was_promised() -> None:
    profile = synthetic(500, stacks=True)
    content = json.loads(written(JsonTable(), profile))
    assert list(content) == [
        *(
            "samples",
            "duration_s",
            "guests",
            "halted_percent",
            "host",
            "rate",
            "stacks",
            "unresolved",
            "rows",
        ),
    ]
    assert content["samples"] == 500
    assert content["duration_s"] == pytest.approx(profile.facts.covered_ns / 1e9)
    assert content["rate"] == {"asked": 99.0, "reached": profile.facts.reached_hz}
    assert content["guests"][0]["name"] == "web1"
    assert content["host"] is None
    assert set(content["unresolved"]) == {
        *("no_image", "no_symbols", "between_symbols", "user_space"),
    }
    for row in content["rows"]:
        assert list(row) == [
            *("symbol", "module", "mode", "self", "self_percent", "total", "total_percent"),
            *("address", "guest", "task", "pid", "tgid"),
        ]
    assert content["rows"][0]["symbol"] is None
    assert content["rows"][0]["module"] == "[user]"
    weights = [row["self"] for row in content["rows"]]
    assert weights == sorted(weights, reverse=True)
    assert sum(weights) == 500
    assert sum(row["self_percent"] for row in content["rows"]) == pytest.approx(100, abs=1e-3)
    idle = next(row for row in content["rows"] if row["symbol"] == "default_idle")
    assert int(idle["address"], 16) == profile.space(0).find("default_idle")[0].symbol.start


def test_rows_that_are_no_symbols_have_their_name() -> None:
    rows = json.loads(written(JsonTable(group=Group.VCPU), synthetic(20)))["rows"]
    assert [row["name"] for row in rows] == ["vcpu 0", "vcpu 1"]


def test_the_text_has_every_row_and_says_what_is_missing() -> None:
    profile = synthetic(500, stacks=True)
    text = TextTable().text(profile)
    rows = [line for line in text.splitlines() if not line.startswith("#")]
    assert len(rows) == len(tabulate(profile).rows)
    assert rows[0].split()[-3:] == ["[user]", "[user]", "user"]
    assert "# guest    web1 (x86_64, 2 vcpus, 6.1.0-56-cloud-amd64)" in text
    assert f"guest halted {profile.facts.halted_percent:.2f} % of the time" in text
    for reason in (Reason.NO_IMAGE, Reason.NO_SYMBOLS, Reason.USER_SPACE):
        assert f"{reason.sentence}; {remedy(reason)}" in text
    limited = TextTable(limit=3).text(profile)
    assert f"# {len(rows) - 3} more rows are not shown" in limited


def test_every_reason_has_a_remedy_that_names_the_guest() -> None:
    for reason in set(Reason) - {Reason.RESOLVED}:
        assert "{" not in remedy(reason)
        assert "{" not in remedy(reason, Guest(0, "web1", pid=7))
    kernel = Reason.NO_KERNEL_SYMBOLS
    assert "--guestkallsyms FILE" in remedy(kernel, Guest(0, "web1"))
    assert "--guestkallsyms 7=FILE" in remedy(kernel, Guest(0, "web1", pid=7))
    assert "perf report" in remedy(kernel, Guest(0, "host", pid=-1))


def test_what_is_missing_is_told_guest_by_guest() -> None:
    kernel, user = 0xFFFF_FFFF_8100_0000, 0x40_0000
    modes = [Mode.KERNEL, Mode.USER] * 2
    samples = SampleBatch.of([kernel, user] * 2, guest=[0, 0, 1, 1], mode=modes)
    named = {0: Guest(0, "web\x1b", pid=7), 1: Guest(1, "db", pid=8)}
    text = TextTable().text(Profile(samples, synthetic(1).facts, named, {}))
    assert "web\\x1b: no symbols of the kernel were given; give --guestvmlinux 7=FILE" in text
    assert "db: no symbols of the kernel were given; give --guestvmlinux 8=FILE" in text
    assert text.count("guest user space") == 1


@pytest.mark.parametrize("width", [60, 80, 200])
@pytest.mark.parametrize("group", list(Group))
def test_rows_fit_into_the_terminal(width: int, group: Group) -> None:
    from rich.cells import cell_len

    for profile in (synthetic(300, stacks=True), hostile()):
        for line in TextTable(group=group, width=width).text(profile).splitlines():
            if not line.startswith("#"):
                assert cell_len(line) <= width, line
    whole = TextTable(group=Group.SYMBOL).text(synthetic(300))
    assert "native_queued_spin_lock_slowpath" in whole


def test_an_empty_profile_has_no_rows() -> None:
    profile = synthetic(0)
    assert "# no samples\n" in TextTable().text(profile)
    nobody = TextTable(chosen=Filter(tasks=("nobody",))).text(synthetic(100))
    assert "# no samples; --group comm tells the tasks that there are\n" in nobody
    assert json.loads(written(JsonTable(), profile))["rows"] == []
    assert written(CsvTable(), profile).count("\n") == 1
    assert written(Folded(), profile) == ""


def test_sort_keys_are_words_and_order_rows() -> None:
    assert sort_keys("Total, symbol") == (SortKey.TOTAL, SortKey.SYMBOL)
    for word in ("", "self,colour", "\x1b"):
        with pytest.raises(UsageError) as caught:
            sort_keys(word)
        assert "self, total, symbol" in caught.value.remedy
        assert harmless(caught.value.problem)
    rows = JsonTable(sort=sort_keys("module,self")).table(synthetic(300)).rows
    assert [r.module for r in rows] == sorted(r.module for r in rows)
    kernel = [r.self_weight for r in rows if r.module == "[kernel]"]
    assert kernel == sorted(kernel, reverse=True)


def test_csv_reads_back() -> None:
    profile = synthetic(300)
    rows = list(csv.DictReader(StringIO(written(CsvTable(), profile))))
    assert sum(int(row["self"]) for row in rows) == 300
    assert rows[0]["symbol"] == "[user]"
    assert {row["guest"] for row in rows} == {"0"}


def test_tasks_are_told_where_they_are_known() -> None:
    tasks = TaskTable()
    tasks.add(GuestTask(0, 79, 77, "sh"))
    tasks.add(GuestTask(0, 9, 9, "kworker/0:1", kernel_thread=True))
    profile = synthetic(300)
    samples = replace(profile.samples, task=profile.samples.vcpu + np.uint32(1))
    profile = replace(profile, samples=samples, tasks=tasks)
    rows = json.loads(written(JsonTable(group=Group.TASK, sort=sort_keys("task")), profile))["rows"]
    assert {(row["name"], row["task"], row["pid"], row["tgid"]) for row in rows} == {
        ("sh 79", "sh", 79, 77),
        ("[kworker/0:1] 9", "[kworker/0:1]", 9, 9),
    }
    assert len(rows) == 4  # each of them idle, and not
    by_symbol = json.loads(written(JsonTable(), profile))["rows"]
    assert {(row["task"], row["pid"]) for row in by_symbol} >= {(None, None)}
    lines = list(csv.DictReader(StringIO(written(CsvTable(group=Group.COMM), profile))))
    assert {(line["symbol"], line["task"], line["pid"]) for line in lines} == {
        ("sh", "sh", "79"),
        ("[kworker/0:1]", "[kworker/0:1]", "9"),
    }
    text = TextTable(group=Group.PROCESS).text(profile)
    assert re.search(r"^ +[\d.]+ +[\d.]+ +\d+  sh 77 +several$", text, re.MULTILINE)
    assert re.search(r"^ +[\d.]+ +[\d.]+ +\d+  sh 77 +idle$", text, re.MULTILINE)
    assert "Task" in TextTable().text(profile)
    assert "Task" not in TextTable().text(synthetic(300))


def test_hostile_names_stay_text() -> None:
    profile = hostile()
    table = tabulate(profile)
    assert len(table.rows) == len(HOSTILE)
    for exporter in (TextTable(), TextTable(width=80), JsonTable(), CsvTable(), Folded()):
        assert harmless(written(exporter, profile)), exporter
    assert TextTable(ascii_only=True).text(profile).isascii()
    assert len(list(csv.reader(StringIO(written(CsvTable(), profile))))) == len(HOSTILE) + 1
    cells = [cell for row in csv.reader(StringIO(written(CsvTable(), profile))) for cell in row]
    assert not any(cell.startswith(("=", "+", "-", "@")) for cell in cells)


def test_folded_lines_are_frames_and_a_count() -> None:
    for profile in (synthetic(300), synthetic(300, stacks=True), hostile()):
        lines = written(Folded(), profile).splitlines()
        counts = []
        for line in lines:
            frames, _, count = line.rpartition(" ")
            assert all(frames.split(";"))
            counts.append(int(count))
        assert sum(counts) == tabulate(profile).weight
        assert len(set(lines)) == len(lines)


def test_weights_other_than_one_are_called_so() -> None:
    profile = synthetic(10)
    weighty = replace(profile, samples=SampleBatch.of(profile.samples.pc.tolist(), weight=1000))
    assert "Weight" in TextTable().text(weighty)
    assert json.loads(written(JsonTable(), weighty))["samples"] == 10
    assert tabulate(weighty).weight == 10_000
