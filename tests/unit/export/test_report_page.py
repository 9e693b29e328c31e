"""The report page before a browser sees it: whole, closed, small, and true to its profile."""

from __future__ import annotations

import json
import re
from base64 import b64decode, b64encode
from dataclasses import replace
from hashlib import sha256
from html.parser import HTMLParser
from io import BytesIO
from typing import Any

import numpy as np
import pytest

from gprof.export.page_data import SLICES
from gprof.export.report_page import ReportPage
from gprof.profile.profile import Guest, Profile
from gprof.profile.tasks import GuestTask, TaskTable
from gprof.profile.tree import call_tree
from gprof.profile.view import tabulate
from gprof.sampling.source import SampleBatch
from tests.profiles import KERNEL, hostile, synthetic

PROFILES = {
    "stacks": synthetic(1000, stacks=True),
    "flat": synthetic(1000),
    "hostile": hostile(),
    "empty": synthetic(0),
    "one": synthetic(1),
}
every_profile = pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)


def drawn(profile: Profile, **options: bool) -> str:
    out = BytesIO()
    ReportPage(**options).write(profile, out)  # type: ignore[arg-type]
    return out.getvalue().decode()


class Elements(HTMLParser):
    """Every element with its attributes, and the text of styles and scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.raw: dict[str, list[str]] = {"style": [], "script": []}
        self._in = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        self._in = tag
        if tag in self.raw:
            self.raw[tag].append("")

    def handle_endtag(self, tag: str) -> None:
        self._in = ""

    def handle_data(self, data: str) -> None:
        if self._in in self.raw:
            self.raw[self._in][-1] += data


def data_of(text: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Elements(text).raw["script"][0])
    return found


def column(given: dict[str, Any]) -> np.ndarray[Any, Any]:
    kind = {1: "<u1", 2: "<u2", 4: "<u4", 8: "<f8"}[given["size"]]
    return np.frombuffer(b64decode(given["base64"]), kind).astype(np.int64)


@every_profile
def test_its_weights_are_those_of_the_table(profile: Profile) -> None:
    data = data_of(drawn(profile))
    node, weight = column(data["rows"]["node"]), column(data["rows"]["weight"])
    parent, frame = column(data["nodes"]["parent"]), column(data["nodes"]["frame"])
    assert (parent[1:] < np.arange(1, len(parent))).all()
    table = tabulate(profile)
    assert data["total"] == weight.sum() == column(data["heat"]["weight"]).sum() == table.weight
    ours: dict[str, int] = {}
    for row in table.rows:
        name = row.label or "[nameless]"
        ours[name] = ours.get(name, 0) + row.self_weight
    theirs: dict[str, int] = {}
    for number, value in zip(node.tolist(), weight.tolist(), strict=True):
        name = data["frames"]["name"][frame[number]]
        theirs[name] = theirs.get(name, 0) + value
    assert theirs == {name: value for name, value in ours.items() if value}


def test_its_tree_is_the_call_tree() -> None:
    profile = PROFILES["stacks"]
    data = data_of(drawn(profile))
    parent, frame = column(data["nodes"]["parent"]), column(data["nodes"]["frame"])
    total = np.zeros(len(parent), np.int64)
    np.add.at(total, column(data["rows"]["node"]), column(data["rows"]["weight"]))
    for number in range(len(parent) - 1, 0, -1):
        total[parent[number]] += total[number]
    paths: dict[int, tuple[str, ...]] = {0: ()}
    for number in range(1, len(parent)):
        name = data["frames"]["name"][frame[number]]
        paths[number] = (*paths[int(parent[number])], name)
    theirs = {path: int(total[number]) for number, path in paths.items()}
    ours = {
        tuple(step.name for step in (*above, node))[1:]: node.total
        for above, node in call_tree(profile).walk()
    }
    assert theirs == ours


@every_profile
def test_it_is_closed(profile: Profile) -> None:
    text = drawn(profile)
    assert text == drawn(profile)
    assert not re.search(r"https?:|//[a-z]|@import|url\(", text.split('id="data">')[0])
    elements = Elements(text)
    assert not [key for _, attributes in elements.found for key in attributes if key[:2] == "on"]
    assert not [key for _, attributes in elements.found for key in attributes if key == "style"]
    assert not {tag for tag, _ in elements.found} & {"img", "iframe", "a", "link", "object"}
    assert [attributes.get("type") for tag, attributes in elements.found if tag == "script"] == [
        *("application/json", None),
    ]


@every_profile
def test_its_policy_names_its_own_style_and_script_alone(profile: Profile) -> None:
    elements = Elements(drawn(profile))
    policy = next(a["content"] for _, a in elements.found if a.get("http-equiv"))
    assert policy

    def hashed(content: str) -> str:
        return f"'sha256-{b64encode(sha256(content.encode()).digest()).decode()}'"

    assert policy.split("; ")[:3] == [
        "default-src 'none'",
        f"style-src {hashed(elements.raw['style'][0])}",
        f"script-src {hashed(elements.raw['script'][1])}",
    ]


def test_nothing_from_the_guest_is_in_its_markup_or_script() -> None:
    one, evil = Elements(drawn(PROFILES["one"])), Elements(drawn(PROFILES["hostile"]))
    assert one.raw["script"][1] == evil.raw["script"][1]
    assert [tag for tag, _ in one.found] == [tag for tag, _ in evil.found]
    assert "<" not in evil.raw["script"][0]


def test_what_is_alike_is_one_row() -> None:
    """A thousand times the samples in the same time make no larger page."""
    few = SampleBatch.of([KERNEL + 0x800] * 1000, time=list(range(0, 10**9, 10**6)))
    many = SampleBatch.of([KERNEL + 0x800] * 100_000, time=list(range(0, 10**9, 10**4)))
    sizes = [len(drawn(replace(synthetic(0), samples=samples))) for samples in (few, many)]
    assert sizes[1] < 1.1 * sizes[0]
    data = data_of(drawn(replace(synthetic(0), samples=many)))
    assert len(column(data["rows"]["node"])) == SLICES


def test_several_guests_have_a_level_each() -> None:
    profile = replace(
        PROFILES["stacks"],
        samples=replace(PROFILES["stacks"].samples, guest=PROFILES["stacks"].samples.vcpu),
        guests={0: Guest(0, "web1"), 1: Guest(1, "db")},
        spaces={0: PROFILES["stacks"].space(0), 1: PROFILES["stacks"].space(0)},
    )
    data = data_of(drawn(profile))
    parent, frame = column(data["nodes"]["parent"]), column(data["nodes"]["frame"])
    first = {data["frames"]["name"][f] for p, f in zip(parent[1:], frame[1:], strict=True) if not p}
    assert first == {"web1", "db"}


def test_many_tasks_are_few_choices() -> None:
    profile = PROFILES["flat"]
    samples = replace(profile.samples, task=np.arange(1000, dtype=np.uint32))
    tasks = TaskTable()
    for number in range(1, 900):
        tasks.add(GuestTask(0, number, number, f"sh{number % 300}"))
    found = replace(profile, samples=samples, tasks=tasks)
    names = set(data_of(drawn(found))["lanes"]["task"])
    assert len(names) == 61
    assert names > {"other tasks", "no task known"}
    assert any(name.startswith("sh") for name in names)


def test_it_begins_as_asked() -> None:
    data = data_of(drawn(PROFILES["one"], icicle=True, inverted=True))
    assert data["begin"] == {"icicle": True, "inverted": True}
