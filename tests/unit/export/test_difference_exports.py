"""Comparisons as text, JSON and picture."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from io import BytesIO

import pytest

from gprof.export.difference_graph import DifferenceGraph, fill_of
from gprof.export.difference_table import DifferenceJson, DifferenceText
from gprof.profile.difference import Scale, difference, difference_tree
from gprof.profile.profile import Profile
from tests.profiles import hostile, synthetic
from tests.unit.profile.test_difference import samples_of

SVG = "{http://www.w3.org/2000/svg}"
BEFORE, AFTER = samples_of(500, 500, 100, 0), samples_of(500, 100, 100, 400)


def text(before: Profile, after: Profile, **options: bool | int) -> str:
    found = difference(before, after)
    return DifferenceText(**options).text(found, before, after)  # type: ignore[arg-type]


def drawn(before: Profile, after: Profile) -> bytes:
    out = BytesIO()
    DifferenceGraph().write(difference_tree(before, after), before, after, out)
    return out.getvalue()


def test_the_text_shows_what_is_sure_and_counts_the_rest() -> None:
    lines = text(BEFORE, AFTER).splitlines()
    rows = [line.split() for line in lines if not line.startswith("#")]
    assert [(row[0], row[1], row[2], *row[5:]) for row in rows] == [
        ("0.00", "36.36", "+36.36", "new", "do_syscall_64", "[kernel]"),
        ("45.45", "9.09", "-36.36", "secondary_startup_64_no_verify", "[kernel]"),
    ]
    assert lines[-1].startswith("# 2 functions changed by no more than the noise of sampling")
    assert lines[0].startswith("# before  web1 (x86_64, 2 vcpus, 6.1.0-56-cloud-amd64); 1,100 sam")


def test_noise_is_marked_where_it_is_shown() -> None:
    lines = text(BEFORE, AFTER, all_rows=True).splitlines()
    assert sum(" ~ " in line for line in lines if not line.startswith("#")) == 2
    assert "# 2 more rows are not shown" in text(BEFORE, AFTER, all_rows=True, limit=2)


def test_totals_are_another_order() -> None:
    first, second = synthetic(2000, stacks=True), synthetic(2000, stacks=True, seed=3)
    own, total = text(first, second, all_rows=True), text(first, second, all_rows=True,
                                                          by_total=True)  # fmt: skip
    assert own != total
    assert "with the function on the stack" in total


def test_json_has_every_row() -> None:
    out = BytesIO()
    found = difference(BEFORE, AFTER)
    DifferenceJson().write(found, out)
    content = json.loads(out.getvalue())
    assert (content["before"], content["after"]) == ({"weight": 1100}, {"weight": 1100})
    assert len(content["rows"]) == len(found.rows)
    new = next(row for row in content["rows"] if row["symbol"] == "do_syscall_64")
    assert new["self"]["verdict"] == "new"
    assert new["self"]["low"] < new["self"]["change"] == pytest.approx(400 / 1100, abs=1e-9)


def test_the_picture_shows_both_and_says_what_colours_mean() -> None:
    svg = drawn(synthetic(1000, stacks=True), synthetic(1000, stacks=True, seed=1))
    assert svg == drawn(synthetic(1000, stacks=True), synthetic(1000, stacks=True, seed=1))
    root = ET.fromstring(svg)
    legend = next(g for g in root.iter(f"{SVG}g") if g.get("id") == "legend")
    assert [t.text for t in legend.iter(f"{SVG}text")] == [
        *("more", "less", "new", "vanished", "within the noise of sampling"),
    ]
    names = {g.get("data-name") for g in root.iter(f"{SVG}g") if g.get("class") == "frame"}
    assert "default_idle" in names


def test_new_and_vanished_stacks_are_in_the_picture() -> None:
    svg = ET.fromstring(drawn(BEFORE, samples_of(500, 0, 100, 400)))
    titles = [g.findtext(f"{SVG}title") or "" for g in svg.iter(f"{SVG}g")]
    assert [t for t in titles if t.startswith("do_syscall_64") and t.endswith(", new")]
    assert [t for t in titles if t.startswith("secondary") and t.endswith(", vanished")]


def test_colours_follow_the_change() -> None:
    scale = Scale(1000, 1000, 1000, 1000)
    pairs = ((100, 110), (100, 300), (100, 900), (900, 100), (0, 100), (100, 0))
    fills = [fill_of(scale.change(*pair)) for pair in pairs]
    assert len(set(fills)) == len(fills)
    red = [int(fill[1:3], 16) - int(fill[5:7], 16) for fill in fills]
    assert red[1] > 0
    assert red[2] > red[1]
    assert red[3] < 0


def test_hostile_names_stay_text() -> None:
    for found in (text(hostile(), synthetic(100)), text(hostile(), hostile(), all_rows=True)):
        assert all(c == "\n" or c.isprintable() for c in found)
    root = ET.fromstring(drawn(hostile(), synthetic(100)))
    assert len(list(root.iter(f"{SVG}script"))) == 1
    assert not [e for e in root.iter() if e.tag.endswith(("img", "image", "a", "iframe"))]
