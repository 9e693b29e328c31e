from __future__ import annotations

import json
import shutil
import sqlite3
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from symbols import lines as lines_module
from symbols.elf import Image
from symbols.lines import SourceFrame, SourceLines
from symbols.lines_by_drgn import Drgn
from symbols.lines_by_program import Addr2line, Symbolizer, find_addr2line, find_symbolizer
from symbols.lines_cache import LineCache, default_cache
from symbols.lines_of_space import SpaceLines
from symbols.source_frames import Chain, Finder, FinderFailed
from symbols.space import AddressSpace, ImageKind, LoadedImage
from symbols.table import SymbolTable
from tests.waiting import wait_until

SOURCE = """\
static inline __attribute__((always_inline)) int square(int x)
{
    return x * x;
}

__attribute__((noinline)) int hot(int x)
{
    return square(x) + 1;
}

__attribute__((noinline, section(".text.unlikely"))) int cold(int x)
{
    return square(x) + 2;
}

int main(int count, char **names)
{
    return hot(count) + cold(count) + !names;
}
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with program.c, the relocatable program.ko and the linked program of it."""
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed (apt-get install gcc)")
    folder = tmp_path_factory.mktemp("program")
    (folder / "program.c").write_text(SOURCE, encoding="utf-8")
    plain = ["gcc", "-g", "-O2", "-fno-pie", "program.c"]
    build_id = "-Wl,--build-id=0x0123456789abcdef"
    subprocess.run([*plain, "-c", "-o", "program.ko"], cwd=folder, check=True)
    subprocess.run([*plain, "-no-pie", build_id, "-o", "program"], cwd=folder, check=True)
    return folder


def start_of(path: Path, name: str) -> int:
    table = Image.open(path).table
    (found,) = table.names.find(name)
    return int(table.start[found])


def code_of(path: Path) -> list[int]:
    """Every address in the three functions."""
    table = Image.open(path).table
    rows = [row for name in ("hot", "cold", "main") for row in table.names.find(name)]
    return [pc for row in rows for pc in range(int(table.start[row]), int(table.end[row]))]


def symbolizer(path: Path) -> Finder:
    program = find_symbolizer()
    if program is None:
        pytest.skip("llvm-symbolizer is not installed (apt-get install llvm)")
    return Symbolizer(program, str(path))


def drgn(path: Path) -> Finder:
    pytest.importorskip("drgn", reason="drgn is not installed (pip install drgn)")
    image = Image.open(path)
    machine = {"x86_64": "EM_X86_64", "aarch64": "EM_AARCH64"}[image.architecture]
    return Drgn(str(path), machine, little_endian=True, image=image if image.relocatable else None)


def addr2line(path: Path) -> Finder:
    program = find_addr2line()
    if program is None:
        pytest.skip("addr2line is not installed (apt-get install binutils)")
    image = Image.open(path)
    return Addr2line(program, str(path), image if image.relocatable else None)


def spelled(chain: Chain) -> list[tuple[str, str, int]]:
    return [(one.function, Path(one.file).name, one.line) for one in chain]


@pytest.mark.parametrize("make", [symbolizer, drgn, addr2line])
def test_an_inlined_function_comes_before_the_one_that_holds_it(
    built: Path, make: Callable[[Path], Finder]
) -> None:
    finder = make(built / "program")
    chain, nowhere = finder.find([start_of(built / "program", "hot"), 0x10])
    finder.close()
    assert spelled(chain) == [("square", "program.c", 3), ("hot", "program.c", 8)]
    assert nowhere == ()


@pytest.mark.parametrize(
    ("make", "file"), [(symbolizer, "program"), (drgn, "program"), (drgn, "program.ko")]
)
def test_every_finder_says_what_addr2line_says(
    built: Path, make: Callable[[Path], Finder], file: str
) -> None:
    path = built / file
    oracle, asked = addr2line(path), make(path)
    pcs = code_of(path)
    assert len(pcs) > 20
    expected = oracle.find(pcs)
    assert [spelled(chain) for chain in asked.find(pcs)] == [spelled(chain) for chain in expected]
    assert all(expected)
    oracle.close()
    asked.close()


def test_sections_of_a_relocatable_file_are_told_apart(built: Path) -> None:
    path = built / "program.ko"
    source = SourceLines(str(path))
    hot, cold = start_of(path, "hot"), start_of(path, "cold")
    found = source.find([hot, cold])
    source.close()
    assert spelled(found[hot])[-1] == ("hot", "program.c", 8)
    assert spelled(found[cold])[-1] == ("cold", "program.c", 13)


