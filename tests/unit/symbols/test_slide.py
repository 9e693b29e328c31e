from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import pytest

from symbols.elf import Image
from symbols.errors import MismatchError, SlideUnknown
from symbols.guest_identity import guest_identity, identity_of
from symbols.kallsyms import Kallsyms
from symbols.memory import BytesMemory, MemoryFault
from symbols.slide import Anchor, Method, Slide, Verified, find_kallsyms_slide, find_slide
from tests.unit.symbols.elf_files import (
    AARCH64,
    ALLOC,
    BANNER,
    EXECUTE,
    NOTES,
    RODATA,
    TEXT,
    ElfFile,
    NothingReadable,
    RunningAt,
    Sec,
    Sym,
    kernel,
)

MIB = 1 << 20
SLIDE = 0x1A20_0000
OTHER_BANNER = BANNER.replace(b"6.1.0-9-test", b"6.12.7-other")


@pytest.fixture
def image(tmp_path: Path) -> Image:
    return kernel().write(tmp_path / "vmlinux")


@pytest.fixture
def other(tmp_path: Path) -> Image:
    """Another build: its functions, banner and build id differ."""
    return kernel(build_id=b"\xcd" * 20, banner=OTHER_BANNER, shift=48).write(tmp_path / "other")


def kallsyms_of(image: Image, slide: int, *, data: bool = True) -> Kallsyms:
    lines = []
    for i in range(len(image.table)):
        symbol = image.table[i]
        lines.append(f"{(symbol.start + slide) % (1 << 64):016x} T {symbol.name}")
    if data:
        lines.append(f"{(RODATA + 0x100 + slide) % (1 << 64):016x} D linux_banner")
        assert image.notes is not None
        start, size = image.notes
        lines.append(f"{(start + slide) % (1 << 64):016x} R __start_notes")
        lines.append(f"{(start + size + slide) % (1 << 64):016x} R __stop_notes")
    return Kallsyms.parse("".join(line + "\n" for line in lines).encode())


def vector_of(image: Image, slide: int) -> Anchor:
    linked = image.address_of("asm_exc_divide_error")
    assert linked is not None
    return Anchor(("divide_error_absent", "asm_exc_divide_error"), linked + slide)


class Batched(RunningAt):
    """Memory that answers many probes at once."""

    def __init__(self, image: Image, slide: int) -> None:
        super().__init__(image, slide)
        self.calls: list[int] = []

    def readable(self, addresses: Sequence[int]) -> list[bool]:
        self.calls.append(len(addresses))
        found = []
        for address in addresses:
            try:
                self.read(address, 1)
            except MemoryFault:
                found.append(False)
            else:
                found.append(True)
        return found


@pytest.mark.parametrize("slide", [0, 2 * MIB, SLIDE, 510 * 2 * MIB - 0x100_0000])
def test_first_page_is_verified_by_build_id(image: Image, slide: int) -> None:
    found = find_slide(image, memory=RunningAt(image, slide))
    agreeing = (Method.FIRST_PAGE, Method.LINK_ADDRESS) if slide == 0 else (Method.FIRST_PAGE,)
    assert found == Slide(slide, Method.FIRST_PAGE, agreeing, Verified.BUILD_ID)


def test_probing_takes_few_round_trips(image: Image) -> None:
    memory = Batched(image, SLIDE)
    assert find_slide(image, memory=memory).offset == SLIDE
    assert 1 <= len(memory.calls) <= 4


def test_every_way_agrees(image: Image) -> None:
    found = find_slide(
        image,
        kallsyms=kallsyms_of(image, SLIDE),
        memory=RunningAt(image, SLIDE),
        anchor=vector_of(image, SLIDE),
        given=SLIDE,
    )
    assert found.verified == Verified.BUILD_ID
    assert found.agreeing == (
        Method.GIVEN,
        Method.KALLSYMS,
        Method.VECTOR,
        Method.FIRST_PAGE,
    )


def test_a_wrong_given_slide_is_overruled_by_memory(image: Image) -> None:
    found = find_slide(image, memory=RunningAt(image, SLIDE), given=SLIDE + 2 * MIB)
    assert (found.offset, found.method) == (SLIDE, Method.FIRST_PAGE)


def test_a_negative_slide_is_modulo_2_64(tmp_path: Path) -> None:
    image = kernel(machine=AARCH64).write(tmp_path / "vmlinux")
    slide = -0x7FFF_0000_0000 % (1 << 64)
    vector = vector_of(image, 0)
    moved = Anchor(vector.names, (vector.address + slide) % (1 << 64))
    found = find_slide(image, memory=RunningAt(image, slide), anchor=moved)
    assert found == Slide(slide, Method.VECTOR, (Method.VECTOR,), Verified.BUILD_ID)


def test_banner_proves_where_there_is_no_build_id(tmp_path: Path) -> None:
    file = kernel()
    file.sections = [s if s.name != ".notes" else Sec(".notes", b"", NOTES) for s in file.sections]
    image = file.write(tmp_path / "vmlinux")
    found = find_slide(image, memory=RunningAt(image, SLIDE))
    assert (found.offset, found.verified) == (SLIDE, Verified.BANNER)


