"""What `-i` takes: recordings of gprof and of perf, by any way, told apart by their content."""

from __future__ import annotations

import io
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gprof.errors import FormatError, UsageError
from gprof.given_symbols import GivenSymbols
from gprof.inputs import Input, load
from gprof.profile.profile import Guest, Profile
from gprof.profile.view import tabulate
from gprof.recording.writer import save
from gprof.sampling.source import SampleBatch
from symbols.elf import Image
from symbols.errors import MismatchError
from symbols.kernel_space import kernel_space
from symbols.space import AddressSpace, ImageKind, LoadedImage
from tests import perf_writer as write
from tests.profiles import synthetic
from tests.unit.symbols.elf_files import TEXT, kernel


def perf_data() -> bytes:
    return write.perf_pipe(
        write.sample(ip=TEXT + 64, pid=7) + write.sample(ip=TEXT, pid=7, misc=1, time=2)
    )


class Stdin:
    """Standard input that holds some bytes."""

    def __init__(self, data: bytes) -> None:
        self.buffer = io.BufferedReader(io.BytesIO(data))


def through(way: str, data: bytes, tmp_path: Path, patch: pytest.MonkeyPatch) -> Path:
    if way == "stdin":
        patch.setattr(sys, "stdin", Stdin(data))
        return Path("-")
    path = tmp_path / "anything"
    if way == "directory":
        path.mkdir()
        (path / "data").write_bytes(data)
    else:
        path.write_bytes(data)
    return path


@pytest.mark.parametrize("way", ["file", "directory", "stdin"])
def test_perf_s_recordings_are_read(
    way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "vmlinux").write_bytes(kernel().build())
    given = GivenSymbols.of([str(tmp_path / "vmlinux")])
    loaded = load(through(way, perf_data(), tmp_path, monkeypatch), given)
    assert loaded.profile.samples.pc.tolist() == [TEXT + 64]
    assert loaded.profile.facts.way == "perf"
    assert [(guest.name, guest.pid) for guest in loaded.profile.guests.values()] == [("pid 7", 7)]
    at = loaded.profile.space(0).symbol_at(TEXT + 64)
    assert at is not None
    assert at.symbol.name == "function_1"
    assert loaded.code[0].read(TEXT, 3) == bytes([0, 1, 2])


@pytest.mark.parametrize("way", ["file", "stdin"])
def test_our_recordings_are_read(way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(synthetic(100), tmp_path / "x.gprof")
    data = (tmp_path / "x.gprof").read_bytes()
    loaded = load(through(way, data, tmp_path, monkeypatch), GivenSymbols())
    assert np.array_equal(loaded.profile.samples.pc, synthetic(100).samples.pc)
    assert loaded.profile.space(0).find("default_idle")


def test_the_host_s_samples_are_there_when_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "perf.data"
    path.write_bytes(perf_data())
    loaded = load(path, GivenSymbols(), host=True)
    assert {guest.name: guest.pid for guest in loaded.profile.guests.values()} == {
        "pid 7": 7,
        "host": -1,
    }


def test_what_is_none_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError):
        load(tmp_path / "none", GivenSymbols())
    with pytest.raises(FormatError):
        load(tmp_path, GivenSymbols())
    for data in (b"", b"garbage"):
        with pytest.raises(FormatError):
            load(through("stdin", data, tmp_path, monkeypatch), GivenSymbols())


def recorded(tmp_path: Path, *pids: int) -> Path:
    guests = {i: Guest(i, f"vm{i}", "x86_64", (0,), pid=pid) for i, pid in enumerate(pids)}
    samples = SampleBatch.of([TEXT + 64] * len(pids), guest=range(len(pids)))
    path = tmp_path / "several.gprof"
    save(Profile(samples, synthetic(1).facts, guests, {}), path)
    return path


def names(loaded: Input) -> list[str | None]:
    found = []
    for number in loaded.profile.guests:
        at = loaded.profile.space(number).symbol_at(TEXT + 64)
        found.append(at.symbol.name if at else None)
    return found