def test_a_module_is_found_wherever_the_kernel_put_its_sections(built: Path) -> None:
    path = built / "program.ko"
    image = Image.open(path)
    table = image.table
    hot, cold = start_of(path, "hot"), start_of(path, "cold")
    base = 0xFFFF_FFFF_C000_0000
    # The section of `cold` elsewhere than behind that of `hot`.
    moved = np.where(table.start == np.uint64(cold), np.uint64(base + 0x8000), table.start)
    moved = np.where(table.start == np.uint64(hot), np.uint64(base + 0x100), moved)
    order = np.argsort(moved)
    runtime = SymbolTable(moved[order], moved[order] + np.uint64(8), table.names.take(order))
    space = AddressSpace(
        [LoadedImage("m", ImageKind.MODULE, base, base + 0x10000, runtime, path=str(path))]
    )
    source = SpaceLines()
    found = source.find(space, [base + 0x100, base + 0x8000, base + 0x4000, 0x1000])
    source.close()
    assert spelled(found[base + 0x100])[-1] == ("hot", "program.c", 8)
    assert spelled(found[base + 0x8000])[-1] == ("cold", "program.c", 13)
    assert found[base + 0x4000] == found[0x1000] == ()


def test_a_kernel_that_slid(built: Path) -> None:
    path = built / "program"
    image = Image.open(path)
    slide = 0xFFFF_FFFF_8000_0000
    start, end = image.text
    loaded = LoadedImage(
        "[kernel]", ImageKind.KERNEL, start + slide, end + slide, image.table, slide,
        image.build_id, image.path,
    )  # fmt: skip
    source = SpaceLines()
    pc = start_of(path, "hot") + slide
    assert spelled(source.find(AddressSpace([loaded]), [pc])[pc])[-1] == ("hot", "program.c", 8)
    assert source.why(loaded) == ""
    source.close()


def test_what_was_found_is_kept_for_the_next_run(built: Path, tmp_path: Path) -> None:
    path, kept = built / "program", tmp_path / "deep" / "lines.sqlite"
    build_id = Image.open(path).build_id
    hot = start_of(path, "hot")
    first = SourceLines(str(path), build_id, LineCache(kept))
    found = first.find([hot])
    assert found[hot]
    first.close()
    again = SourceLines("/nowhere", build_id, LineCache(kept))
    assert again.find([hot]) == found
    assert again.by == ""  # nobody was asked
    other = SourceLines("/nowhere", b"another", LineCache(kept))
    assert other.find([hot]) == {hot: ()}
    assert "does not exist here" in other.why


def test_a_file_of_another_build_is_not_asked(built: Path) -> None:
    source = SourceLines(str(built / "program"), b"another")
    assert source.find([start_of(built / "program", "hot")]) == {
        start_of(built / "program", "hot"): ()
    }
    assert "of another build" in source.why


def test_a_damaged_cache_is_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "lines.sqlite"
    path.write_bytes(b"no database at all, and long enough to be taken for one" * 40)
    cache = LineCache(path)
    chains = {5: (SourceFrame("f", "f.c", 1),), (1 << 64) - 1: ()}
    cache.put(b"id", chains)
    cache.close()
    assert LineCache(path).get(b"id", [5, 6, (1 << 64) - 1]) == chains


@given(st.text() | st.binary())
def test_whatever_a_cache_holds_is_checked(held: str | bytes) -> None:
    cache = LineCache(Path(":memory:"))
    connection = cache._opened()
    assert connection is not None
    connection.execute("INSERT INTO lines VALUES (?, 5, ?)", (b"id", held))
    assert cache.get(b"id", [5]) in ({}, {5: ()})


def test_a_cache_of_another_version_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "lines.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE lines (something TEXT)")
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    cache = LineCache(path)
    cache.put(b"id", {5: ()})
    assert cache.get(b"id", [5]) == {5: ()}


def test_a_cache_that_cannot_be_made_is_done_without() -> None:
    cache = LineCache(Path("/proc/none/lines.sqlite"))
    cache.put(b"id", {5: ()})
    assert cache.get(b"id", [5]) == {}


def test_the_cache_is_where_the_platform_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/somewhere")
    assert default_cache() == Path("/var/somewhere/gprof/lines.sqlite")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert default_cache() == Path("/home/somebody/.cache/gprof/lines.sqlite")


def answering(folder: Path, says: str) -> str:
    """A program that answers every line with a text, in which %s is that line."""
    path = folder / "answering"
    path.write_text(
        f"#!{sys.executable}\nimport sys\n"
        f"for line in sys.stdin:\n    print({says!r}.replace('%s', line.strip()), flush=True)\n",
        encoding="utf-8",
    )
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


