"""ELF files made byte by byte, as small as a test needs them, and memory that holds one."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from symbols.elf import Image
from symbols.memory import MemoryFault
from symbols.table import Symbol

PROGBITS, SYMTAB, STRTAB, NOTE, NOBITS = 1, 2, 3, 7, 8
WRITE, ALLOC, EXECUTE = 1, 2, 4
CODE = ALLOC | EXECUTE
NOTYPE, OBJECT, FUNC, SECTION, FILE = 0, 1, 2, 3, 4
LOCAL, GLOBAL, WEAK = 0, 1, 2
X86_64, AARCH64, S390, I386 = 62, 183, 22, 3
EXEC, REL = 2, 1

TEXT = 0xFFFF_FFFF_8100_0000
RODATA = 0xFFFF_FFFF_8200_0000
NOTES = 0xFFFF_FFFF_8210_0000
BANNER = b"Linux version 6.1.0-9-test (builder@example.org) (gcc 12) #1 SMP 2026-01-01\n"
FUNCTIONS = 600
STEP = 64


@dataclass(frozen=True)
class Sec:
    name: str
    data: bytes = b""
    address: int = 0
    kind: int = PROGBITS
    flags: int = ALLOC
    size: int | None = None
    align: int = 16


@dataclass(frozen=True)
class Sym:
    name: str
    value: int
    size: int = 0
    kind: int = FUNC
    binding: int = GLOBAL
    section: int = 1


@dataclass
class ElfFile:
    """Sections are numbered from 1 in the order given; symbols name them by that number."""

    sections: Sequence[Sec]
    symbols: Sequence[Sym] = field(default_factory=list)
    bits: int = 64
    little: bool = True
    machine: int = X86_64
    type: int = EXEC
    segments: Sequence[tuple[int, int, int, bytes]] = ()
    entry: int = 0

    def build(self) -> bytes:
        order = "<" if self.little else ">"
        wide = self.bits == 64
        strtab = b"\0" + b"".join(s.name.encode() + b"\0" for s in self.symbols)
        at = 1
        symtab = bytes(24 if wide else 16)
        for symbol in self.symbols:
            info = symbol.binding << 4 | symbol.kind
            name = at if symbol.name else 0
            symtab += (
                struct.pack(
                    order + "IBBHQQ", name, info, 0, symbol.section, symbol.value, symbol.size
                )
                if wide
                else struct.pack(
                    order + "IIIBBH", name, symbol.value, symbol.size, info, 0, symbol.section
                )
            )
            at += len(symbol.name.encode()) + 1
        sections = [*self.sections]
        if self.symbols:
            sections += [
                Sec(".symtab", symtab, kind=SYMTAB, flags=0),
                Sec(".strtab", strtab, kind=STRTAB, flags=0),
            ]
        shstrtab = b"\0" + b"".join(s.name.encode() + b"\0" for s in sections) + b".shstrtab\0"
        sections.append(Sec(".shstrtab", shstrtab, kind=STRTAB, flags=0))
        header_size = 64 if wide else 52
        program_size = 56 if wide else 32
        body = bytearray(header_size + program_size * len(self.segments))
        programs = b""
        for kind, flags, address, data in self.segments:
            offset = len(body)
            body += data
            n = len(data)
            programs += (
                struct.pack(order + "IIQQQQQQ", kind, flags, offset, address, address, n, n, 4)
                if wide
                else struct.pack(order + "IIIIIIII", kind, offset, address, address, n, n, flags, 4)
            )
        body[header_size : header_size + len(programs)] = programs
        headers = bytes(64 if wide else 40)
        name = 1
        for number, section in enumerate(sections, 1):
            offset = len(body)
            body += section.data
            size = len(section.data) if section.size is None else section.size
            link = number + 1 if section.kind == SYMTAB else 0
            entry = len(bytes(24 if wide else 16)) if section.kind == SYMTAB else 0
            headers += struct.pack(
                order + ("IIQQQQIIQQ" if wide else "IIIIIIIIII"),
                name, section.kind, section.flags, section.address, offset, size, link, 0,
                section.align, entry,
            )  # fmt: skip
            name += len(section.name) + 1
        identity = b"\x7fELF" + bytes([2 if wide else 1, 1 if self.little else 2, 1]) + bytes(9)
        header = identity + struct.pack(
            order + ("HHIQQQIHHHHHH" if wide else "HHIIIIIHHHHHH"),
            self.type, self.machine, 1, self.entry, header_size if self.segments else 0,
            len(body), 0, header_size, program_size, len(self.segments), 64 if wide else 40,
            len(sections) + 1, len(sections),
        )  # fmt: skip
        body[:header_size] = header
        return bytes(body) + headers

    def write(self, path: Path) -> Image:
        path.write_bytes(self.build())
        return Image.open(path)


def note(name: bytes, kind: int, content: bytes, *, little: bool = True) -> bytes:
    order = "<" if little else ">"
    padded = [part + bytes(-len(part) % 4) for part in (name, content)]
    return struct.pack(order + "III", len(name), len(content), kind) + b"".join(padded)


def kernel(
    *,
    build_id: bytes = b"\xab" * 20,
    banner: bytes = BANNER,
    shift: int = 0,
    machine: int = X86_64,
) -> ElfFile:
    """A kernel of 600 functions; with `shift` those of the second half lie further up."""
    xen = note(b"Xen\0", 3, struct.pack("<Q", 0xFFFF_FFFF_8000_0000))
    text = bytes(i % 251 for i in range(STEP * FUNCTIONS + shift))
    starts = [TEXT + STEP * i + (shift if i >= FUNCTIONS // 2 else 0) for i in range(FUNCTIONS)]
    symbols = [
        Sym("_text", TEXT, kind=NOTYPE),
        Sym("_stext", TEXT, kind=NOTYPE),
        *(Sym(f"function_{i}", start, STEP) for i, start in enumerate(starts)),
        Sym("asm_exc_divide_error", starts[17] + 16, 8, kind=NOTYPE),
        Sym("_etext", TEXT + len(text), kind=NOTYPE),
        Sym("linux_banner", RODATA + 0x100, len(banner) + 1, kind=OBJECT, section=2),
        Sym("__start_notes", NOTES, kind=NOTYPE, section=3),
        Sym("cpu_number", 0x1000, 4, kind=OBJECT, section=4),
    ]
    return ElfFile(
        [
            Sec(".text", text, TEXT, flags=CODE),
            Sec(".rodata", (bytes(0x100) + banner).ljust(64 << 10, b"\0"), RODATA),
            Sec(".notes", xen + note(b"GNU\0", 3, build_id), NOTES, kind=NOTE),
            Sec(".data..percpu", bytes(0x2000), 0, flags=ALLOC | WRITE),
            Sec(".bss", b"", NOTES + 0x10_0000, kind=NOBITS, flags=ALLOC | WRITE, size=0x1000),
        ],
        symbols,
        machine=machine,
    )


class RunningAt:
    """The memory of a guest that runs an image, moved by a slide."""

    def __init__(self, image: Image, slide: int) -> None:
        self.image = image
        self.slide = slide
        self.reads = 0

    def read(self, address: int, size: int) -> bytes:
        self.reads += 1
        linked = (address - self.slide) % (1 << 64)
        if linked < 1 << 32:
            raise MemoryFault(address, size)  # link addresses of per-cpu data are no addresses
        try:
            return self.image.read(linked, size)
        except MemoryFault:
            raise MemoryFault(address, size) from None


class NothingReadable:
    """The memory of an encrypted guest."""

    def read(self, address: int, size: int) -> bytes:
        raise MemoryFault(address, size)


def symbols_of(image: Image) -> list[Symbol]:
    """All functions of an image, by address."""
    return [image.table[i] for i in range(len(image.table))]
