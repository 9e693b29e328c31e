"""Machine code as instructions, for every architecture that is sampled (by capstone)."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Literal, TypeAlias

from symbols.errors import SymbolsError

#: The two ways to write x86 instructions.
Syntax: TypeAlias = Literal["att", "intel"]


class Flow(Enum):
    """What comes after an instruction."""

    NEXT = auto()
    JUMP = auto()  # conditional or not
    CALL = auto()
    RETURN = auto()


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction, or bytes that are none.

    Attributes:
        address: of its first byte.
        size: in bytes.
        code: its bytes.
        mnemonic: `.byte` where the bytes are no instruction.
        operands: as the assembler writes them; may be empty.
        target: where a direct jump or call goes; None for everything else.
        flow: what comes after it.
    """

    address: int
    size: int
    code: bytes
    mnemonic: str
    operands: str
    target: int | None = None
    flow: Flow = Flow.NEXT


#: s390x calls and counted branches, which capstone 5 puts in no group of jumps.
_S390_BRANCHES = ("bras", "brct", "brxh", "brxl", "jct", "jxh", "jxl")
#: Calls and returns, where capstone 5 has no groups for them, or the wrong ones.
_CALLS = {
    "s390x": re.compile(r"br?asl?r?|bassm"),
    "riscv64": re.compile(r"(c\.)?jalr?"),
    "riscv32": re.compile(r"(c\.)?jalr?"),
    "ppc64": re.compile(r"b[a-z]*l[+-]?|b[a-z]*la[+-]?"),
}
_RETURNS = {
    "s390x": re.compile(r"lpswey?"),
    "riscv64": re.compile(r"ret|[ms]ret"),
    "riscv32": re.compile(r"ret|[ms]ret"),
    "ppc64": re.compile(r"b(eq|ne|lt|gt|le|ge|so|ns)?lr[+-]?|h?rfid"),
}
#: By the register that the ABI keeps return addresses in.
_PLAIN_RETURNS = {("br", "%r14"), ("c.jr", "ra"), ("jr", "ra")}
#: Length of an instruction by its first byte: z/Architecture Principles of Operation, "Instruction
#: Formats"; RISC-V ISA manual, "Base Instruction-Length Encoding" (up to 32 bits).
_LENGTHS: dict[str, Callable[[int], int]] = {
    "s390x": lambda first: (2, 4, 4, 6)[first >> 6],
    "riscv64": lambda first: 4 if first & 3 == 3 else 2,
    "riscv32": lambda first: 4 if first & 3 == 3 else 2,
}
#: Instructions of x86 without operands that kernels have and capstone 5 lacks: Intel SDM, volume 2,
#: and the TDX module's specification; AMD APM, volume 3.
_X86_UNKNOWN = {
    b"\x0f\x01\xe8": "serialize",
    b"\x0f\x01\xc6": "wrmsrns",
    b"\x0f\x01\xfd": "rdpru",
    b"\x0f\x01\xfe": "invlpgb",
    b"\x0f\x01\xff": "tlbsync",
    b"\x66\x0f\x01\xcc": "tdcall",
    b"\xf2\x0f\x01\xe8": "xsusldtrk",
    b"\xf2\x0f\x01\xe9": "xresldtrk",
    b"\xf2\x0f\x01\xfe": "rmpupdate",
    b"\xf2\x0f\x01\xff": "pvalidate",
    b"\xf3\x0f\x01\xfe": "rmpadjust",
    b"\xf3\x0f\x01\xff": "psmash",
}
_RELATIVE = {"riscv64", "riscv32"}  # capstone 5 gives the distance, not the address
_X86 = {"x86_64", "i386", "i8086"}
_BITS_32 = {"i386", "i8086", "riscv32"}


def disassemble(
    code: bytes,
    address: int,
    architecture: str,
    *,
    syntax: Syntax = "att",
    little_endian: bool | None = None,
) -> list[Instruction]:
    """The instructions of `code`, which starts at `address`; every byte is in exactly one.

    Bytes that are no instruction, or one that capstone does not know, become `.byte`: as many as
    the architecture says that they are.

    Args:
        code: machine code.
        address: of its first byte.
        architecture: as `Image.architecture` names it, or `i8086` for x86 in 16-bit mode.
        syntax: of x86.
        little_endian: byte order of instructions; None for the architecture's usual one.

    Raises:
        SymbolsError: the architecture is unknown.
    """
    decoder = _decoder(architecture, syntax, little_endian)
    names = _X86_UNKNOWN if architecture in _X86 else {}
    found = [
        Instruction(i.address, i.size, bytes(i.bytes), names[bytes(i.bytes)], "")
        if bytes(i.bytes) in names
        else Instruction(
            i.address,
            i.size,
            bytes(i.bytes),
            i.mnemonic,
            i.op_str,
            _target(i, architecture),
            _flow(i, architecture),
        )
        for i in decoder.disasm(code, address)
    ]
    # Fewer bytes than the smallest instruction may be left at the end.
    done = sum(instruction.size for instruction in found)
    if done < len(code):
        rest = code[done:]
        operands = ", ".join(f"{byte:#04x}" for byte in rest)
        found.append(Instruction(address + done, len(rest), rest, ".byte", operands))
    return found


