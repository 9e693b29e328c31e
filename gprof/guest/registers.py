"""The registers of a vcpu by name, as the stub's target description lays them out.

Format: GDB manual, appendix "Target Descriptions". A real XML parser is needed, since QEMU's own
description of x86-64 has registers inside comments; but one that ignores namespaces, since QEMU
does not declare the `xi` of its includes. A number left out means "one more than the last".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from xml.parsers import expat

from gprof.errors import ProtocolError

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
        order_by: a register that tells the order of all in a reply, its own too: they are as the
            guest's memory is at that instant, little-endian if its lowest bit is set.
    """

    architecture: str
    by_name: dict[str, Register]
    byte_order: str = "little"
    order_by: str = ""

    def value(self, name: str, reply: bytes) -> int | None:
        """A register's value in the digits of a `g` reply; None if it is not in there."""
        register = self.by_name.get(name)
        if register is None:
            return None
        return self._parse(register, _digits(register, reply), self._order(reply))

    def parse(self, register: Register, digits: bytes) -> int | None:
        """A register's value from its own digits, as `p` replies; None if they are something else.

        A stub that knows a register but not its value sends `x` for every digit.
        """
        return self._parse(register, digits, self.byte_order)

    def _order(self, reply: bytes) -> str:
        register = self.by_name.get(self.order_by)
        if register is None:
            return self.byte_order
        # As a big-endian number it has a zero there (Power ISA 3.1, book III, 4.2.1: MSR).
        lowest = self._parse(register, _digits(register, reply), "little") or 0
        return "little" if lowest & 1 else "big"

    @staticmethod
    def _parse(register: Register, digits: bytes, order: str) -> int | None:
        if len(digits) != register.bits // 4:
            return None
        try:
            raw = bytes.fromhex(digits.decode("ascii"))
        except ValueError:
            return None
        return int.from_bytes(raw, "big" if order == "big" else "little")


def _digits(register: Register, reply: bytes) -> bytes:
    start = 2 * register.offset
    return reply[start : start + register.bits // 4]


def read_description(read: Callable[[str], bytes | None]) -> RegisterFile:
    """The registers that a stub describes.

    Args:
        read: gives a document by its name, `target.xml` first; None where there is none.

    Raises:
        ProtocolError: there is no description, or it is no XML.
    """
    reader = _Reader(read)
    reader.document("target.xml")
    if not reader.found:
        raise ProtocolError("the stub describes no registers")
    architecture = reader.architecture.strip()
    order = "big" if architecture.startswith(("s390", "powerpc")) else "little"
    # ppc_maybe_bswap_register of target/ppc/gdbstub.c.
    order_by = "msr" if architecture.startswith("powerpc") else ""
    return RegisterFile(architecture, reader.found, order, order_by)


class _Reader:
    """Walks the documents in the order of the description, following includes."""

    def __init__(self, read: Callable[[str], bytes | None]) -> None:
        self._read = read
        self._documents = 0
        self._number = self._offset = 0
        self._in_architecture = False
        self.architecture = ""
        self.found: dict[str, Register] = {}

    def document(self, name: str) -> None:
        self._documents += 1
        text = self._read(name)
        if text is None or self._documents > _MOST_DOCUMENTS:
            raise ProtocolError(
                f"the stub has no register description {name!r}",
                "gprof needs a QEMU that describes its registers (any since 2.0).",
            )
        parser = expat.ParserCreate()
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text
        try:
            parser.Parse(text, True)
        except expat.ExpatError as error:
            raise ProtocolError(f"the stub's register description is no XML: {error}") from None

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        if tag == "xi:include":
            self.document(attributes.get("href", ""))
        elif tag == "reg":
            self._register(attributes)
        self._in_architecture = tag == "architecture" and not self.architecture

    def _end(self, _tag: str) -> None:
        self._in_architecture = False

    def _text(self, text: str) -> None:
        if self._in_architecture:
            self.architecture += text[:64]

    def _register(self, attributes: dict[str, str]) -> None:
        name = attributes.get("name", "")
        bits = _integer(attributes.get("bitsize", ""))
        number = _integer(attributes.get("regnum", str(self._number)))
        if len(self.found) == _MOST_REGISTERS or not 0 < bits <= 1 << 16:
            raise ProtocolError(f"the stub describes the register {name!r} with {bits} bits")
        # The first of a name counts: later ones are the same register in other clothes.
        self.found.setdefault(name, Register(name, number, bits, self._offset))
        self._number = number + 1
        self._offset += (bits + 7) // 8


def _integer(text: str) -> int:
    try:
        return int(text, 0)
    except ValueError:
        raise ProtocolError(f"the stub's register description has {text!r} for a number") from None
