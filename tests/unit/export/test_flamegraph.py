"""The flame graph is valid, complete, harmless and always the same."""

from __future__ import annotations

import re
import shutil
import subprocess
import xml.etree.ElementTree as ET
from dataclasses import replace
from io import BytesIO

import pytest

from gprof.export.flamegraph import FlameGraph, colour
from gprof.profile.profile import Profile
from gprof.profile.stacks import StackTable
from gprof.profile.tree import NodeKind, call_tree
from gprof.sampling.source import SampleBatch
from tests.profiles import KERNEL, hostile, synthetic

SVG = "{http://www.w3.org/2000/svg}"


def drawn(profile: Profile) -> bytes:
    out = BytesIO()
    FlameGraph().write(profile, out)
    return out.getvalue()


def frames(svg: bytes) -> list[ET.Element]:
    return [g for g in ET.fromstring(svg).iter(f"{SVG}g") if g.get("class") == "frame"]


def deep(levels: int) -> Profile:
    stacks = StackTable()
    pcs = [KERNEL + 16 * i for i in range(levels)]
    return replace(
        synthetic(0),
        samples=SampleBatch.of([pcs[0]], stack=[stacks.add(pcs)]),
        stacks=stacks,
    )


PROFILES = {
    "stacks": synthetic(1000, stacks=True),
    "modes": synthetic(1000),
    "hostile": hostile(),
    "empty": synthetic(0),
    "one": synthetic(1),
    "deep": deep(5000),
}


@pytest.mark.parametrize("name", PROFILES)
def test_it_is_well_formed_and_complete(name: str) -> None:
    svg = drawn(PROFILES[name])
    assert svg == drawn(PROFILES[name])
    found = frames(svg)
    assert found[0].get("data-name") == "all"
    for frame in found:
        title = frame.find(f"{SVG}title")
        assert title is not None
        assert title.text
        assert "samples" in title.text
        rect = frame.find(f"{SVG}rect")
        assert rect is not None
        assert 10 <= float(rect.get("x", "")) <= 1190
        assert float(rect.get("width", "")) <= 1180
        assert float(rect.get("y", "")) >= 0


@pytest.mark.skipif(not shutil.which("xmllint"), reason="xmllint (libxml2-utils) is not installed")
@pytest.mark.parametrize("name", PROFILES)
def test_xmllint_accepts_it(name: str) -> None:
    checked = subprocess.run(
        ["xmllint", "--noout", "-"], input=drawn(PROFILES[name]), capture_output=True, check=False
    )
    assert (checked.returncode, checked.stderr) == (0, b"")


def test_frames_lie_within_their_callers() -> None:
    found = [
        (int(f.get("data-depth", "")), int(f.get("data-left", "")), int(f.get("data-weight", "")))
        for f in frames(drawn(PROFILES["stacks"]))
    ]
    for depth, left, weight in found[1:]:
        assert any(
            d == depth - 1 and start <= left and left + weight <= start + size
            for d, start, size in found
        )
    assert found[0][2] == call_tree(PROFILES["stacks"]).total


def test_nothing_from_the_guest_becomes_markup() -> None:
    svg = drawn(PROFILES["hostile"])
    root = ET.fromstring(svg)
    assert len(list(root.iter(f"{SVG}script"))) == 1
    assert not [e for e in root.iter() if e.tag.endswith(("img", "image", "a", "iframe"))]
    assert not [key for e in root.iter() for key in e.attrib if key.startswith("on")]
    text = svg.decode()
    assert all(c == "\n" or c.isprintable() for c in text)
    script = next(iter(root.iter(f"{SVG}script"))).text
    assert script == next(iter(ET.fromstring(drawn(PROFILES["one"])).iter(f"{SVG}script"))).text
    longest = max(len(f.get("data-name", "")) for f in frames(svg))
    assert longest <= 2048


def test_it_needs_nothing_else() -> None:
    text = drawn(PROFILES["stacks"]).decode()
    assert set(re.findall(r"https?://[^\"' ]+", text)) == {
        "http://www.w3.org/2000/svg",  # names of namespaces, never fetched
        "http://www.w3.org/1999/xhtml",
    }
    assert "@import" not in text
    assert "url(" not in text


def test_what_is_too_narrow_is_left_out() -> None:
    wide, narrow = KERNEL + 0x100, KERNEL + 0x8000
    profile = replace(synthetic(0), samples=SampleBatch.of([wide, narrow], weight=[1_000_000, 1]))
    names = [frame.get("data-name") for frame in frames(drawn(profile))]
    assert len(names) == 4
    assert frames(drawn(profile))[0].get("data-weight") == "1000001"


def test_colours_tell_kinds_apart_and_depend_on_nothing_else() -> None:
    assert colour("vfs_read", NodeKind.KERNEL) == colour("vfs_read", NodeKind.KERNEL)
    assert len({colour("vfs_read", kind) for kind in NodeKind}) == len(NodeKind)
    assert len({colour(f"f{i}", NodeKind.KERNEL) for i in range(50)}) > 25
    assert all(re.fullmatch("#[0-9a-f]{6}", colour("\ud800", kind)) for kind in NodeKind)


def test_the_heading_says_what_was_sampled() -> None:
    text = drawn(PROFILES["stacks"]).decode()
    assert "gprof: web1 (x86_64, 2 vcpus, 6.1.0-56-cloud-amd64)" in text
    assert "1,000 samples" in text
    assert f"guest halted {PROFILES['stacks'].facts.halted_percent:.2f} %" in text
    assert "idle 1" in text
