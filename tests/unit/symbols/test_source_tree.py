"""Finding source files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from symbols.errors import SymbolsError
from symbols.source_tree import SourceTree, parse_map


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "linux" / "mm").mkdir(parents=True)
    (tmp_path / "linux" / "mm" / "fill.c").write_bytes(b"one\n\ttwo \x1b[31m\r\n\xff three")
    (tmp_path / "secret.c").write_bytes(b"secret\n")
    (tmp_path / "linux" / "passwords").write_bytes(b"root\n")
    return tmp_path / "linux"


@pytest.mark.parametrize(
    "file",
    ["mm/fill.c", "/build/linux-6.1/mm/fill.c", "debian/build/x/mm/fill.c", "./mm/../mm/fill.c"],
)
def test_the_longest_end_of_a_path_counts(tree: Path, file: str) -> None:
    source = SourceTree([tree])
    assert source.line(file, 1) == "one"
    assert source.line(file, 0) is None
    assert source.line(file, 4) is None


def test_what_a_file_holds_is_safe_to_show(tree: Path) -> None:
    source = SourceTree([tree])
    assert source.line("mm/fill.c", 2) == r"        two \x1b[31m"
    assert source.line("mm/fill.c", 3) == "\ufffd three"


def test_paths_can_be_mapped(tree: Path) -> None:
    source = SourceTree(mapped=[parse_map(f"/build/kernel={tree}")])
    assert source.line("/build/kernel/mm/fill.c", 1) == "one"
    assert source.line("/build/other/mm/fill.c", 1) is None


def test_an_absolute_path_that_is_here_is_taken(tree: Path) -> None:
    assert SourceTree().line(str(tree / "mm" / "fill.c"), 1) == "one"


@pytest.mark.parametrize(
    "file",
    [
        "../secret.c",
        "mm/../../secret.c",
        "passwords",
        "/etc/passwd",
        "/dev/zero",
        "a\0.c",
        "",
        "..",
    ],
)
def test_nothing_else_is_opened(tree: Path, file: str) -> None:
    assert SourceTree([tree]).line(file, 1) is None


def test_a_link_out_of_the_directory_is_not_followed(tree: Path) -> None:
    (tree / "out.c").symlink_to(tree.parent / "secret.c")
    assert SourceTree([tree]).line("out.c", 1) is None


def test_what_is_no_regular_file_is_not_read(tree: Path) -> None:
    os.mkfifo(tree / "pipe.c")
    assert SourceTree([tree]).line("pipe.c", 1) is None


def test_mistakes_are_told(tmp_path: Path) -> None:
    with pytest.raises(SymbolsError, match="no directory of sources"):
        SourceTree([tmp_path / "none"])
    for text in ("", "a", "=b", "a="):
        with pytest.raises(SymbolsError, match="maps no path"):
            parse_map(text)


@given(st.text(max_size=60), st.integers())
def test_any_path(file: str, line: int) -> None:
    found = SourceTree([Path(__file__).parent], [("a", "/nowhere")]).line(file, line)
    assert found is None or found.isprintable()
