"""Which instructions a guest has rewritten."""

from __future__ import annotations

import struct
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from symbols.disassembly import disassemble
from symbols.elf import Image
from symbols.memory import MemoryFault
from symbols.original import Original, _different
from symbols.patch_sites import PatchKind, PatchSites
from tests.unit.symbols.elf_files import (
    ALLOC,
    EXECUTE,
    NOTYPE,
    OBJECT,
    RODATA,
    TEXT,
    WRITE,
    ElfFile,
    Sec,
    Sym,
)

#: push %rbp; nop; mov 0xffffffff82000010(,%rax,8),%rbx; call +0; lock incl (%rax); jmp thunk; ret
CODE = bytes.fromhex("55 0f1f440000 488b1cc510000082 e800000000 f0ff00 e900000000 c3")
PUSH, NOP, MOV, CALL, LOCK, JMP, RET = 0, 1, 6, 14, 19, 22, 27
SLIDE = 0x1E20_0000


def relative(at: int, sites: list[int], rest: bytes = b"") -> bytes:
    step = 4 + len(rest)
    return b"".join(
        struct.pack("<i", site - (at + i * step)) + rest for i, site in enumerate(sites)
    )


def kernel(folder: Path) -> Image:
    """A kernel that lists one site of some kinds in each of its lists."""
    keys = relative(RODATA + 0x100, [TEXT + NOP], bytes(12))
    # s32 to the site, s32 to the replacement, u16 feature, u8 length of the site, of the other
    alternatives = relative(RODATA + 0x200, [TEXT + MOV], struct.pack("<iHBB", 0, 7, 8, 3))
    locks = relative(RODATA + 0x300, [TEXT + LOCK, RODATA])  # the vdso is no text
    locks += relative(RODATA + 0x308, [TEXT + LOCK] * 4)
    returns = relative(RODATA + 0x400, [TEXT + JMP])
    calls = struct.pack("<Q", TEXT)  # of ftrace: absolute
    data = bytearray(0x600)
    pairs = []
    for at, content, name in (
        (0x100, keys, ("__start___jump_table", "__stop___jump_table")),
        (0x200, alternatives, ("__alt_instructions", "__alt_instructions_end")),
        (0x300, locks, ("__smp_locks", "__smp_locks_end")),
        (0x400, returns, ("__return_sites", "__return_sites_end")),
        (0x500, calls, ("__start_mcount_loc", "__stop_mcount_loc")),
    ):
        data[at : at + len(content)] = content
        pairs += [(name[0], RODATA + at), (name[1], RODATA + at + len(content))]
    path = folder / "vmlinux"
    path.write_bytes(
        ElfFile(
            [
                Sec(".text", CODE.ljust(64, b"\xcc"), TEXT, flags=ALLOC | EXECUTE),
                Sec(".rodata", bytes(data), RODATA, flags=ALLOC | WRITE),
            ],
            [
                Sym("function", TEXT, len(CODE)),
                Sym("table", RODATA + 0x10, 32, OBJECT, section=2),
                *(Sym(name, at, kind=NOTYPE, section=2) for name, at in pairs),
            ],
        ).build()
    )
    return Image.open(path)


def test_the_lists_of_a_kernel(tmp_path: Path) -> None:
    sites = PatchSites.of(kernel(tmp_path))
    assert set(sites.kinds) == {
        PatchKind.STATIC_KEY,
        PatchKind.ALTERNATIVE,
        PatchKind.LOCK_PREFIX,
        PatchKind.RETURN_THUNK,
        PatchKind.FTRACE,
    }
    assert sites.kind(TEXT + NOP) is PatchKind.STATIC_KEY
    assert sites.kind(TEXT + MOV + 7) is PatchKind.ALTERNATIVE
    assert sites.kind(TEXT + MOV + 8) is None
    assert sites.kind(TEXT + LOCK) is PatchKind.LOCK_PREFIX
    assert sites.kind(TEXT - 1) is None
    assert sites.kind(RODATA) is None


