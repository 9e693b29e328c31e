"""The registers of a vcpu by name, as the stub's target description lays them out.

Format: GDB manual, appendix "Target Descriptions". A real XML parser is needed: QEMU's own
description of x86-64 has registers inside comments, and a number left out means "one more than
the last".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from xml.etree import ElementTree

from gprof.errors import ProtocolError

_INCLUDE = "{http://www.w3.org/2001/XInclude}include"
_MOST_DOCUMENTS = 32
_MOST_REGISTERS = 4096


@dataclass(frozen=True, slots=True)
class Register:
    """One register.

    Attributes:
        name: as in the description.
        number: what `p` takes.
        bits: its width.
        offset: of its first byte in a `g` reply, if the reply reaches that far.
    """

    name: str
    number: int
    bits: int
    offset: int


@dataclass(frozen=True, slots=True)
class RegisterFile:
    """The registers of one kind of vcpu.

    Attributes:
        architecture: as the description names it: `i386:x86-64`, `aarch64`; empty where it
            does not.
        by_name: every register.
        byte_order: of register values, `little` or `big`.
    """

    architecture: str
    by_name: dict[str, Register]
    byte_order: str = "little"

    def value(self, name: str, reply: bytes) -> int | None:
        """A register's value in a `g` reply (hexadecimal); None if it is not in there or unknown."""
        register = self.by_name.get(name)
        if register is None:
            return None
        digits = reply[2 * register.offset : 2 * register.offset + register.bits // 4]
        if len(digits) < register.bits // 4:
            return None
        try:
            raw = bytes.fromhex(digits.decode("ascii"))
        except ValueError:
            return None  # `x` digits: the stub knows the register but not its value
        return int.from_bytes(raw, "big" if self.byte_order == "big" else "little")


def read_description(read: Callable[[str], bytes | None]) -> RegisterFile:
    """The registers that a stub describes.

    Args:
        read: gives a document by its name, `target.xml` first; None where there is none.

    Raises:
        ProtocolError: there is no description, or it is no XML.
    """
    architecture = ""
    found: dict[str, Register] = {}
    number = offset = 0
    for element in _elements(read):
        if element.tag == "architecture":
            architecture = architecture or (element.text or "").strip()
        elif element.tag == "reg":
            name = element.get("name", "")
            bits = _integer(element.get("bitsize", ""))
            number = _integer(element.get("regnum", str(number)))
            if len(found) == _MOST_REGISTERS or not 0 < bits <= 1 << 16:
                raise ProtocolError(f"the stub describes the register {name!r} with {bits} bits")
            # The first of a name counts: later ones are the same register in other clothes.
            found.setdefault(name, Register(name, number, bits, offset))
            number += 1
            offset += (bits + 7) // 8
    if not found:
        raise ProtocolError("the stub describes no registers")
    return RegisterFile(architecture, found, "big" if architecture.startswith("s390") else "little")


def _elements(read: Callable[[str], bytes | None]) -> Iterator[ElementTree.Element]:
    """Elements of all documents in the order of the description, includes followed."""
    waiting: list[str | ElementTree.Element] = ["target.xml"]
    documents = 0
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            documents += 1
            text = read(item)
            if text is None or documents > _MOST_DOCUMENTS:
                raise ProtocolError(
                    f"the stub has no register description {item!r}",
                    "gprof needs a QEMU that describes its registers (any since 2.0).",
                )
            try:
                # expat refuses entities that grow without bound; QEMU's documents define none.
                item = ElementTree.fromstring(text)  # noqa: S314
            except ElementTree.ParseError as error:
                raise ProtocolError(f"the stub's register description is no XML: {error}") from None
        if item.tag == _INCLUDE:
            waiting.append(item.get("href", ""))
        else:
            yield item
            waiting.extend(reversed(item))


def _integer(text: str) -> int:
    try:
        return int(text, 0)
    except ValueError:
        raise ProtocolError(f"the stub's register description has {text!r} for a number") from None