@pytest.mark.parametrize(
    "says",
    ["", "??", "[]", "{}", '{"Address": "0x6"}', "[" * 100_000, "x" * (2 << 20), "\x00\x1b[31m"],
)
def test_an_answer_that_makes_no_sense_ends_the_finder(tmp_path: Path, says: str) -> None:
    finder = Symbolizer(answering(tmp_path, says), "file")
    with pytest.raises(FinderFailed):
        finder.find([5])
    finder.close()


FIELDS = st.sampled_from(["Symbol", "FileName", "FunctionName", "Line", "Address"])
ANYTHING = st.recursive(
    st.none() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELDS, inner, max_size=3),
    max_leaves=12,
)


@given(ANYTHING)
def test_an_answer_of_any_shape_gives_frames_that_are_safe(content: object) -> None:
    from symbols.lines_by_program import _chain_of

    answer = json.dumps({"Address": "0x5", "Symbol": content})
    for one in _chain_of(answer, 5):
        assert one.file.isprintable()
        assert one.function.isprintable()
        assert one.line >= 0


def test_a_hostile_name_is_made_safe(tmp_path: Path) -> None:
    symbol = {"FunctionName": "a\x1b[31m", "FileName": "b\nc", "Line": -4}
    says = json.dumps({"Address": "%s", "Symbol": [symbol, 3, {"Line": 1}]})
    finder = Symbolizer(answering(tmp_path, says), "file")
    assert finder.find([5]) == [(SourceFrame("a\\x1b[31m", "b\\x0ac", 0),)]
    finder.close()


def test_the_next_finder_takes_over(
    built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if find_addr2line() is None:
        pytest.skip("addr2line is not installed (apt-get install binutils)")
    monkeypatch.setattr(lines_module, "find_symbolizer", lambda: answering(tmp_path, "nonsense"))
    monkeypatch.setitem(sys.modules, "drgn", None)
    path = built / "program"
    source = SourceLines(str(path))
    hot = start_of(path, "hot")
    assert spelled(source.find([hot])[hot])[-1] == ("hot", "program.c", 8)
    assert source.by == "addr2line"
    source.close()


def test_where_nothing_can_tell_it_is_said_what_to_install(
    built: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines_module, "find_symbolizer", lambda: None)
    monkeypatch.setattr(lines_module, "find_addr2line", lambda: None)
    monkeypatch.setitem(sys.modules, "drgn", None)
    source = SourceLines(str(built / "program"))
    assert source.find([5]) == {5: ()}
    assert "install llvm-symbolizer" in source.why


def test_a_file_without_debugging_information_is_told(built: Path) -> None:
    if shutil.which("strip") is None:
        pytest.skip("strip is not installed (apt-get install binutils)")
    stripped = built / "stripped"
    subprocess.run(["strip", "-g", "-o", stripped, built / "program"], check=True)
    source = SourceLines(str(stripped))
    assert source.find([5]) == {5: ()}
    assert "stripped has no debugging information" in source.why


@given(st.binary(max_size=200))
def test_any_bytes_instead_of_a_file(data: bytes) -> None:
    with tempfile.NamedTemporaryFile() as file:
        file.write(b"\x7fELF\x02\x01\x01" + data)
        file.flush()
        source = SourceLines(file.name)
        assert source.find([5]) == {5: ()}
        source.close()


def test_closing_does_not_wait_for_an_answer(
    built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = tmp_path / "silent"
    asked = tmp_path / "asked"
    silent.write_text(
        f"#!{sys.executable}\nimport pathlib, sys\nsys.stdin.readline()\n"
        f"pathlib.Path({str(asked)!r}).touch()\nfor _ in sys.stdin: pass\n",
        encoding="utf-8",
    )
    silent.chmod(0o755)
    monkeypatch.setattr(lines_module, "find_symbolizer", lambda: str(silent))
    source = SourceLines(str(built / "program"))
    found: list[dict[int, Chain]] = []
    waiting = threading.Thread(target=lambda: found.append(source.find([5])))
    waiting.start()
    wait_until(
        asked.exists, "the question", seen=lambda: f"asked: {waiting.is_alive()}", pause=0.02
    )
    assert waiting.is_alive()
    source.close()
    waiting.join(30)
    assert found == [{5: ()}]


def test_programs_end_with_what_asked_them(built: Path) -> None:
    finder = symbolizer(built / "program")
    assert isinstance(finder, Symbolizer)
    finder.find([start_of(built / "program", "hot")])
    process = finder._talk._process
    finder.close()
    assert process.poll() is not None
    with pytest.raises(FinderFailed, match="ended"):
        finder.find([5])