def test_recorded_guests_take_the_files_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "vmlinux").write_bytes(kernel().build())
    path = recorded(tmp_path, 7, 8, -1)
    assert names(load(path, GivenSymbols())) == [None, None, None]
    assert names(load(path, GivenSymbols.of([f"8={tmp_path / 'vmlinux'}"]))) == [
        None, "function_1", None,
    ]  # fmt: skip
    assert names(load(path, GivenSymbols.of([str(tmp_path / "vmlinux")]))) == [
        "function_1", "function_1", None,
    ]  # fmt: skip
    with pytest.raises(UsageError, match="guest 9"):
        load(path, GivenSymbols.of([f"9={tmp_path / 'vmlinux'}"]))


def test_a_guest_without_a_pid_takes_the_only_files(tmp_path: Path) -> None:
    (tmp_path / "vmlinux").write_bytes(kernel().build())
    path = recorded(tmp_path, 0)
    assert names(load(path, GivenSymbols.of([str(tmp_path / "vmlinux")]))) == ["function_1"]


def test_a_vmlinux_of_another_build_than_the_recording_s_is_refused(tmp_path: Path) -> None:
    (tmp_path / "vmlinux").write_bytes(kernel().build())
    save(load_profile(tmp_path, GivenSymbols.of([str(tmp_path / "vmlinux")])), tmp_path / "x.gprof")
    (tmp_path / "other").write_bytes(kernel(build_id=b"\x01" * 20).build())
    assert names(load(tmp_path / "x.gprof", GivenSymbols())) == ["function_1"]
    with pytest.raises(MismatchError, match="the recorded guest ran"):
        load(tmp_path / "x.gprof", GivenSymbols.of([str(tmp_path / "other")]))


def load_profile(tmp_path: Path, given: GivenSymbols) -> Profile:
    path = tmp_path / "perf.data"
    path.write_bytes(perf_data())
    return load(path, given).profile


def test_a_vmlinux_names_every_boot_of_its_kernel(tmp_path: Path) -> None:
    (tmp_path / "vmlinux").write_bytes(kernel().build())
    (tmp_path / "loader.bin").write_bytes(bytes(16))
    ours = kernel_space(image=Image.open(tmp_path / "vmlinux"), slide=0x100000).images[0]
    ours = replace(ours, table=None)
    other = LoadedImage("[kernel]", ImageKind.KERNEL, TEXT, TEXT + 4096, build_id=b"other")
    module = LoadedImage("zram", ImageKind.MODULE, TEXT - (1 << 24), TEXT - (1 << 24) + 4096)
    first = AddressSpace([ours, module])
    second = AddressSpace([other]).following((first,), 10)
    third = AddressSpace(starting=True, since_ns=20, earlier=(first, second))
    pcs = [TEXT + 0x100000 + 64, TEXT + 64, TEXT + 64, 0x7E00, module.start]
    batch = SampleBatch.of(pcs, time=[0, 10, 20, 20, 0])
    guests = {0: Guest(0, "vm", "x86_64", (0,))}
    save(Profile(batch, synthetic(1).facts, guests, {0: third}), tmp_path / "x.gprof")
    given = GivenSymbols.of(
        [str(tmp_path / "vmlinux")], named=[f"{tmp_path / 'loader.bin'}@0x7e00"]
    )
    rows = tabulate(load(tmp_path / "x.gprof", given).profile).rows
    assert {(row.label, row.module, row.self_weight) for row in rows} == {
        ("function_1", "[kernel]", 1),
        ("[kernel]+0x0", "[kernel]", 1),
        (f"{TEXT:#x}", "[unknown]", 1),
        ("[loader.bin]+0x0", "loader.bin", 1),
        ("[zram]+0x0", "zram", 1),
    }


def test_a_recording_is_read_without_what_samples_a_guest() -> None:
    code = (
        "import sys; import gprof.inputs, gprof.annotator, gprof.choosing;"
        "assert not {'gprof.attach', 'gprof.perf_spaces', 'capstone'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