def test_kallsyms_alone(image: Image) -> None:
    found = find_slide(image, kallsyms=kallsyms_of(image, SLIDE, data=False))
    assert found == Slide(SLIDE, Method.KALLSYMS, (Method.KALLSYMS,), Verified.SYMBOLS)


def test_nothing_but_the_file(image: Image) -> None:
    found = find_slide(image)
    assert (found.offset, found.method) == (0, Method.LINK_ADDRESS)
    assert found.verified == Verified.NOTHING


def test_given_alone(image: Image) -> None:
    assert find_slide(image, given=SLIDE) == Slide(
        SLIDE, Method.GIVEN, (Method.GIVEN,), Verified.NOTHING
    )


def test_given_against_kallsyms(image: Image) -> None:
    with pytest.raises(MismatchError, match=hex(SLIDE)):
        find_slide(image, kallsyms=kallsyms_of(image, SLIDE), given=0)


def test_the_wrong_vmlinux_is_named_by_the_banner_nearby(image: Image, other: Image) -> None:
    with pytest.raises(MismatchError) as caught:
        find_slide(image, memory=RunningAt(other, SLIDE))
    assert "6.1.0-9-test" in caught.value.problem
    assert "ab" * 20 in caught.value.problem
    assert "the guest runs 6.12.7-other" in caught.value.problem
    assert "cd" * 20 in caught.value.problem
    assert "6.12.7-other" in caught.value.remedy


def test_the_wrong_vmlinux_with_notes_elsewhere(image: Image, tmp_path: Path) -> None:
    file = kernel(build_id=b"\xcd" * 20, banner=OTHER_BANNER)
    moved = {".notes": NOTES + 5 * MIB, ".rodata": RODATA + 3 * MIB}
    file.sections = [
        Sec(s.name, s.data, moved.get(s.name, s.address), s.kind, s.flags, s.size)
        for s in file.sections
    ]
    guest = file.write(tmp_path / "guest")
    with pytest.raises(MismatchError, match=r"the guest runs 6\.12\.7-other"):
        find_slide(image, memory=RunningAt(guest, SLIDE))


def test_the_wrong_vmlinux_with_the_guests_kallsyms(image: Image, other: Image) -> None:
    kallsyms = kallsyms_of(other, SLIDE)
    with pytest.raises(MismatchError) as caught:
        find_slide(image, kallsyms=kallsyms, memory=RunningAt(other, SLIDE))
    assert f"the guest runs 6.12.7-other, build id {'cd' * 20}" in caught.value.problem


def test_the_wrong_vmlinux_by_kallsyms_alone(image: Image, other: Image) -> None:
    with pytest.raises(MismatchError, match="different kernels"):
        find_slide(image, kallsyms=kallsyms_of(other, SLIDE))


def test_kallsyms_of_another_boot(image: Image) -> None:
    with pytest.raises(MismatchError, match="another boot") as caught:
        find_slide(
            image,
            kallsyms=kallsyms_of(image, SLIDE + 4 * MIB),
            memory=RunningAt(image, SLIDE),
        )
    assert "/proc/kallsyms" in caught.value.remedy


def test_kallsyms_of_another_kernel_than_memory_and_vmlinux(image: Image, other: Image) -> None:
    with pytest.raises(MismatchError, match="another kernel"):
        find_slide(image, kallsyms=kallsyms_of(other, SLIDE), memory=RunningAt(image, SLIDE))


def test_unreadable_memory_leaves_kallsyms(image: Image) -> None:
    found = find_slide(image, kallsyms=kallsyms_of(image, SLIDE), memory=NothingReadable())
    assert (found.offset, found.verified) == (SLIDE, Verified.SYMBOLS)


def test_unreadable_memory_alone_is_unknown(image: Image) -> None:
    with pytest.raises(SlideUnknown, match=r"first mapped page|link address") as caught:
        find_slide(image, memory=NothingReadable())
    assert "booted" in caught.value.remedy


def test_a_vector_is_not_believed_where_memory_cannot_confirm_it(image: Image) -> None:
    with pytest.raises(SlideUnknown, match="exception vector"):
        find_slide(image, memory=NothingReadable(), anchor=vector_of(image, SLIDE))
    assert find_slide(image, anchor=vector_of(image, SLIDE)).offset == SLIDE


def test_memory_of_something_else_is_unknown(image: Image) -> None:
    with pytest.raises(SlideUnknown):
        find_slide(image, memory=BytesMemory([(TEXT, bytes(64 << 10))]))


