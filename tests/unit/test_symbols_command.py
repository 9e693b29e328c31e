"""`gprof symbols` where it cannot work: what it says, and what it leaves behind."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gprof.attach import attach
from gprof.cli.main import main
from gprof.guest.address import Address
from gprof.sources import Sources
from tests.stub_model import StubModel


@pytest.fixture
def model(tmp_path: Path) -> Iterator[StubModel]:
    model = StubModel(tmp_path / "gdb")
    yield model
    model.close()


def run(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["gprof", "symbols", *words])
    return main()


def test_a_guest_without_linux_has_none(
    model: StubModel,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "kallsyms"
    assert run(monkeypatch, "--gdb", str(model.path), "-o", str(out)) == 5
    said = capsys.readouterr().err
    assert "the guest has no kernel where Linux would be" in said
    assert "Try again once it has booted" in said
    assert not out.exists()


def test_a_guest_that_is_not_there_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "--gdb", str(tmp_path / "no"), "-o", str(tmp_path / "kallsyms")) == 4
    assert "no socket" in capsys.readouterr().err


def test_such_a_guest_is_attached_to_without_symbols(model: StubModel) -> None:
    attached = attach(Address.parse(str(model.path)), Sources())
    attached.close()
    assert attached.slide is None
    assert attached.introspected.kernel is None
    assert len(attached.introspected.problems) == 1
    assert attached.introspected.cost.size == 0
    assert not attached.space.images