def _decoder(architecture: str, syntax: Literal["att", "intel"], little_endian: bool | None) -> Any:
    import capstone as cs  # noqa: PLC0415  takes a tenth of a second, and few commands need it

    known = {
        "x86_64": (cs.CS_ARCH_X86, cs.CS_MODE_64, True),
        "i386": (cs.CS_ARCH_X86, cs.CS_MODE_32, True),
        "i8086": (cs.CS_ARCH_X86, cs.CS_MODE_16, True),
        "aarch64": (cs.CS_ARCH_ARM64, 0, True),
        "s390x": (cs.CS_ARCH_SYSZ, 0, False),
        "riscv64": (cs.CS_ARCH_RISCV, cs.CS_MODE_RISCV64 | cs.CS_MODE_RISCVC, True),
        "riscv32": (cs.CS_ARCH_RISCV, cs.CS_MODE_RISCV32 | cs.CS_MODE_RISCVC, True),
        "ppc64": (cs.CS_ARCH_PPC, cs.CS_MODE_64, True),
    }
    if architecture not in known:
        raise SymbolsError(
            f"instructions of {architecture} cannot be shown",
            f"Known are {', '.join(sorted(known))}.",
        )
    machine, mode, usually_little = known[architecture]
    little = usually_little if little_endian is None else little_endian
    decoder = cs.Cs(machine, mode | (0 if little else cs.CS_MODE_BIG_ENDIAN))
    decoder.detail = True  # groups and operands, for the targets
    decoder.skipdata = True
    length_at = _LENGTHS.get(architecture)
    if length_at is not None:
        decoder.skipdata_setup = (".byte", _skipper(length_at), None)
    if machine == cs.CS_ARCH_X86:
        decoder.skipdata_setup = (".byte", _skip_x86, None)
        decoder.syntax = cs.CS_OPT_SYNTAX_ATT if syntax == "att" else cs.CS_OPT_SYNTAX_INTEL
    return decoder


def _skipper(length_at: Callable[[int], int]) -> Callable[[Any, int, int, Any], int]:
    def skip(code: Any, size: int, offset: int, _: Any) -> int:
        length = length_at(code[offset][0])
        return length if offset + length <= size else 0

    return skip


def _skip_x86(code: Any, size: int, offset: int, _: Any) -> int:
    there: bytes = code[offset : min(offset + 4, size)]
    return next((len(known) for known in _X86_UNKNOWN if there.startswith(known)), 1)


def _target(instruction: Any, architecture: str) -> int | None:
    from capstone import CS_GRP_BRANCH_RELATIVE, CS_GRP_CALL, CS_GRP_JUMP, CS_OP_IMM  # noqa: PLC0415

    if instruction.id == 0:  # bytes that were skipped have no details
        return None
    branches = {CS_GRP_JUMP, CS_GRP_CALL, CS_GRP_BRANCH_RELATIVE}
    if branches.isdisjoint(instruction.groups) and not (
        architecture == "s390x" and instruction.mnemonic.startswith(_S390_BRANCHES)
    ):
        return None
    operands = instruction.operands
    if not operands or operands[-1].type != CS_OP_IMM:
        return None
    target: int = operands[-1].imm
    if architecture in _RELATIVE:
        target += instruction.address
    return target % (1 << (32 if architecture in _BITS_32 else 64))


def _flow(instruction: Any, architecture: str) -> Flow:
    from capstone import (  # noqa: PLC0415
        CS_GRP_BRANCH_RELATIVE,
        CS_GRP_CALL,
        CS_GRP_INT,
        CS_GRP_IRET,
        CS_GRP_JUMP,
        CS_GRP_RET,
    )

    if instruction.id == 0:
        return Flow.NEXT
    groups, mnemonic = set(instruction.groups), instruction.mnemonic
    returns, calls = _RETURNS.get(architecture), _CALLS.get(architecture)
    if (
        groups & {CS_GRP_RET, CS_GRP_IRET}
        or (returns and returns.fullmatch(mnemonic))
        or (mnemonic, instruction.op_str) in _PLAIN_RETURNS
    ):
        return Flow.RETURN
    if calls.fullmatch(mnemonic) if calls else CS_GRP_CALL in groups:
        return Flow.CALL
    if CS_GRP_INT in groups:  # a system call, a trap: it comes back, in a block of its own
        return Flow.CALL
    # capstone takes the plain jump of RISC-V for a call.
    if groups & {CS_GRP_JUMP, CS_GRP_BRANCH_RELATIVE, CS_GRP_CALL} or (
        architecture == "s390x" and mnemonic.startswith(_S390_BRANCHES)
    ):
        return Flow.JUMP
    return Flow.NEXT
