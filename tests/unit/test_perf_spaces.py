"""What the addresses of perf's guests mean: where each kernel ran, by what the recording tells."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from gprof.given_symbols import GivenSymbols
from gprof.live import Live
from gprof.perf_spaces import NamedPerf, PerfSpaces
from gprof.sampling.perf_guests import HOST, GuestModule, KernelReference, PerfGuest
from gprof.sampling.source import Mode, SampleBatch, SourceFacts
from symbols.errors import MismatchError, SlideUnknown
from symbols.space import ImageKind
from tests.unit.symbols.elf_files import FUNCTIONS, STEP, TEXT
from tests.unit.symbols.elf_files import kernel as kernel_file

SLIDE = 0x1200_0000
MODULE = 0xFFFF_FFFF_C040_0000
BUILD_ID = b"\xab" * 20


class Recorded:
    """A recording of guests that are known beforehand."""

    def __init__(self, *guests: PerfGuest, architecture: str = "x86_64") -> None:
        self.met = guests
        self.architecture = architecture

    def guests(self) -> tuple[PerfGuest, ...]:
        return self.met


def guest(number: int = 0, pid: int = 7, **known: object) -> PerfGuest:
    return PerfGuest(number, pid, f"pid {pid}", (0,), **known)  # type: ignore[arg-type]


def noted(slide: int = SLIDE) -> KernelReference:
    """What perf notes of a guest whose kernel runs at a slide."""
    end = TEXT + slide + STEP * FUNCTIONS
    return KernelReference("_text", TEXT + slide, TEXT + slide, end)


@pytest.fixture
def vmlinux(tmp_path: Path) -> Path:
    path = tmp_path / "vmlinux"
    path.write_bytes(kernel_file().build())
    return path


def kallsyms(path: Path, slide: int = 0, *, modules: int = 0) -> Path:
    lines = [f"{TEXT + slide:x} T _text"]
    lines += [f"{TEXT + slide + STEP * i:x} T function_{i}" for i in range(FUNCTIONS)]
    lines += [f"{MODULE + STEP * i:x} t ext4_{i}\t[ext4]" for i in range(modules)]
    path.write_text("\n".join(lines) + "\n")
    return path


def named(spaces: PerfSpaces, number: int, address: int) -> str | None:
    at = spaces.spaces[number].symbol_at(address)
    return at.symbol.name if at else None


def pcs(*addresses: int) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    return np.array(addresses, np.uint64)


def check(spaces: PerfSpaces, *addresses: int, number: int = 0) -> None:
    length = len(addresses)
    spaces.refuse_doubtful(
        np.full(length, number, np.uint16), pcs(*addresses), np.ones(length, np.bool_)
    )


def test_the_slide_comes_from_kallsyms(vmlinux: Path, tmp_path: Path) -> None:
    given = GivenSymbols.of([str(vmlinux)], [str(kallsyms(tmp_path / "k", SLIDE))])
    spaces = PerfSpaces(given)
    guests, _ = spaces.follow(Recorded(guest()))
    assert named(spaces, 0, TEXT + SLIDE + 5 * STEP) == "function_5"
    assert guests[0].kernel == "6.1.0-9-test"
    assert (guests[0].pid, guests[0].architecture, guests[0].vcpus) == (7, "x86_64", (0,))
    check(spaces, TEXT + SLIDE + 5 * STEP)
    # The vmlinux has the code, at the addresses of the guest.
    assert spaces.code[0].read(TEXT + SLIDE, 4) == bytes(range(4))


def test_the_slide_comes_from_what_perf_noted(vmlinux: Path) -> None:
    spaces = PerfSpaces(GivenSymbols.of([str(vmlinux)]))
    spaces.follow(Recorded(guest(reference=noted())))
    assert named(spaces, 0, TEXT + SLIDE + 5 * STEP) == "function_5"
    check(spaces, 0xFFFF_FFFF_9000_0000)  # perf's word is not doubted


def test_a_vmlinux_alone_is_right_where_the_samples_say_so(vmlinux: Path) -> None:
    spaces = PerfSpaces(GivenSymbols.of([str(vmlinux)]))
    spaces.follow(Recorded(guest()))
    assert named(spaces, 0, TEXT + 5 * STEP) == "function_5"
    check(spaces, TEXT, TEXT + 5, MODULE)
    with pytest.raises(SlideUnknown, match="KASLR") as caught:
        check(spaces, TEXT + SLIDE, TEXT + SLIDE + 64, TEXT + 5)
    assert "--guestkallsyms" in caught.value.remedy


def test_most_samples_in_modules_are_no_doubt_of_kallsyms(tmp_path: Path) -> None:
    text = kallsyms(tmp_path / "k", modules=10)
    spaces = PerfSpaces(GivenSymbols.of(kallsyms=[str(text)]))
    spaces.follow(Recorded(guest()))
    check(spaces, *[MODULE + 5] * 9, TEXT)
    assert named(spaces, 0, MODULE + STEP) == "ext4_1"


def test_a_kallsyms_of_another_guest_is_refused(tmp_path: Path) -> None:
    given = GivenSymbols.of(kallsyms=[str(kallsyms(tmp_path / "k", SLIDE))])
    spaces = PerfSpaces(given)
    spaces.follow(Recorded(guest(), guest(1, 8)))
    check(spaces, TEXT + SLIDE)
    with pytest.raises(SlideUnknown, match="pid 8 is of another boot or another guest"):
        check(spaces, TEXT, TEXT + 64, number=1)


def test_few_samples_of_a_stream_are_not_judged_yet(vmlinux: Path) -> None:
    spaces = PerfSpaces(GivenSymbols.of([str(vmlinux)]))
    spaces.follow(Recorded(guest()))
    one, elsewhere, kernel = np.zeros(1, np.uint16), pcs(TEXT + SLIDE), np.ones(1, np.bool_)
    for _ in range(20):
        spaces.refuse_doubtful(one, elsewhere, ~kernel, at_least=10)  # user space tells nothing
    for _ in range(9):
        spaces.refuse_doubtful(one, elsewhere, kernel, at_least=10)
    with pytest.raises(SlideUnknown):
        spaces.refuse_doubtful(one, elsewhere, kernel, at_least=10)


def test_another_kernel_s_vmlinux_is_refused(vmlinux: Path) -> None:
    spaces = PerfSpaces(GivenSymbols.of([str(vmlinux)]))
    spaces.follow(Recorded(guest(build_id=BUILD_ID)))
    with pytest.raises(MismatchError, match="the recorded guest pid 8 ran") as caught:
        spaces.follow(Recorded(guest(1, 8, build_id=b"\x01" * 20)))
    assert "PID=FILE" in caught.value.remedy


def test_another_architecture_s_vmlinux_is_refused(vmlinux: Path) -> None:
    with pytest.raises(MismatchError, match="the guest is aarch64"):
        PerfSpaces(GivenSymbols.of([str(vmlinux)])).follow(
            Recorded(guest(), architecture="aarch64")
        )


def test_a_kallsyms_that_contradicts_perf_is_refused_beside_a_vmlinux(
    vmlinux: Path, tmp_path: Path
) -> None:
    given = GivenSymbols.of([str(vmlinux)], [str(kallsyms(tmp_path / "k"))])
    with pytest.raises(MismatchError, match="of another boot: it has _text at") as caught:
        PerfSpaces(given).follow(Recorded(guest(reference=noted())))
    assert "Leave it out" in caught.value.remedy


def test_a_kallsyms_of_another_boot_is_moved_to_where_perf_saw_the_kernel(tmp_path: Path) -> None:
    given = GivenSymbols.of(kallsyms=[str(kallsyms(tmp_path / "k", modules=3))])
    modules = (GuestModule("ext4", MODULE + 0x100_0000, 0x4000),)
    spaces = PerfSpaces(given)
    spaces.follow(Recorded(guest(reference=noted(), modules=modules)))
    assert named(spaces, 0, TEXT + SLIDE + 5 * STEP) == "function_5"
    # A module is elsewhere at every boot: it has a range, by the recording, and no names.
    assert named(spaces, 0, MODULE) is None
    image = spaces.spaces[0].image_at(MODULE + 0x100_0000)
    assert image is not None
    assert (image.name, image.table) == ("ext4", None)
    check(spaces, TEXT)  # perf's word again


def test_without_files_the_recording_s_ranges_are_known() -> None:
    modules = (GuestModule("ext4", MODULE, 0x4000), GuestModule("empty", 0, 0))
    spaces = PerfSpaces(GivenSymbols())
    spaces.follow(Recorded(guest(reference=noted(), modules=modules), guest(1, HOST)))
    found = [(i.name, i.kind, i.start) for i in spaces.spaces[0].images]
    assert found == [
        ("[kernel]", ImageKind.KERNEL, TEXT + SLIDE),
        ("ext4", ImageKind.MODULE, MODULE),
    ]
    assert spaces.spaces[1].images == ()
    assert spaces.guests[1].pid == HOST


def test_what_is_learnt_later_counts(vmlinux: Path) -> None:
    """A pipe tells of a guest's maps after its first samples."""
    spaces = PerfSpaces(GivenSymbols.of([str(vmlinux)]))
    spaces.follow(Recorded(guest()))
    before = spaces.spaces[0]
    spaces.follow(Recorded(guest()))
    assert spaces.spaces[0] is before
    spaces.follow(Recorded(guest(reference=noted())))
    assert named(spaces, 0, TEXT + SLIDE) == "function_0"


