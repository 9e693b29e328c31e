"""Operands as a person reads them: the names of what they point to instead of addresses."""

from __future__ import annotations

import re
from collections.abc import Callable

from symbols.disassembly import Instruction

#: Relative to the next instruction: `0x10(%rip)` and `[rip + 0x10]`.
_RELATIVE = re.compile(
    r"(?P<att>-?(?:0x[0-9a-f]+|\d+))?\(%[re]ip\)"
    r"|\[[re]ip(?: (?P<sign>[+-]) (?P<intel>0x[0-9a-f]+|\d+))?\]"
)
#: Per-cpu variables of x86 Linux: `%gs:0x1fb80` and `gs:[0x1fb80]`, offsets in their section.
_PER_CPU = re.compile(r"(?P<before>%gs:|gs:\[)(?P<offset>0x[0-9a-f]{3,})(?![\w(])")
#: Where a direct jump or call goes is always its last operand.
_LAST = re.compile(r"#?-?(?:0x[0-9a-f]+|\d+)$")
#: Any other number that stands alone; capstone writes large ones with a sign, or in decimal.
_NUMBER = re.compile(r"(?<![\w%.])(?P<apart>- )?#?(?P<number>-?(?:0x[0-9a-f]{4,}|\d{5,}))\b")
#: Below the upper half of the address space, a number is as likely a count or a mask.
_UPPER_HALF = 1 << 63
_WRAP = 1 << 64


def named_operands(instruction: Instruction, name_of: Callable[[int], str | None]) -> str:
    """The operands with every address replaced by the name of what is there.

    Replaced are the targets of direct jumps and calls, addresses relative to the pc, and numbers
    in the upper half of the address space.

    Args:
        instruction: where the operands are from.
        name_of: the name of an address, such as `jiffies` or `jiffies+0x8`; None without one.
    """
    after = instruction.address + instruction.size

    def relative(found: re.Match[str]) -> str:
        distance = int(found["att"] or found["intel"] or "0", 0)
        distance = -distance if found["sign"] == "-" else distance
        name = name_of((after + distance) % _WRAP)
        if name is None:
            return found[0]
        return f"[{name}]" if found[0].startswith("[") else name

    def per_cpu(found: re.Match[str]) -> str:
        return found["before"] + (name_of(int(found["offset"], 0)) or found["offset"])

    def absolute(found: re.Match[str]) -> str:
        number = int(found["number"], 0)
        address = (-number if found["apart"] else number) % _WRAP
        name = name_of(address) if address >= _UPPER_HALF else None
        if name is None:
            # capstone writes a small negative number as a large decimal one.
            plain = not found["number"].startswith(("-", "0x"))
            small = f"-{_WRAP - address:#x}"
            return found[0].replace(found["number"], small) if plain and number >> 63 else found[0]
        return f"+ {name}" if found["apart"] else name

    if instruction.target is not None:
        name = name_of(instruction.target)
        return (
            instruction.operands
            if name is None
            else _LAST.sub(lambda _: name, instruction.operands)
        )
    named, replaced = _PER_CPU.subn(per_cpu, instruction.operands)
    if not replaced:
        named, replaced = _RELATIVE.subn(relative, instruction.operands)
    return named if replaced else _NUMBER.sub(absolute, instruction.operands)
