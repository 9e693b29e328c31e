from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from symbols.elf import Image
from symbols.entry_trampoline import Trampoline
from symbols.errors import MismatchError
from symbols.kallsyms import Kallsyms
from symbols.kernel_space import UNNAMED_TRAMPOLINE, kernel_space, loaded_module, placed
from symbols.modules import Module
from symbols.space import ImageKind, Reason
from tests.unit.symbols.elf_files import (
    ALLOC,
    EXECUTE,
    FUNCTIONS,
    REL,
    STEP,
    TEXT,
    ElfFile,
    Sec,
    Sym,
    kernel,
)  # fmt: skip

SLIDE = 0x1A20_0000
TEXT_OF_GUEST = b"""\
ffffffff9b200000 T kernel_function
ffffffff9b200040 T last_kernel_function
ffffffff9b200080 T _etext
ffffffffc0310000 t virtio_work\t[virtio]
ffffffffc0310040 t virtio_more\t[virtio]
ffffffffc0400000 t gone_work\t[gone]
ffffffffc0312000 t bpf_prog_one\t[bpf]
ffffffffc0900000 t bpf_prog_two\t[bpf]
ffffffffc0a00000 t ftrace_trampoline\t[__builtin__ftrace]
"""
MODULES = (
    Module("bare", 0xFFFFFFFFC0500000, 0x4000),
    Module("virtio", 0xFFFFFFFFC0310000, 0x8000),
    Module("near", 0xFFFFFFFFC0316000, 0x1000),
)


def shape(name: str, kind: ImageKind, start: int, end: int) -> tuple[str, ImageKind, int, int]:
    return name, kind, start, end


def test_nothing_given() -> None:
    space = kernel_space()
    found = space.resolve(np.array([TEXT, 0x1000], np.uint64))
    assert list(found.reason) == [Reason.NO_KERNEL_SYMBOLS, Reason.USER_SPACE]


def test_vmlinux_at_its_slide(tmp_path: Path) -> None:
    image = kernel().write(tmp_path / "vmlinux")
    space = kernel_space(image=image, slide=SLIDE)
    (loaded,) = space.loaded()
    assert loaded.name == "[kernel]"
    assert loaded.kind == ImageKind.KERNEL
    assert (loaded.start, loaded.end) == (TEXT + SLIDE, TEXT + SLIDE + FUNCTIONS * STEP)
    assert loaded.build_id == image.build_id
    assert loaded.path == image.path
    at = space.symbol_at(TEXT + SLIDE + 5 * STEP + 3)
    assert at is not None
    assert at.symbol.name == "function_5"
    assert at.symbol.start == TEXT + SLIDE + 5 * STEP


def test_vmlinux_wins_over_kallsyms_but_modules_stay(tmp_path: Path) -> None:
    image = kernel().write(tmp_path / "vmlinux")
    space = kernel_space(image=image, kallsyms=Kallsyms.parse(TEXT_OF_GUEST), slide=SLIDE)
    assert not space.find("kernel_function")
    assert [at.image.name for at in space.find("virtio_work")] == ["virtio"]


