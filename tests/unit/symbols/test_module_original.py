"""Which instructions of a module a guest has rewritten."""

from __future__ import annotations

import platform
import shutil
import subprocess
from pathlib import Path

import pytest

from symbols.disassembly import Flow, disassemble
from symbols.elf import Image
from symbols.memory import MemoryFault
from symbols.module_original import ModuleOriginal
from symbols.patch_sites import PatchKind
from tests.unit.symbols.elf_files import ALLOC, EXECUTE, REL, TEXT, ElfFile, Sec, Sym

SOURCE = r"""
extern int away(int);
extern void thunk(void);
int table[4];

int hot(int x)
{
    asm volatile("1: .byte 0x0f, 0x1f, 0x44, 0, 0\n"
        ".pushsection __jump_table, \"aw\"\n .long 1b - ., 1b - .\n .quad 0\n .popsection\n");
    return away(x) + table[x & 3];
}

__attribute__((naked)) int leaving(void)
{
    asm volatile("2: jmp thunk\n"
        ".pushsection .return_sites, \"a\"\n .long 2b - .\n .popsection\n");
}
"""
BASE = 0xFFFF_FFFF_C000_0000


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Image:
    if shutil.which("gcc") is None or platform.machine() != "x86_64":
        pytest.skip("gcc for x86-64 is not installed (apt-get install gcc)")
    folder = tmp_path_factory.mktemp("module")
    (folder / "m.c").write_text(SOURCE)
    subprocess.run(
        ["gcc", "-O2", "-fno-pie", "-mcmodel=kernel", "-fcf-protection=none", "-c", "m.c",
         "-o", "m.ko"],
        cwd=folder, check=True, timeout=60,
    )  # fmt: skip
    return Image.open(folder / "m.ko")


def test_what_was_filled_in_is_no_patch_and_what_was_rewritten_is(module: Image) -> None:
    text = module.section(".text")
    assert text is not None
    file = module.read(text.address, text.size)
    runtime = BASE + 0x100
    original = ModuleOriginal(module, [(runtime, runtime + text.size, text.address - runtime)])
    assert original.read(runtime, text.size) == file
    live = bytearray(file)
    calls = []
    for one in disassemble(file, 0, "x86_64"):
        if one.mnemonic == "callq" or one.flow is Flow.JUMP:
            live[one.address + 1 : one.address + 5] = b"\x11\x22\x33\x44"  # linked
            calls.append(one.address)
    assert len(calls) >= 2
    running = disassemble(bytes(live), runtime, "x86_64")
    assert original.patches(running, "x86_64") == {}

    key = bytes(live).index(bytes.fromhex("0f1f440000"))
    live[key : key + 5] = bytes.fromhex("e900000000")
    leave = calls[-1]
    live[leave : leave + 5] = bytes.fromhex("c3cccccccc")
    found = original.patches(disassemble(bytes(live), runtime, "x86_64"), "x86_64")
    kinds = {at - runtime: patch.kind for at, patch in found.items() if patch.original}
    assert kinds == {key: PatchKind.STATIC_KEY, leave: PatchKind.RETURN_THUNK}
    assert found[runtime + leave].original[0].mnemonic == "jmp"


def test_what_the_module_does_not_hold_cannot_be_compared(module: Image) -> None:
    original = ModuleOriginal(module, [(BASE, BASE + 8, -BASE)])
    with pytest.raises(MemoryFault, match="0x1000"):
        original.read(0x1000, 4)
    assert original.patches(disassemble(b"\x90" * 4, 0x1000, "x86_64"), "x86_64") == {}


def test_relocations_of_any_bytes_are_bounded(tmp_path: Path) -> None:
    path = tmp_path / "m.ko"
    path.write_bytes(
        ElfFile(
            [
                Sec(".text", b"\x90" * 16, flags=ALLOC | EXECUTE),
                Sec(".rela.text", b"\xff" * 50, kind=4, flags=0),
                Sec(".rela__jump_table", b"\xff" * 48, kind=4, flags=0),
                Sec(".rela.return_sites", bytes(24), kind=4, flags=0),
            ],
            [Sym("f", 0, 16)],
            type=REL,
        ).build()
    )
    original = ModuleOriginal(Image.open(path), [(TEXT, TEXT + 16, -TEXT)])
    running = disassemble(b"\xcc" * 16, TEXT, "x86_64")
    assert len(original.patches(running, "x86_64")) == 16 - 3  # the one at -1 reaches so far
