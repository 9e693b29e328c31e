"""Other programs read what we export, and count what we count."""

from __future__ import annotations

import base64
import html
import io
import json
import lzma
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import jsonschema
import pytest

from gprof.export.formats import FORMATS
from gprof.profile.profile import Guest, Profile
from gprof.profile.view import Group, tabulate
from gprof.recording.reader import read
from gprof.sampling.perf import PerfFile
from gprof.sampling.source import SampleBatch
from tests.formats.conftest import FirefoxReader, Readers
from tests.profiles import hostile, synthetic

FIXTURES = Path(__file__).parents[2] / "fixtures"
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")


def of_perf() -> Profile:
    """Samples of two real guests that perf took, weighted by their periods; nothing has a name."""
    data = lzma.decompress((FIXTURES / "perf" / "x-mixed.data.xz").read_bytes())
    source = PerfFile(io.BytesIO(data))
    samples = SampleBatch.concatenate(list(source.batches()))
    guests = {number: Guest(number, f"vm {number}") for number in set(samples.guest.tolist())}
    return Profile(samples, source.facts(), guests, {})


PROFILES = {
    "stacks": synthetic(2000, stacks=True),
    "flat": synthetic(500),
    "hostile": hostile(),
    "empty": synthetic(0),
    "recording": read(FIXTURES / "recordings" / "v1.0.gprof"),
    "perf": of_perf(),
}
every_profile = pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)


def written(profile: Profile, form: str, folder: Path, *, name: str = "") -> Path:
    path = folder / (name or f"export{FORMATS[form].endings[0]}")
    with path.open("wb") as out:
        FORMATS[form].make().write(profile, out)
    return path


def by_name(profile: Profile) -> Mapping[str, int]:
    """Self weight of each function, whatever its mode, module and guest."""
    weights: Counter[str] = Counter()
    for row in tabulate(profile).rows:
        weights[row.label or "[nameless]"] += row.self_weight
    return +weights