def test_kallsyms_and_modules() -> None:
    space = kernel_space(kallsyms=Kallsyms.parse(TEXT_OF_GUEST), modules=MODULES)
    base = 0xFFFFFFFFC0000000
    assert [(i.name, i.kind, i.start, i.end) for i in space.loaded()] == [
        shape("[kernel]", ImageKind.KERNEL, 0xFFFFFFFF9B200000, 0xFFFFFFFF9B200080),
        # The range in /proc/modules claims the parts that lie elsewhere too: others win.
        shape("virtio", ImageKind.MODULE, base + 0x310000, base + 0x318000),
        shape("bpf", ImageKind.GENERATED, base + 0x312000, base + 0x313000),
        shape("near", ImageKind.MODULE, base + 0x316000, base + 0x317000),
        shape("gone", ImageKind.MODULE, base + 0x400000, base + 0x401000),
        shape("bare", ImageKind.MODULE, base + 0x500000, base + 0x504000),
        shape("bpf", ImageKind.GENERATED, base + 0x900000, base + 0x901000),
        shape("__builtin__ftrace", ImageKind.GENERATED, base + 0xA00000, base + 0xA01000),
    ]
    found = space.resolve(
        np.array([base + 0x310044, base + 0x312001, base + 0x316004, base + 0x500004], np.uint64)
    )
    names = [
        space.symbol(int(i), int(s)).symbol.name if s >= 0 else ""
        for i, s in zip(found.image, found.symbol, strict=True)
    ]
    assert names == ["virtio_more", "bpf_prog_one", "", ""]
    assert list(found.reason[2:]) == [Reason.NO_SYMBOLS, Reason.NO_SYMBOLS]
    assert [at.symbol.start for at in space.find("bpf_prog_two")] == [base + 0x900000]


def test_text_that_has_slid_brings_no_modules() -> None:
    space = kernel_space(kallsyms=Kallsyms.parse(TEXT_OF_GUEST), slide=0x20_0000)
    assert [image.name for image in space.loaded()] == ["[kernel]"]
    (at,) = space.find("kernel_function")
    assert at.symbol.start == 0xFFFFFFFF9B400000


def test_symbols_outside_their_modules_range_are_kept() -> None:
    text = b"ffffffffc0310000 t core\t[m]\nffffffffc0810000 t far\t[m]\n"
    modules = [Module("m", 0xFFFFFFFFC0310000, 0x4000)]
    space = kernel_space(kallsyms=Kallsyms.parse(text), modules=modules)
    assert [at.symbol.start for at in space.find("far")] == [0xFFFFFFFFC0810000]
    assert [at.symbol.start for at in space.find("core")] == [0xFFFFFFFFC0310000]


def module_file(tmp_path: Path, *, between: int = 0x20) -> Image:
    return ElfFile(
        [Sec(".text", bytes(0x80 + between), flags=ALLOC | EXECUTE)],
        [Sym("virtio_work", 0, 0x18), Sym("virtio_more", 0x20 + between, 0x10)],
        type=REL,
    ).write(tmp_path / "virtio.ko")


def test_a_modules_own_file_knows_sizes(tmp_path: Path) -> None:
    kallsyms = Kallsyms.parse(TEXT_OF_GUEST)
    module = MODULES[1]
    for table in (None, kallsyms.modules["virtio"]):
        image = loaded_module(module_file(tmp_path), module, table)
        space = kernel_space(kallsyms=kallsyms, modules=[module], module_images={"virtio": image})
        (at,) = space.find("virtio_more")
        assert (at.symbol.start, at.symbol.end) == (module.start + 0x40, module.start + 0x50)
        assert space.symbol_at(module.start + 0x18) is None


def test_a_modules_file_of_another_build_is_refused(tmp_path: Path) -> None:
    table = Kallsyms.parse(TEXT_OF_GUEST).modules["virtio"]
    with pytest.raises(MismatchError, match="virtio"):
        loaded_module(module_file(tmp_path, between=0x30), MODULES[1], table)
    with pytest.raises(MismatchError, match="virtio"):
        loaded_module(bare_metal(tmp_path), MODULES[1])


def bare_metal(tmp_path: Path) -> Image:
    return ElfFile(
        [
            Sec(".boot", bytes(64), 0x10_0000, flags=ALLOC | EXECUTE),
            Sec(".text", bytes(4096), TEXT, flags=ALLOC | EXECUTE),
        ],
        [Sym("boot", 0x10_0000, 8), Sym("edge", 0x10_003F, 1), Sym("main", TEXT, 8, section=2)],
    ).write(tmp_path / "firmware.elf")


