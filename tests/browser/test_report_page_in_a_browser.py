"""The report page does in a browser what it promises."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path

from gprof.export.report_page import ReportPage
from gprof.profile.filter import Filter
from gprof.profile.profile import Guest, Profile
from gprof.profile.tasks import GuestTask, TaskTable
from gprof.profile.tree import call_tree
from gprof.profile.view import SortKey, Table, tabulate
from gprof.sampling.source import Mode, SampleBatch
from tests.browser.driven import dom, needs_browser, said, script
from tests.profiles import KERNEL, hostile, synthetic

pytestmark = needs_browser

STACKS = synthetic(2000, stacks=True)

_TOOLS = """
const byId = (id) => document.getElementById(id);
const frames = () => Array.from(document.querySelectorAll("#flame .frame"));
const label = (element) => element.getAttribute("aria-label");
const frame = (name) => frames().find((element) => label(element).split(/[:(]/)[0].trim() === name);
const click = (target) => target.dispatchEvent(new MouseEvent("click", {bubbles: true}));
const key = (name, target = document.activeElement) => target.dispatchEvent(
  new KeyboardEvent("keydown", {key: name, bubbles: true, cancelable: true}));
const active = () => label(document.activeElement).split(/[:(]/)[0].trim();
const search = (text) => {
  byId("search").value = text;
  byId("search").dispatchEvent(new Event("input", {bubbles: true}));
  return byId("matched").textContent;
};
const rows = () => Array.from(document.querySelectorAll("#functions tr"), (row) =>
  Array.from(row.cells, (cell) => cell.textContent).join(" | "));
const box = (facet, value) => document.querySelector(`input[name="${facet}"][value="${value}"]`);
const slide = (id, value) => {
  byId(id).value = value;
  byId(id).dispatchEvent(new Event("input", {bubbles: true}));
};
const root = () => label(frame("all"));
const drag = (canvas, from, to) => {
  const place = canvas.getBoundingClientRect();
  const at = (kind, share) => canvas.dispatchEvent(new PointerEvent(kind, {bubbles: true,
    clientX: place.left + share * place.width, clientY: place.top + 5, pointerId: 1}));
  canvas.setPointerCapture = () => {};
  at("pointerdown", from); at("pointermove", to); at("pointerup", to);
};
const lit = (canvas) => {
  const { width, height } = canvas;
  const bytes = canvas.getContext("2d").getImageData(0, 0, width, height).data;
  let count = 0;
  for (let i = 3; i < bytes.length; i += 4) if (bytes[i]) count++;
  return count;
};
"""


def page(profile: Profile, tmp_path: Path, ours: str = "", *, policy: bool = False) -> Path:
    """The page as a file, with a script of ours in it, which its policy would not let run."""
    out = BytesIO()
    ReportPage().write(profile, out)
    text = out.getvalue().decode()
    if not policy:
        text = re.sub(r"<meta http-equiv[^>]*>", "", text)
    if ours:
        text = text.replace("</body>", f"<script>{ours}</script></body>")
    path = tmp_path / "page.html"
    path.write_text(text)
    return path


def run(profile: Profile, actions: str, tmp_path: Path) -> list[str]:
    """Open the page, act in it, and return what the actions said."""
    return said(page(profile, tmp_path, script(_TOOLS + actions)))


def rows_of(table: Table) -> Sequence[str]:
    """Rows of a table as the page writes them, split by function alone."""
    by_function: dict[tuple[str, str], list[int]] = {}
    for row in table.rows:
        weights = by_function.setdefault((row.label, row.module), [0, 0])
        weights[0] += row.self_weight
        weights[1] += row.total_weight
    return [
        f"{table.percent(own):.2f} % | {table.percent(total):.2f} % | {name} | {module}"
        for (name, module), (own, total) in by_function.items()
    ]


def test_the_table_is_that_of_report(tmp_path: Path) -> None:
    told = run(STACKS, "for (const row of rows()) say(row);", tmp_path)
    assert sorted(told) == sorted(rows_of(tabulate(STACKS)))
    own = [float(row.split(" %")[0]) for row in told]
    assert own == sorted(own, reverse=True)


def test_sorting_by_a_column(tmp_path: Path) -> None:
    told = run(
        STACKS,
        """
        const head = (key) => document.querySelector(`th[data-key="${key}"]`);
        const first = () => rows()[0].split(" | ")[2];
        click(head("total").firstChild); say(first()); say(head("total").ariaSort);
        click(head("name").firstChild); say(first()); say(head("name").ariaSort);
        click(head("name").firstChild); say(first()); say(head("total").ariaSort);
        """,
        tmp_path,
    )
    totals = tabulate(STACKS).sorted(SortKey.TOTAL).rows
    names = sorted(row.label for row in totals)
    assert told == [
        *(totals[0].label, "descending"), *(names[0], "ascending"), *(names[-1], "none"),
    ]  # fmt: skip


def test_zoom_and_keys(tmp_path: Path) -> None:
    told = run(
        STACKS,
        """
        const all = frames().length;
        say(byId("reset").disabled);
        click(frame("vfs_read"));
        say(parseFloat(frame("vfs_read").style.width) === byId("flame").clientWidth);
        say(frames().length < all); say(byId("reset").disabled);
        frame("vfs_read").focus();
        key("ArrowUp"); say(active());
        key("ArrowDown"); key("ArrowDown"); say(active());
        key("Enter"); say(frame("ksys_read").classList.contains("above"));
        key("Escape"); say(frames().length === all); say(active());
        click(frame("do_syscall_64")); click(byId("reset")); say(frames().length === all);
        frame("ksys_read").focus(); key("ArrowLeft"); const left = active();
        key("ArrowRight"); say(active()); say(left !== active());
        say(byId("details").textContent === label(frame("ksys_read")));
        """,
        tmp_path,
    )
    assert told == [
        *("True", "True", "True", "False", "ext4_file_read_iter", "ksys_read", "False"),
        *("True", "all", "True", "ksys_read", "True", "True"),
    ]


def test_icicle_and_inverted(tmp_path: Path) -> None:
    told = run(
        STACKS,
        """
        const top = (name) => parseFloat(frame(name).style.top);
        say(top("vfs_read") < top("ksys_read"));
        key("f", document.body); say(top("vfs_read") > top("ksys_read"));
        say(byId("icicle").getAttribute("aria-pressed"));
        frame("ksys_read").focus(); key("ArrowDown"); say(active());
        key("i", document.body); say(byId("inverted").getAttribute("aria-pressed"));
        const level2 = frames().filter((f) => f.getAttribute("aria-level") === "2");
        say(level2.slice(0, 3).map(label).join(" / "));
        const width = (name) => parseFloat(frame(name).style.width);
        click(frame("native_queued_spin_lock_slowpath"));
        say(frames().filter((f) => f.getAttribute("aria-level") === "3").map(label).join(" / "));
        click(byId("inverted")); say(top("vfs_read") > top("ksys_read"));
        """,
        tmp_path,
    )
    table = tabulate(STACKS)

    def sentence(name: str, module: str, weight: int) -> str:
        where = f" ({module})" if module != name else ""
        return f"{name}{where}: {weight} samples, {table.percent(weight):.2f} %"

    own: dict[tuple[str, str], int] = {}
    for row in table.rows:
        key = (row.label, row.module)
        own[key] = own.get(key, 0) + row.self_weight
    heaviest = sorted(own.items(), key=lambda item: -item[1])[:3]
    spinning = own["native_queued_spin_lock_slowpath", "[kernel]"]
    assert told == [
        *("True", "True", "true", "vfs_read", "true"),
        " / ".join(sentence(*key, weight) for key, weight in heaviest),
        sentence("_raw_spin_lock_irqsave", "[kernel]", spinning),
        "True",
    ]


def test_search(tmp_path: Path) -> None:
    told = run(
        STACKS,
        """
        key("/", document.body); say(document.activeElement.id);
        say(search("^vfs_"));
        const found = frames().filter((f) => f.classList.contains("found"));
        say(Array.from(new Set(found.map((f) => label(f).split(" ")[0]))).sort().join(" "));
        say(rows().map((row) => row.split(" | ")[2]).sort().join(" "));
        say(search("(")); say(search("EXT4")); say(search("no such name"));
        key("Escape", byId("search")); say(byId("search").value); say(byId("matched").textContent);
        click(Array.from(document.querySelectorAll("#functions td.name"))
          .find((cell) => cell.textContent === "[user]"));
        say(byId("search").value); say(byId("matched").textContent);
        """,
        tmp_path,
    )
    everything = tabulate(STACKS)

    def matched(pattern: str) -> str:
        found = tabulate(STACKS, Filter(pattern=re.compile(pattern, re.IGNORECASE)))
        return f"{everything.percent(found.weight):.2f} % matched"

    assert told == [
        *(
            "search",
            matched("^vfs_"),
            "vfs_read vfs_write",
            "vfs_read vfs_write",
            "not a regular expression",
        ),
        *(matched("EXT4"), "0.00 % matched", "", "", r"^\[user\]$", matched(r"^\[user\]$")),
    ]


def test_filters(tmp_path: Path) -> None:
    tasks = TaskTable()
    for name in ("sh", "<b>cat"):
        tasks.add(GuestTask(0, 5, 5, name))
    profile = replace(
        STACKS,
        samples=replace(STACKS.samples, guest=STACKS.samples.vcpu, task=STACKS.samples.stack % 3),
        guests={0: Guest(0, "web1"), 1: Guest(1, "db<1>")},
        spaces={0: STACKS.space(0), 1: STACKS.space(0)},
        tasks=tasks,
    )
    told = run(
        profile,
        """
        click(box("vcpu", "vcpu 1")); say(root());
        click(box("vcpu", "vcpu 1")); click(box("mode", "idle")); click(box("mode", "user"));
        say(root()); say(frame("[user]") === undefined);
        click(box("mode", "idle")); click(box("mode", "user")); click(box("guest", "db<1>"));
        say(root()); say(box("task", "<b>cat") !== null);
        click(box("guest", "web1")); say(root()); say(rows().length);
        say(Array.from(document.querySelectorAll("fieldset legend"), (l) => l.textContent).join());
        """,
        tmp_path,
    )

    def total(**chosen: frozenset[int]) -> str:
        weight = tabulate(profile, Filter(**chosen)).weight  # type: ignore[arg-type]
        return f"all: {weight:,} samples, 100.00 %"

    assert told == [
        total(vcpus=frozenset({0})),
        total(modes=frozenset(Mode) - {Mode.IDLE, Mode.USER}),
        *("True", total(guests=frozenset({0})), "True", "all: 0 samples, 0.00 %", "0"),
        "guest,vcpu,mode,task",
    ]


def test_a_filter_keeps_the_zoom(tmp_path: Path) -> None:
    told = run(
        STACKS,
        """
        click(frame("vfs_read")); click(box("vcpu", "vcpu 1"));
        say(parseFloat(frame("vfs_read").style.width) === byId("flame").clientWidth);
        say(frame("vfs_write") === undefined);
        """,
        tmp_path,
    )
    assert told == ["True", "True"]


def test_time_range(tmp_path: Path) -> None:
    told = run(
        STACKS,
        """
        const slices = +byId("until").max;
        say(slices); say(lit(byId("histogram")) > 0);
        slide("from", 100); slide("until", 200); say(root()); say(byId("range").textContent);
        slide("from", 250); say(byId("until").value);
        click(byId("all")); say(root());
        drag(byId("histogram"), 0.25, 0.75); say(byId("from").value + " " + byId("until").value);
        byId("histogram").dispatchEvent(new MouseEvent("dblclick", {bubbles: true})); say(root());
        say(byId("from").getAttribute("aria-valuetext"));
        """,
        tmp_path,
    )
    time = STACKS.samples.time - STACKS.samples.time.min()
    slice_ns = -(-(int(time.max()) + 1) // 300)
    slices = -(-(int(time.max()) + 1) // slice_ns)
    within = int(((time >= 100 * slice_ns) & (time < 200 * slice_ns)).sum())
    everything = "all: 2,000 samples, 100.00 %"
    assert told == [
        *(str(slices), "True", f"all: {within} samples, 100.00 %"),
        f"{100 * slice_ns / 1e9:.2f} s to {200 * slice_ns / 1e9:.2f} s",
        *(
            "251",
            everything,
            f"{int(slices * 0.25)} {int(slices * 0.75) + 1}",
            everything,
            "0.00 s",
        ),
    ]


def test_the_heatmap_shows_what_happens_in_every_second_alike(tmp_path: Path) -> None:
    """One sample in every second, 300 ms after its beginning: one row of the heatmap is lit."""
    seconds = 20
    profile = replace(
        synthetic(0),
        samples=SampleBatch.of(
            [KERNEL + 0x800] * seconds, time=[10**9 * i for i in range(seconds)]
        ),
        started_ns=1_750_000_000_300_000_000,
    )
    told = run(
        profile,
        """
        const canvas = byId("heatmap");
        const bytes = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
        const lines = new Set();
        for (let i = 0; i < bytes.length / 4; i++) {
          if (bytes[4 * i + 3]) lines.add(Math.floor(i / canvas.width));
        }
        say(Array.from(lines).sort((a, b) => a - b).join(" "));
        const place = canvas.getBoundingClientRect();
        canvas.dispatchEvent(new MouseEvent("click", {bubbles: true,
          clientX: place.left + place.width * 7.5 / 20, clientY: place.top + 3}));
        say(root());
        """,
        tmp_path,
    )
    # Slot 15 of 50, two lines of the 100 each, counted from below.
    assert told == ["68 69", "all: 1 samples, 100.00 %"]


def test_theme(tmp_path: Path) -> None:
    told = run(
        STACKS,
        """
        const paper = () => getComputedStyle(document.body).backgroundColor;
        const light = paper();
        click(byId("theme")); say(paper() === light); say(byId("theme").textContent);
        key("t", document.body); say(paper() === light);
        say(document.documentElement.dataset.theme);
        key("t", document.body); say(paper() === light); say(byId("theme").textContent);
        """,
        tmp_path,
    )
    assert told == [
        *("True", "Theme: light t", "False", "dark", "True", "Theme: system t"),
    ]


def test_help_and_names_for_those_who_hear_the_page(tmp_path: Path) -> None:
    told = run(
        STACKS,
        """
        key("?", document.body); say(byId("keys").open);
        key("Escape", document.body); say(frames().length > 10);
        const nameless = Array.from(document.querySelectorAll("button, input, canvas, section"))
          .filter((e) => !(e.ariaLabel || e.textContent.trim() || e.closest("label")));
        say(nameless.length);
        say(document.querySelectorAll("#flame [tabindex='0']").length);
        say(frames().every((f) => f.getAttribute("role") === "treeitem" && label(f)));
        """,
        tmp_path,
    )
    assert told == ["True", "True", "0", "1", "True"]


def test_hostile_names_do_nothing(tmp_path: Path) -> None:
    told = run(
        hostile(),
        """
        for (const name of frames().map(label)) {
          click(frames().find((f) => label(f) === name) || document.body);
        }
        for (const row of document.querySelectorAll("#functions tr")) click(row);
        key("i", document.body);
        say(document.querySelectorAll("img, iframe, a, object").length);
        say(document.querySelectorAll("script").length);
        say(document.title); say(rows().length);
        """,
        tmp_path,
    )
    assert told[:2] == ["0", "2"]
    assert told[2] == r"gprof: </title><script>alert(1)</script>\x1b (x\x00, 1 vcpu, 6.1\x0a)"
    assert told[3] == "1"  # the row that was clicked last is searched for


def test_nothing_but_the_page_s_own_script_runs(tmp_path: Path) -> None:
    """Its policy lets our script run, and no other, as one that came in with a name would be."""
    intruder = "document.documentElement.setAttribute('data-said', 'ran')"
    dump = dom(page(STACKS, tmp_path, intruder, policy=True))
    assert 'id="subtitle">2,000 samples' in dump
    assert "data-said" not in dump.split("<body")[0]


def test_an_empty_profile_is_a_page(tmp_path: Path) -> None:
    actions = "say(root()); click(frame('all')); key('i', document.body); say(root());"
    told = run(synthetic(0), actions, tmp_path)
    assert told == ["all: 0 samples, 0.00 %"] * 2


def test_flat_profiles_stand_on_their_modules(tmp_path: Path) -> None:
    profile = synthetic(400)
    told = run(
        profile, "say(frame('ext4') ? label(frame('ext4')) : 'none'); say(root());", tmp_path
    )
    weight = sum(r.self_weight for r in tabulate(profile).rows if r.module == "ext4")
    assert told[0] == f"ext4: {weight} samples, {weight / 4:.2f} %"
    assert told[1] == f"all: {call_tree(profile).total} samples, 100.00 %"