@every_profile
def test_pprof(profile: Profile, readers: Readers, tmp_path: Path) -> None:
    tool = readers.need("pprof")
    file = written(profile, "pprof", tmp_path)
    raw = subprocess.run([tool, "-raw", file], capture_output=True, text=True, check=True).stdout
    default = 0 if "samples/count[dflt]" in raw else 1
    values = re.findall(r"^ +(\d+) +(\d+): [\d ]+$", raw, re.MULTILINE)
    table = tabulate(profile)
    assert sum(int(row[0]) for row in values) == table.samples
    assert sum(int(row[default]) for row in values) == table.weight
    for _, image in sorted(profile.spaces.items()):
        for loaded in image.images:
            if loaded.build_id and loaded.name in {row.module for row in table.rows}:
                assert loaded.build_id.hex() in raw
    top = subprocess.run(
        [tool, "-top", "-unit=count", "-nodecount=100000", "-nodefraction=0", file],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    flat = Counter[str]()
    for weight, name in re.findall(r"^ *(\d+) +[\d.]+% +[\d.]+% +\d+ +[\d.]+%  ?(.*)$", top,
                                   re.MULTILINE):  # fmt: skip
        flat[name.removesuffix(" (inline)")] += int(weight)
    assert sum(flat.values()) == table.weight
    if profile is not PROFILES["hostile"]:  # it shortens what it takes for templates
        assert flat == by_name(profile)


def test_pprof_knows_vcpus_and_modes(readers: Readers, tmp_path: Path) -> None:
    profile = PROFILES["stacks"]
    tags = subprocess.run(
        [readers.need("pprof"), "-tags", written(profile, "pprof", tmp_path)],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    for group, tag in ((Group.VCPU, "vcpu"), (Group.MODE, "mode")):
        part = tags.split(f" {tag}: ")[1].split("\n\n")[0]
        found = re.findall(r"^ +([\d.]+) \(.*\): (.*)$", part, re.MULTILINE)
        assert {name: float(weight) for weight, name in found} == {
            row.label.removeprefix("vcpu "): row.self_weight
            for row in tabulate(profile, group=group).rows
        }


@every_profile
def test_firefox(profile: Profile, firefox_reader: FirefoxReader, tmp_path: Path) -> None:
    firefox_reader.load(written(profile, "firefox", tmp_path))
    vcpus = {row.label: row.self_weight for row in tabulate(profile, group=Group.VCPU).rows}
    counted: Counter[str] = Counter()
    for thread in firefox_reader.ask("thread", "list")["threads"]:
        functions = firefox_reader.ask(
            "thread", "functions", "--include-idle", "--thread", thread["threadHandle"]
        )["functions"]
        own = {number: function["selfSamples"] for number, function in enumerate(functions)}
        assert sum(own.values()) == vcpus.get(thread["name"], 0)
        for function in functions:
            counted[function["name"]] += function["selfSamples"]
    assert +counted == by_name(profile)


def test_firefox_refuses_what_is_wrong(firefox_reader: FirefoxReader, tmp_path: Path) -> None:
    """That the reader accepts a file means something."""
    content = json.loads(written(PROFILES["flat"], "firefox", tmp_path).read_text())
    del content["threads"][0]["stackTable"]
    broken = tmp_path / "broken.json"
    broken.write_text(json.dumps(content))
    assert firefox_reader.run("load", str(broken)).returncode != 0


@pytest.mark.parametrize(
    "profile", [PROFILES["hostile"], PROFILES["perf"]], ids=["hostile", "perf"]
)
def test_firefox_reads_perf_script(
    profile: Profile, firefox_reader: FirefoxReader, tmp_path: Path
) -> None:
    firefox_reader.load(written(profile, "perf-script", tmp_path))
    threads = firefox_reader.ask("thread", "list")["threads"]
    samples = 0
    for thread in threads:
        functions = firefox_reader.ask(
            "thread", "functions", "--include-idle", "--thread", thread["threadHandle"]
        )["functions"]
        samples += sum(function["selfSamples"] for function in functions)
    taken = profile.samples
    ran = zip(taken.guest.tolist(), taken.vcpu.tolist(), taken.task.tolist(), strict=True)
    # A thread of its own for each task; for each vcpu where the task is not known.
    known = [(guest, vcpu, profile.tasks[task]) for guest, vcpu, task in ran]
    assert len(threads) == len(
        {(guest, "", task.pid) if task else (guest, "vcpu", vcpu) for guest, vcpu, task in known}
    )
    assert samples == len(taken)


@every_profile
def test_speedscope_s_schema(profile: Profile, readers: Readers, tmp_path: Path) -> None:
    schema = json.loads(
        readers.need(
            "npm", "node_modules", "speedscope", "dist", "release", "file-format-schema.json"
        ).read_text()
    )
    content = json.loads(written(profile, "speedscope", tmp_path).read_text())
    jsonschema.validate(content, schema)
    frames = content["shared"]["frames"]
    assert content["profiles"]
    for vcpu in content["profiles"]:
        assert len(vcpu["weights"]) == len(vcpu["samples"])
        assert vcpu["endValue"] - vcpu["startValue"] == sum(vcpu["weights"])
        assert all(0 <= i < len(frames) for sample in vcpu["samples"] for i in sample)
        assert all(vcpu["samples"])
    weights: Counter[str] = Counter()
    for vcpu in content["profiles"]:
        for sample, weight in zip(vcpu["samples"], vcpu["weights"], strict=True):
            weights[frames[sample[-1]]["name"]] += weight
    assert weights == by_name(profile)


@pytest.mark.skipif(not BROWSER, reason="chromium is not installed")
def test_speedscope_itself(readers: Readers, tmp_path: Path) -> None:
    """Opened as its command line opens it, it lists our vcpus with their weights."""
    page = readers.need("npm", "node_modules", "speedscope", "dist", "release", "index.html")
    file = written(PROFILES["stacks"], "speedscope", tmp_path)
    encoded = base64.b64encode(file.read_bytes()).decode()
    script = tmp_path / "profile.js"
    script.write_text(f"speedscope.loadFileFromBase64({json.dumps(file.name)}, '{encoded}')")
    assert BROWSER
    dump = subprocess.run(
        [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=20000",
         f"--user-data-dir={tmp_path / 'browser'}", "--dump-dom",
         f"{page.as_uri()}#localProfilePath={script}"],
        capture_output=True, text=True, check=True, timeout=60,
    ).stdout  # fmt: skip
    text = re.sub(r"<(style|script).*?</\1>", "", dump, flags=re.DOTALL)
    words = " ".join(html.unescape(re.sub(r"<[^>]+>", " ", text)).split())
    assert "vcpu 0 1,000 2 vcpu 1 1,000" in words, words
    assert "web1 (x86_64, 2 vcpus, 6.1.0-56-cloud-amd64) - speedscope" in words


@pytest.mark.skipif(
    not shutil.which("callgrind_annotate"), reason="callgrind_annotate (valgrind) is not installed"
)
@every_profile
def test_callgrind_annotate(profile: Profile, tmp_path: Path) -> None:
    text = subprocess.run(
        ["callgrind_annotate", "--threshold=100", "--auto=no",
         written(profile, "callgrind", tmp_path)],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    weight = tabulate(profile).weight
    assert f"{weight:,} (100.0%)  PROGRAM TOTALS" in text or not weight
    found: Counter[str] = Counter()
    for cost, name in re.findall(r"^ *([\d,]+) +\([ \d.]+%\)  \?\?\?:(.*)$", text, re.MULTILINE):
        # The object stands behind the function, in brackets of which it may have some itself.
        found[re.sub(r" \[[^\[\]]*(\[[^\[\]]*\])?\]$", "", name)] += int(cost.replace(",", ""))
    assert found == by_name(profile)


@every_profile
def test_folded_lines_are_strict(profile: Profile, tmp_path: Path) -> None:
    text = written(profile, "folded", tmp_path).read_bytes().decode("utf-8")
    assert not text or text.endswith("\n")
    weights: Counter[str] = Counter()
    for line in text.splitlines():
        matched = re.fullmatch(r"([^;\x00-\x1f]+(?:;[^;\x00-\x1f]+)*) ([1-9]\d*)", line)
        assert matched, line
        weights[matched[1].split(";")[-1]] += int(matched[2])
    assert sum(weights.values()) == tabulate(profile).weight


@pytest.mark.skipif(not shutil.which("xmllint"), reason="xmllint (libxml2-utils) is not installed")
@every_profile
def test_xmllint(profile: Profile, tmp_path: Path) -> None:
    checked = subprocess.run(
        ["xmllint", "--noout", written(profile, "svg", tmp_path)], capture_output=True, check=False
    )
    assert (checked.returncode, checked.stderr) == (0, b"")