def test_a_program_without_an_operating_system(tmp_path: Path) -> None:
    space = kernel_space(image=bare_metal(tmp_path), kernel_half=(0, (1 << 64) - 1))
    assert [(i.name, i.start, i.end) for i in space.loaded()] == [
        ("firmware.elf", 0x10_0000, 0x10_0040),
        ("firmware.elf", TEXT, TEXT + 4096),
    ]
    for name, start in [("boot", 0x10_0000), ("edge", 0x10_003F), ("main", TEXT)]:
        assert [at.symbol.start for at in space.find(name)] == [start], "found once"
        at = space.symbol_at(start)
        assert at is not None
        assert at.symbol.name == name


def test_firmware_where_it_was_linked_or_moved(tmp_path: Path) -> None:
    image = bare_metal(tmp_path)
    assert [piece.start for piece in placed(image)] == [0x10_0000, TEXT]
    moved = placed(image, 0x8000_0000)
    assert moved[0].start == 0x8000_0000
    assert moved[0].kind == ImageKind.FIRMWARE
    space = kernel_space(extra=moved)
    at = space.symbol_at(0x8000_0004)
    assert at is not None
    assert at.symbol.name == "boot"


def test_a_slide_over_the_end_of_the_address_space_loads_nothing(tmp_path: Path) -> None:
    image = kernel().write(tmp_path / "vmlinux")
    assert list(kernel_space(image=image, slide=(1 << 64) - TEXT - 10).loaded()) == []


def test_text_for_booting_has_names_beside_the_rest() -> None:
    base = 0xFFFF_FFFF_8100_0000
    text = "".join(
        f"{base + offset:x} {kind} {name}\n"
        for offset, kind, name in (
            (0, "T", "_stext"),
            (0x40, "T", "schedule"),
            (0x1000, "T", "_etext"),
            (0x200000, "T", "__init_begin"),
            (0x200000, "T", "_sinittext"),
            (0x200000, "t", "start_kernel"),
            (0x200400, "t", "rest_of_init"),
            (0x201000, "T", "_einittext"),
            (0x202000, "T", "__init_end"),
        )
    )
    kallsyms = Kallsyms.parse(text.encode())
    assert kallsyms.text == (base, base + 0x1000)
    space = kernel_space(kallsyms=kallsyms, slide=0x100000)
    for offset, name in (
        (0x48, "schedule"),
        (0x200008, "start_kernel"),
        (0x200444, "rest_of_init"),
    ):
        at = space.symbol_at(base + 0x100000 + offset)
        assert at is not None
        assert (at.image.name, at.symbol.name) == ("[kernel]", name)
    assert space.image_at(base + 0x100000 + 0x100000) is None


@pytest.mark.parametrize("listed", [True, False])
def test_code_that_runs_at_a_second_address_has_its_names_there(listed: bool) -> None:
    text = b"""\
ffff800008000000 T _text
ffff800009374000 T __entry_tramp_text_start
ffff800009374000 T tramp_vectors
ffff800009376000 T tramp_exit
ffff800009377000 T __entry_tramp_text_end
"""
    lines = text.splitlines(keepends=True)
    given = Kallsyms.parse(text if listed else lines[0])
    start = 0xFFFF_FBFF_FDBF_5000
    space = kernel_space(kallsyms=given, trampoline=Trampoline(start, start + 0x3000, 0x4157_0000))
    found = space.resolve(np.array([start + 0x404, start + 0x2008, start + 0x3000], np.uint64))
    names = [
        space.symbol(int(image), int(symbol)).symbol.name if symbol >= 0 else None
        for image, symbol in zip(found.image, found.symbol, strict=True)
    ]
    assert names == (["tramp_vectors", "tramp_exit", None] if listed else [None] * 3)
    assert [space.images[image].name for image in found.image[:2]] == (
        ["[kernel]"] * 2 if listed else [UNNAMED_TRAMPOLINE] * 2
    )
    assert [Reason(reason) for reason in found.reason[1:]] == [
        Reason.RESOLVED if listed else Reason.NO_SYMBOLS, Reason.NO_IMAGE,
    ]  # fmt: skip
