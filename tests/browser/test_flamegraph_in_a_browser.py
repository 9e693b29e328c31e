"""The script of a flame graph does in a browser what it promises."""

from __future__ import annotations

import html
import re
import shutil
import subprocess
from io import BytesIO
from pathlib import Path

import pytest

from gprof.export.flamegraph import FlameGraph
from gprof.profile.profile import Profile
from tests.profiles import hostile, synthetic

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(not BROWSER, reason="chromium is not installed")

_TOOLS = """
const log = [];
const say = (text) => log.push(text);
const frame = (name) => document.querySelector('.frame[data-name="' + name + '"]');
const shown = () => document.querySelectorAll(".frame:not(.hidden)").length;
const click = (target) => target.dispatchEvent(new MouseEvent("click", {bubbles: true}));
const key = (name) => document.activeElement.dispatchEvent(
  new KeyboardEvent("keydown", {key: name, bubbles: true, cancelable: true}));
const active = () => document.activeElement.getAttribute("data-name");
const search = (text) => {
  const input = document.querySelector("input");
  input.value = text;
  input.dispatchEvent(new Event("input", {bubbles: true}));
  return document.querySelector("#matched").textContent;
};
"""


def run(profile: Profile, actions: str, tmp_path: Path) -> list[str]:
    """Open the picture, act in it, and return what the actions said."""
    out = BytesIO()
    FlameGraph().write(profile, out)
    script = (
        f"{_TOOLS}{actions}\ndocument.documentElement.setAttribute('data-said', log.join('|'));"
    )
    page = tmp_path / "graph.svg"
    page.write_text(
        out.getvalue().decode().replace("</svg>", f"<script><![CDATA[{script}]]></script></svg>")
    )
    assert BROWSER
    dump = subprocess.run(
        [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--window-size=1000,600",
         f"--user-data-dir={tmp_path / 'browser'}", "--dump-dom", page.as_uri()],
        capture_output=True, text=True, check=True, timeout=60,
    ).stdout  # fmt: skip
    said = re.search(r'data-said="([^"]*)"', dump)
    assert said, dump[-2000:]
    return html.unescape(said[1]).split("|")


def test_zoom_search_and_keys(tmp_path: Path) -> None:
    said = run(
        synthetic(2000, stacks=True),
        """
        const all = shown();
        click(frame("vfs_read"));
        say(active()); say(frame("vfs_read").querySelector("rect").getAttribute("width"));
        say(shown() < all);
        key("ArrowUp"); say(active());
        key("ArrowDown"); key("ArrowDown"); say(active());
        key("Enter"); key("Escape"); say(shown() === all); say(active());
        key("/"); say(search("^do_syscall_64$|^vfs_")); say(search("(")); say(search(""));
        """,
        tmp_path,
    )
    assert said[:7] == [
        *("vfs_read", "980.00", "true", "ext4_file_read_iter", "ksys_read", "true", "all"),
    ]
    # vfs_read and vfs_write lie above do_syscall_64 in most paths: they are counted once.
    matched = float(said[7].removesuffix(" % matched"))
    assert 25 < matched < 40
    assert said[8:] == ["not a regular expression", ""]


def test_hostile_names_do_nothing(tmp_path: Path) -> None:
    said = run(
        hostile(),
        """
        for (const group of document.querySelectorAll(".frame")) click(group);
        click(frame("all"));
        say(document.querySelectorAll("img, iframe, a").length);
        say(document.querySelectorAll("script").length);
        say(document.title.includes("alert"));
        """,
        tmp_path,
    )
    assert said == ["0", "2", "false"]


def test_an_empty_profile_is_a_picture(tmp_path: Path) -> None:
    said = run(synthetic(0), "click(frame('all')); key('ArrowUp'); say(active());", tmp_path)
    assert said == ["all"]