def test_a_program_without_an_operating_system_is_not_the_guests_kernel(
    image: Image, tmp_path: Path
) -> None:
    file = kernel(build_id=b"\xcd" * 20)
    file.symbols = [s for s in file.symbols if s.name not in {"linux_banner", "_text"}]
    program = file.write(tmp_path / "program")
    with pytest.raises(MismatchError, match="program is not what the guest runs"):
        find_slide(program, memory=RunningAt(image, SLIDE))
    # Where nothing is mapped yet, the program may still be on its way.
    found = find_slide(program, memory=NothingReadable())
    assert found == Slide(0, Method.LINK_ADDRESS, (Method.LINK_ADDRESS,), Verified.NOTHING)


def test_a_program_without_an_operating_system(tmp_path: Path) -> None:
    image = ElfFile(
        [Sec(".text", bytes(range(64)), 0x10_0000, flags=ALLOC | EXECUTE)],
        [Sym("main", 0x10_0000, 64), Sym("_text", 0x10_0000)],
    ).write(tmp_path / "firmware")
    expected = Slide(0, Method.LINK_ADDRESS, (Method.LINK_ADDRESS,), Verified.NOTHING)
    for memory in (None, NothingReadable(), BytesMemory([(0x10_0000, bytes(range(64)))])):
        assert find_slide(image, memory=memory) == expected


class TestKallsymsWithoutVmlinux:
    def test_of_this_boot(self, image: Image) -> None:
        found = find_kallsyms_slide(
            kallsyms_of(image, SLIDE),
            memory=RunningAt(image, SLIDE),
            anchor=vector_of(image, SLIDE),
            architecture="x86_64",
        )
        assert found.offset == 0
        assert found.verified == Verified.BANNER
        assert found.agreeing == (Method.KALLSYMS, Method.VECTOR, Method.FIRST_PAGE)

    def test_a_system_map(self, image: Image) -> None:
        found = find_kallsyms_slide(
            kallsyms_of(image, 0), memory=RunningAt(image, SLIDE), architecture="x86_64"
        )
        assert (found.offset, found.method) == (SLIDE, Method.FIRST_PAGE)
        assert found.verified == Verified.BANNER

    def test_a_vector_where_no_data_is_listed(self, image: Image) -> None:
        found = find_kallsyms_slide(
            kallsyms_of(image, 0, data=False), anchor=vector_of(image, SLIDE)
        )
        assert (found.offset, found.method) == (SLIDE, Method.VECTOR)

    def test_a_trampolines_vector_is_not_believed(self, image: Image) -> None:
        found = find_kallsyms_slide(
            kallsyms_of(image, SLIDE, data=False),
            memory=RunningAt(image, SLIDE),
            anchor=vector_of(image, 0x7FFF_0000),
        )
        assert found.offset == 0

    def test_a_system_map_without_data_by_its_vector_and_memory(self, image: Image) -> None:
        found = find_kallsyms_slide(
            kallsyms_of(image, 0, data=False),
            memory=RunningAt(image, SLIDE),
            anchor=vector_of(image, SLIDE),
        )
        assert (found.offset, found.method) == (SLIDE, Method.VECTOR)

    def test_nothing_known(self, image: Image) -> None:
        found = find_kallsyms_slide(kallsyms_of(image, SLIDE))
        assert (found.offset, found.verified) == (0, Verified.NOTHING)

    def test_of_another_kernel(self, image: Image, tmp_path: Path) -> None:
        file = kernel()
        file.sections = [
            s if s.name != ".rodata" else Sec(s.name, bytes(4096), s.address) for s in file.sections
        ]
        guest = file.write(tmp_path / "guest")
        with pytest.raises(MismatchError, match="no kernel where it says"):
            find_kallsyms_slide(
                kallsyms_of(image, SLIDE), memory=RunningAt(guest, SLIDE), architecture="x86_64"
            )


def test_identity_of_hostile_memory_is_safe_to_show(image: Image) -> None:
    evil = b"Linux version 6.1\x1b[2J (x) " + bytes(600)
    kallsyms = Kallsyms.parse(b"ffffffff82000000 D linux_banner\nffffffff81000000 T f\n")
    seen = guest_identity(BytesMemory([(RODATA, evil)]), image=image, kallsyms=kallsyms)
    assert "\x1b" not in str(seen)
    assert seen.release.startswith("6.1")


def test_searching_for_a_banner_is_bounded(image: Image) -> None:
    class Everything:
        read_bytes = 0

        def read(self, address: int, size: int) -> bytes:
            self.read_bytes += size
            return b"Linux version %s (%s)\n\0".ljust(size, b"\0")

    memory = Everything()
    assert not guest_identity(memory, image=image, slides=[0, SLIDE])
    assert memory.read_bytes < 2 * 20 * MIB


def test_notes_of_nonsense(image: Image) -> None:
    """Notes that claim to be larger than they are give no build id, and no endless loop."""
    from symbols.notes import gnu_build_id

    for notes in (b"", bytes(100), b"\xff" * 100, struct.pack("<III", 4, 1 << 31, 3) + b"GNU\0"):
        assert gnu_build_id(notes, little_endian=True) == b""
    assert str(identity_of(image)) == f"6.1.0-9-test, build id {'ab' * 20}"