class Streaming(Recorded):
    """A recording whose guests appear one after another."""

    def batches(self) -> Iterator[SampleBatch]:
        for number in range(3):
            self.met = (*self.met, guest(number, 7 + number))
            yield SampleBatch.of([TEXT + STEP * number] * 5, guest=number, mode=Mode.KERNEL)

    def facts(self) -> SourceFacts:
        return SourceFacts("perf", "a stream")

    def close(self) -> None:
        self.met = ()


def test_guests_that_appear_while_it_goes_on_are_named(vmlinux: Path) -> None:
    spaces = PerfSpaces(GivenSymbols.of([str(vmlinux)]))
    source = NamedPerf(Streaming(), spaces)
    live = Live(source, source.known, memories=spaces.code)
    live.start()
    assert live.wait(60)
    assert live.failure is None
    profile = live.snapshot()
    assert [guest.pid for guest in profile.guests.values()] == [7, 8, 9]
    names = [
        at.symbol.name
        for number in range(3)
        if (at := profile.space(number).symbol_at(TEXT + STEP * number))
    ]
    assert names == ["function_0", "function_1", "function_2"]


def test_a_stream_elsewhere_ends_in_failure(tmp_path: Path) -> None:
    given = GivenSymbols.of(kallsyms=[str(kallsyms(tmp_path / "k", SLIDE))])
    source = NamedPerf(Streaming(), PerfSpaces(given))
    batches = source.batches()
    for _ in range(3):
        next(batches)  # five samples of each guest are too few to be judged
    many = NamedPerf(_Many(), PerfSpaces(given))
    with pytest.raises(SlideUnknown):
        list(many.batches())


class _Many(Streaming):
    def batches(self) -> Iterator[SampleBatch]:
        self.met = (guest(),)
        yield SampleBatch.of([TEXT] * 500, mode=Mode.KERNEL)