def test_rewritten_instructions_are_found_and_relocated_ones_are_not(tmp_path: Path) -> None:
    original = Original(kernel(tmp_path), SLIDE)
    running = bytearray(CODE)
    address = struct.unpack_from("<I", running, MOV + 4)[0]
    struct.pack_into("<I", running, MOV + 4, (address + SLIDE) % (1 << 32))
    running[NOP : NOP + 5] = bytes.fromhex("e910000000")  # the key was turned
    running[LOCK] = 0x3E  # one vcpu: no lock, but a ds
    running[JMP : JMP + 5] = bytes.fromhex("c3cccccccc")
    running[RET] = 0xCC  # a kprobe
    start = TEXT + SLIDE
    found = original.patches(disassemble(bytes(running), start, "x86_64"), "x86_64")
    assert {at - start: patch.kind for at, patch in found.items() if patch.original} == {
        NOP: PatchKind.STATIC_KEY,
        LOCK: PatchKind.LOCK_PREFIX,
        JMP: PatchKind.RETURN_THUNK,
        RET: PatchKind.BREAKPOINT,
    }
    assert found[start + NOP].original[0].mnemonic == "nopl"
    fillers = [patch.kind for patch in found.values() if not patch.original]
    assert fillers == [PatchKind.RETURN_THUNK] * 4


def test_what_is_listed_nowhere_is_told_all_the_same(tmp_path: Path) -> None:
    original = Original(kernel(tmp_path))
    running = bytes.fromhex("e8eeffffff") + CODE[5:]
    found = original.patches(disassemble(running, TEXT + 0x20, "x86_64"), "x86_64")
    assert {patch.kind for patch in found.values()} == {PatchKind.UNKNOWN}


def test_unchanged_code_and_code_of_no_file_have_no_patches(tmp_path: Path) -> None:
    original = Original(kernel(tmp_path), SLIDE)
    assert original.patches(disassemble(CODE[:6], TEXT + SLIDE, "x86_64"), "x86_64") == {}
    assert original.patches(disassemble(CODE[:6], 0x1000, "x86_64"), "x86_64") == {}
    assert original.patches([], "x86_64") == {}
    with pytest.raises(MemoryFault, match="0x1000"):
        original.read(0x1000, 4)


def test_data_has_names(tmp_path: Path) -> None:
    original = Original(kernel(tmp_path), SLIDE)
    places = np.array([RODATA + SLIDE + 0x10, RODATA + SLIDE + 0x18, TEXT + SLIDE], np.uint64)
    table, inside, _ = places.tolist()
    assert original.objects_at(places) == {table: "table", inside: "table+0x8"}


@given(
    code=st.binary(min_size=12, max_size=40),
    slide=st.integers(1, (1 << 40) - 1).map(lambda pages: pages << 12),
    at=st.integers(0, 32),
    wide=st.booleans(),
    away=st.booleans(),
)
def test_an_address_that_moved_is_no_difference(
    code: bytes, slide: int, at: int, wide: bool, away: bool
) -> None:
    width = 8 if wide else 4
    at = min(at, len(code) - width)
    was = int.from_bytes(code[at : at + width], "little")
    now = (was - slide if away else was + slide) % (1 << 8 * width)
    live = code[:at] + now.to_bytes(width, "little") + code[at + width :]
    assert not _different(live, code, slide, little_endian=True).any()


@given(st.binary(max_size=40), st.binary(max_size=40), st.integers(0, (1 << 64) - 1))
def test_what_stays_different_differs(live: bytes, file: bytes, slide: int) -> None:
    size = min(len(live), len(file))
    different = _different(live[:size], file[:size], slide, little_endian=True)
    for i in np.flatnonzero(different):
        assert live[i] != file[i]


@given(st.binary(max_size=256), st.integers(0, 300))
def test_lists_of_any_bytes_give_sites_in_the_text_or_none(data: bytes, length: int) -> None:
    with tempfile.NamedTemporaryFile() as file:
        file.write(
            ElfFile(
                [
                    Sec(".text", CODE, TEXT, flags=ALLOC | EXECUTE),
                    Sec(".rodata", data, RODATA, flags=ALLOC),
                ],
                [
                    Sym("function", TEXT, len(CODE)),
                    Sym("__alt_instructions", RODATA, kind=NOTYPE, section=2),
                    Sym("__alt_instructions_end", RODATA + length, kind=NOTYPE, section=2),
                    Sym("__start_mcount_loc", RODATA, kind=NOTYPE, section=2),
                    Sym("__stop_mcount_loc", RODATA + length, kind=NOTYPE, section=2),
                ],
            ).build()
        )
        file.flush()
        sites = PatchSites.of(Image.open(file.name))
    for starts in sites.starts:
        assert ((starts >= TEXT) & (starts < TEXT + len(CODE))).all()
