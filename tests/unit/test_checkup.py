"""What doctor finds, on a model of a stub."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from gprof.attach import Attached
from gprof.checkup import Check, Verdict, cost, examination, examine
from gprof.guest.address import Address
from gprof.guest.demo import demo_file
from symbols.slide import Method, Slide, Verified
from tests.qmp_model import QmpModel
from tests.stub_model import StubModel


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StubModel]:
    monkeypatch.setattr(cost, "_TRIAL_S", 0.05)
    model = StubModel(tmp_path / "gdb")
    yield model
    model.close()


def looked_at(model: StubModel, vmlinux: Path | None = None) -> dict[str, Check]:
    found = examine(str(model.path), vmlinux, None, None, hz=99, max_halted=1)
    return {check.name: check for check in found}


def test_a_guest_without_symbols(model: StubModel) -> None:
    found = looked_at(model)
    assert found["gdbstub"].verdict is Verdict.FINE
    assert found["guest"].seen == "x86_64, 2 vcpus, emulated (TCG)"
    assert found["symbols"].verdict is Verdict.MISSING
    assert "vmlinux" in found["symbols"].remedy
    assert found["cost"].seen.startswith("a stop halts the guest for ")
    assert "no symbols of the kernel were given" in found["samples"].seen
    assert model.soon_runs()


def test_a_vmlinux_that_is_not_the_guests_does_not_end_the_checkup(model: StubModel) -> None:
    # A page of another program where the file has its notes.
    elf = demo_file("demo.elf")
    model.memory = {0xFFFF_FFFF_8100_0: bytes(4096)}
    found = looked_at(model, elf)
    assert found["vmlinux"].verdict is Verdict.FINE
    assert found["guest"].verdict is Verdict.FINE
    assert model.soon_runs()


def test_files_that_are_something_else(model: StubModel) -> None:
    found = examine(
        str(model.path), Path("/etc/passwd"), demo_file("demo.elf"), None, hz=99, max_halted=1
    )
    failed = {check.name: check for check in found if check.verdict is Verdict.FAILED}
    assert set(failed) == {"vmlinux", "kallsyms"}
    assert all(check.exit_code == 5 for check in failed.values())


def test_a_guest_by_its_monitor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "_TRIAL_S", 0.05)
    model = QmpModel(tmp_path / "qmp")
    found = {
        check.name: check
        for check in examine(
            None,
            None,
            None,
            None,
            hz=99,
            max_halted=1,
            monitor=Address.parse(str(tmp_path / "qmp")),
        )
    }
    model.close()
    assert found["qmp"].seen.endswith("QEMU 7.2.22")
    assert found["guest"].seen == "x86_64, 2 vcpus, emulated (TCG)"
    assert found["memory"].verdict is Verdict.NOTICE  # the model's vcpus are no threads
    assert "gdbstub" in found["memory"].seen
    assert found["cost"].seen.startswith("the guest is not stopped")
    assert "no symbols of the kernel were given" in found["samples"].seen


def test_a_paused_guest_by_stub_and_monitor(tmp_path: Path, model: StubModel) -> None:
    monitor = QmpModel(tmp_path / "qmp")
    monitor.status = "paused"
    model.stop_by_other()
    found = {
        check.name: check
        for check in examine(
            str(model.path),
            None,
            None,
            None,
            hz=99,
            max_halted=1,
            monitor=Address.parse(str(monitor.path)),
        )
    }
    monitor.close()
    assert found["state"].verdict is Verdict.NOTICE
    assert "cost" not in found
    assert not model.running


def test_nobody_there(tmp_path: Path) -> None:
    found = examine(str(tmp_path / "none"), None, None, None, hz=99, max_halted=1)
    assert found[-1].verdict is Verdict.FAILED
    assert found[-1].exit_code == 4
    assert "gdbserver" in found[-1].remedy


def test_a_guest_that_stands_still_is_left_so(tmp_path: Path) -> None:
    model = StubModel(tmp_path / "gdb", running=False)
    found = looked_at(model)
    assert found["state"].verdict is Verdict.NOTICE
    assert "cost" not in found
    assert not model.running
    model.close()


def test_a_guest_that_has_not_come_to_its_kernel(model: StubModel, tmp_path: Path) -> None:
    model.pcs = [0x10_0000, 0x10_0040]
    bios = tmp_path / "bios.bin"
    bios.write_bytes(bytes(0x1000))
    named = (f"{bios}@0x100000", str(tmp_path / "missing"))
    checks = examine(str(model.path), None, None, None, hz=99, max_halted=1, named=named)
    symbols = [check for check in checks if check.name == "symbols"]
    assert [check.verdict for check in symbols] == [Verdict.FINE, Verdict.FAILED]
    assert symbols[0].seen.endswith("1 range, the first at 0x100000, 0 functions")
    found = {check.name: check for check in checks}
    assert found["memory"].seen == "the guest has not come to its kernel yet"
    assert "whose symbols are not known" in found["samples"].seen
    assert model.soon_runs()


@pytest.mark.parametrize(
    ("offset", "vmlinux", "seen"),
    [
        (0x400_0000, True, "+0x4000000 from where it was linked"),
        (0, True, "+0x0 from where it was linked"),
        (0, False, "where its symbols say"),
        (-0x20_0000 % (1 << 64), False, "-0x200000 from where its symbols say"),
    ],
)
def test_where_the_kernel_runs(offset: int, vmlinux: bool, seen: str) -> None:
    # Without a vmlinux nobody knows where it was linked: symbols of this boot have slid already.
    attached = SimpleNamespace(
        slide=Slide(offset, Method.VECTOR, (Method.VECTOR,), Verified.BANNER),
        sources=SimpleNamespace(image=object() if vmlinux else None),
    )
    checks: list[Check] = []
    examination._match(checks, cast("Attached", attached))
    (check,) = checks
    assert check.seen == f"the kernel runs {seen}, found by exception vector; verified by banner"
