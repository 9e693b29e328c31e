"""Every format: chosen by name, the same bytes for the same profile, all samples, no attack."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gprof.errors import UsageError
from gprof.export.formats import FORMATS, compressed, format_of
from gprof.profile.filter import Filter
from gprof.profile.profile import Guest, Profile
from gprof.profile.stacks import StackTable
from gprof.profile.tasks import GuestTask, TaskTable
from gprof.profile.tree import NodeKind, call_tree, tree_of
from gprof.profile.view import tabulate
from gprof.sampling.source import Mode, SampleBatch
from tests.profiles import HOSTILE, KERNEL, hostile, space, synthetic

every_format = pytest.mark.parametrize("form", FORMATS)


def written(profile: Profile, form: str, chosen: Filter | None = None) -> bytes:
    out = BytesIO()
    FORMATS[form].make(**({"chosen": chosen} if chosen else {})).write(profile, out)
    return out.getvalue()


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("a.folded", "folded"),
        ("a.folded.gz", "folded"),
        ("A.SPEEDSCOPE.JSON", "speedscope"),
        ("a.firefox.json.gz", "firefox"),
        ("a.json", "json"),
        ("a.pb.gz", "pprof"),
        ("a.perf.txt", "perf-script"),
        ("callgrind.out.1234", "callgrind"),
        ("x/a.csv", "csv"),
        ("a.svg", "svg"),
    ],
)
def test_names_choose_formats(name: str, form: str) -> None:
    assert format_of(Path(name)) == form


@pytest.mark.parametrize("name", ["-", "a", "a.txt", "a.gz", "json", "a.folded.old"])
def test_other_names_choose_none(name: str) -> None:
    with pytest.raises(UsageError) as caught:
        format_of(Path(name))
    assert ".speedscope.json" in caught.value.remedy


def test_what_is_compressed_already_is_not_compressed_again() -> None:
    assert compressed(Path("a.firefox.json.gz"), "firefox")
    assert not compressed(Path("a.pb.gz"), "pprof")
    assert not compressed(Path("a.folded"), "folded")


@every_format
def test_endings_belong_to_one_format(form: str) -> None:
    for ending in FORMATS[form].endings:
        assert format_of(Path(f"x{ending}")) == form


@every_format
@pytest.mark.parametrize(
    "profile",
    [synthetic(400, stacks=True), synthetic(400), synthetic(0), synthetic(1), hostile()],
    ids=["stacks", "flat", "empty", "one", "hostile"],
)
def test_the_same_profile_gives_the_same_bytes(form: str, profile: Profile) -> None:
    assert written(profile, form) == written(profile, form)


@every_format
def test_hostile_names_are_inert(form: str) -> None:
    """No control character, no markup that a browser would act on, no name of full length."""
    content = written(hostile(), form)
    if form == "pprof":
        content = gzip.decompress(content)
        assert b"\x1b[" not in content
        assert b"\xe2\x80\xae" not in content  # U+202E turns text round
        assert b"x" * 2049 not in content
        return
    text = content.decode("utf-8")
    assert all(c in "\n\t" or c.isprintable() for c in text)
    assert "x" * 2049 not in text
    lowered = text.lower()
    if form in {"svg", "html"}:
        assert "<img" not in lowered
        assert lowered.count("<script") == lowered.count("</script>")
        assert "<script>alert" not in lowered
        assert "alert(1)]]>" not in lowered
        assert not re.search(r'<[^>]*" onload=', lowered)
    if form in {"json", "speedscope", "firefox"}:
        assert json.loads(text)
    if form == "csv":
        rows = list(csv.reader(io.StringIO(text)))
        assert len(rows) == len(HOSTILE) + 1
        assert not any(cell[:1] in {"=", "+", "-", "@"} for row in rows for cell in row if cell)
    if form == "perf-script":
        assert text.count("cpu-clock:") == len(hostile().samples)


def _folded(content: bytes) -> Counter[str]:
    weights: Counter[str] = Counter()
    for line in content.decode().splitlines():
        stack, _, count = line.rpartition(" ")
        weights[stack.split(";")[-1]] += int(count)
    return weights


def _speedscope(content: bytes) -> Counter[str]:
    file = json.loads(content)
    names = [frame["name"] for frame in file["shared"]["frames"]]
    weights: Counter[str] = Counter()
    for vcpu in file["profiles"]:
        for stack, weight in zip(vcpu["samples"], vcpu["weights"], strict=True):
            weights[names[stack[-1]]] += weight
        assert vcpu["endValue"] == sum(vcpu["weights"])
    return weights


def _firefox(content: bytes) -> Counter[str]:
    file = json.loads(content)
    texts = file["shared"]["stringArray"]
    weights: Counter[str] = Counter()
    for thread in file["threads"]:
        samples = thread["samples"]
        assert samples["time"] == sorted(samples["time"])
        columns = (samples["stack"], samples["time"], samples["weight"])
        assert {len(column) for column in columns} == {samples["length"]}
        for stack, weight in zip(samples["stack"], samples["weight"], strict=True):
            frame = thread["stackTable"]["frame"][stack]
            function = thread["frameTable"]["func"][frame]
            weights[texts[thread["funcTable"]["name"][function]]] += weight
    return weights


def _perf_script(content: bytes) -> Counter[str]:
    weights: Counter[str] = Counter()
    for sample in content.decode().split("\n\n"):
        if sample:
            head, leaf, *_ = sample.split("\n")
            name = re.fullmatch(r"\t *[0-9a-f]+ (.*?)(\+0x[0-9a-f]+)? \(\S*\)", leaf)
            matched = re.fullmatch(r"\S+ \d+/\d+ \[\d+\] \d+\.\d{6}: +(\d+) cpu-clock: ", head)
            assert name, sample
            assert matched, sample
            weights[name[1]] += int(matched[1])
    return weights


def _callgrind(content: bytes) -> Counter[str]:
    weights: Counter[str] = Counter()
    names: dict[str, str] = {}
    function = ""
    call = False
    for line in content.decode().splitlines():
        if matched := re.fullmatch(r"(c?)fn=(\(\d+\))(?: (.*))?", line):
            if matched[3] is not None:
                names[matched[2]] = matched[3]
            function = function if matched[1] else names[matched[2]]
        elif line.startswith("calls="):
            call = True
        elif matched := re.fullmatch(r"0x[0-9a-f]+ 0 (\d+)", line):
            if not call:
                weights[function] += int(matched[1])
            call = False
    return weights


SELF: dict[str, Callable[[bytes], Counter[str]]] = {
    "folded": _folded,
    "speedscope": _speedscope,
    "firefox": _firefox,
    "perf-script": _perf_script,
    "callgrind": _callgrind,
}


@st.composite
def profiles(draw: st.DrawFn) -> Profile:
    """Any stacks of known functions, of one or two guests, with any weights."""
    count = draw(st.integers(0, 30))
    stacks = StackTable()
    where = space()
    starts = [KERNEL + 0x60 + 0x110, *(KERNEL + 0x800 * i for i in range(1, 12)), 0x7000_1000]
    columns: dict[str, list[int]] = {
        name: [] for name in ("pc", "stack", "guest", "vcpu", "w", "t")
    }
    for _ in range(count):
        frames = draw(st.lists(st.sampled_from(starts), min_size=1, max_size=6))
        columns["pc"].append(frames[0])
        columns["stack"].append(stacks.add(frames) if draw(st.booleans()) else 0)
        columns["guest"].append(draw(st.integers(0, 1)))
        columns["vcpu"].append(draw(st.integers(0, 2)))
        columns["w"].append(draw(st.integers(1, 1000)))
        columns["t"].append(draw(st.integers(0, 10**10)))
    return replace(
        synthetic(0),
        samples=SampleBatch.of(
            columns["pc"], stack=columns["stack"], guest=columns["guest"], vcpu=columns["vcpu"],
            weight=columns["w"], time=columns["t"], mode=[Mode.KERNEL] * count,
        ),
        stacks=stacks,
        guests={0: Guest(0, "a"), 1: Guest(1, "b")},
        spaces={0: where, 1: where},
    )  # fmt: skip


@settings(max_examples=40)
@given(profiles())
def test_self_weights_are_those_of_the_table(profile: Profile) -> None:
    ours: Counter[str] = Counter()
    for row in tabulate(profile).rows:
        ours[row.label] += row.self_weight
    for form, counted in SELF.items():
        assert counted(written(profile, form)) == +ours, form


@every_format
def test_only_what_is_chosen_leaves(form: str) -> None:
    profile = synthetic(400, stacks=True)
    chosen = Filter(vcpus=frozenset({1}), modes=frozenset({Mode.KERNEL}))
    everything, some = written(profile, form), written(profile, form, chosen)
    assert some != everything
    if form in SELF:
        assert sum(SELF[form](some).values()) == tabulate(profile, chosen).weight


@settings(max_examples=40)
@given(profiles())
def test_folded_lines_are_the_call_tree(profile: Profile) -> None:
    """Folded, read into a tree, and folded again is the same text."""
    text = written(profile, "folded").decode()
    split = (line.rpartition(" ") for line in text.splitlines())
    root = tree_of(
        ([(name, "", NodeKind.KERNEL) for name in names.split(";")], int(count))
        for names, _, count in split
    )
    lines = {
        ";".join(step.name for step in (*above[1:], node)): node.own
        for above, node in root.walk()
        if node.own
    }
    assert "".join(f"{names} {lines[names]}\n" for names in sorted(lines)) == text
    assert root.total == call_tree(profile).total
    for _, node in root.walk():
        assert node.total == node.own + sum(child.total for child in node.children())


def test_vcpus_are_threads_the_busiest_first() -> None:
    samples = SampleBatch.of(
        [KERNEL + 0x800] * 30, vcpu=[0] * 5 + [1] * 10 + [2] * 15,
        mode=[Mode.KERNEL] * 15 + [Mode.IDLE] * 15, time=list(range(30)),
    )  # fmt: skip
    profile = replace(synthetic(0), samples=samples)
    names = [p["name"] for p in json.loads(written(profile, "speedscope"))["profiles"]]
    assert names == ["vcpu 1", "vcpu 0", "vcpu 2"]
    assert [t["name"] for t in json.loads(written(profile, "firefox"))["threads"]] == names


def test_times_are_kept() -> None:
    profile = synthetic(60)
    start = profile.samples.time[0]
    for number, thread in enumerate(json.loads(written(profile, "firefox"))["threads"]):
        ours = (profile.samples.time[profile.samples.vcpu == number] - start) / 1e6
        assert np.allclose(thread["samples"]["time"], np.sort(ours), atol=1e-3)
    lines = written(profile, "perf-script").decode().splitlines()
    times = [float(line.split()[3].rstrip(":")) for line in lines if "cpu-clock" in line]
    assert np.allclose(times, np.sort(profile.samples.time) / 1e9, atol=1e-6)


def test_tasks_are_the_threads_of_perf_script() -> None:
    tasks = TaskTable()
    tasks.add(GuestTask(0, 79, 77, "a b"))
    tasks.add(GuestTask(1, 9, 9, "kworker/0:1", kernel_thread=True))
    samples = SampleBatch.of([KERNEL] * 3, task=[0, 1, 2], guest=[0, 0, 1], vcpu=1)
    guests = {0: Guest(0, "web1"), 1: Guest(1, "web2")}
    profile = replace(synthetic(2), samples=samples, guests=guests, tasks=tasks)
    heads = [
        line
        for line in written(profile, "perf-script").decode().splitlines()
        if "cpu-clock" in line
    ]
    assert [head.split(" [")[0] for head in heads] == [
        "web1_vcpu1 10000/10002",
        "a_b 77/79",
        "kworker/0:1 10000009/10000009",
    ]


def test_tasks_are_labels_of_pprof() -> None:
    tasks = TaskTable()
    tasks.add(GuestTask(0, 79, 77, "unlikely name"))
    profile = synthetic(2)
    known = replace(profile, samples=replace(profile.samples, task=profile.samples.task + 1))
    content = gzip.decompress(written(replace(known, tasks=tasks), "pprof"))
    assert content.count(b"unlikely name") == 1
    assert b"unlikely name" not in gzip.decompress(written(profile, "pprof"))
