"""The script of a flame graph does in a browser what it promises."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

from gprof.export.flamegraph import FlameGraph
from gprof.profile.profile import Profile
from tests.browser.driven import needs_browser, said, script
from tests.profiles import hostile, synthetic

pytestmark = needs_browser

_TOOLS = """
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


def run(
    profile: Profile, actions: str, tmp_path: Path, *, icicle: bool = False, place: str = ""
) -> list[str]:
    """Open the picture, act in it, and return what the actions said."""
    out = BytesIO()
    FlameGraph(icicle=icicle).write(profile, out)
    ours = f"<script><![CDATA[{script(_TOOLS + actions)}]]></script></svg>"
    page = tmp_path / "graph.svg"
    page.write_text(out.getvalue().decode().replace("</svg>", ours))
    return said(page, place)


def test_zoom_search_and_keys(tmp_path: Path) -> None:
    told = run(
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
    assert told[:7] == [
        *("vfs_read", "980.00", "True", "ext4_file_read_iter", "ksys_read", "True", "all"),
    ]
    # vfs_read and vfs_write lie above do_syscall_64 in most paths: they are counted once.
    matched = float(told[7].removesuffix(" % matched"))
    assert 25 < matched < 40
    assert told[8:] == ["not a regular expression", ""]


def test_the_address_leads_back(tmp_path: Path) -> None:
    profile = synthetic(2000, stacks=True)
    first = run(
        profile,
        """
        click(frame("vfs_read")); key("/"); say(search("^ext4_.*iter$")); say(location.hash);
        """,
        tmp_path,
    )
    again = run(
        profile,
        """
        say(document.querySelector("#matched").textContent); say(location.hash);
        say(frame("vfs_read").querySelector("rect").getAttribute("width"));
        say(frame("ext4_file_read_iter").classList.contains("found"));
        """,
        tmp_path,
        place=first[1],
    )
    assert first[1].startswith("#zoom=")
    assert again == [*first, "980.00", "True"]


def test_an_address_from_elsewhere_does_no_harm(tmp_path: Path) -> None:
    place = "#zoom=-1e9&search=(%3Cimg%20onerror=alert(1)%3E"
    told = run(synthetic(200), "say(document.querySelectorAll('img').length); say(shown() > 3);"
               "say(document.querySelector('#matched').textContent)",
               tmp_path, place=place)  # fmt: skip
    assert told == ["0", "True", "not a regular expression"]


def test_keys_follow_the_picture_when_it_grows_down(tmp_path: Path) -> None:
    told = run(
        synthetic(2000, stacks=True),
        """
        click(frame("vfs_read"));
        key("ArrowDown"); say(active());
        key("ArrowUp"); key("ArrowUp"); say(active());
        const y = (name) => Number(frame(name).querySelector("rect").getAttribute("y"));
        say(y("vfs_read") > y("ksys_read"));
        """,
        tmp_path,
        icicle=True,
    )
    assert told == ["ext4_file_read_iter", "ksys_read", "True"]


def test_hostile_names_do_nothing(tmp_path: Path) -> None:
    told = run(
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
    assert told == ["0", "2", "False"]


def test_an_empty_profile_is_a_picture(tmp_path: Path) -> None:
    told = run(synthetic(0), "click(frame('all')); key('ArrowUp'); say(active());", tmp_path)
    assert told == ["all"]
