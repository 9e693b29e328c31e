"""The text of /proc/modules: which modules a guest has loaded, and where."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from symbols.errors import ModulesError
from symbols.file_kinds import HEAD, looks_like
from symbols.files import read_bounded
from symbols.names import printable

#: A distribution's guest with everything loaded has 20 KB.
LARGEST = 16 << 20
_MOST_MODULES = 1 << 16
#: No module is larger than the area that modules are loaded into (2 GiB on aarch64).
_LARGEST_MODULE = 2 << 30

# kernel/module/procfs.c, m_show: name, size, references, users, state, address, taints.
_LINE = re.compile(
    rb"(\S+) (\d{1,10}) (?:-?\d+|-) \S+ (?:Live|Loading|Unloading) 0x([0-9a-f]{8,16})"
)
_COPY_AGAIN = "Copy /proc/modules from the guest, as root; lsmod prints no addresses."


@dataclass(frozen=True, slots=True)
class Module:
    """A loaded module.

    Attributes:
        name: text that is safe to show, with `_` where the file's name may have `-`.
        start: address of its text.
        size: bytes of all its parts. Since Linux 6.4 the parts lie apart, so that
            `start + size` may reach past the text, even into another module.
    """

    name: str
    start: int
    size: int


def open_modules(path: str | os.PathLike[str]) -> tuple[Module, ...]:
    """The modules of a file, by address; see `parse_modules`."""
    shown, text = read_bounded(path, LARGEST, ModulesError)
    return parse_modules(text, path=shown)


def parse_modules(text: bytes, *, path: str = "modules") -> tuple[Module, ...]:
    """The modules that a text lists, by address; none for an empty text.

    A last line that was cut off is left out, and so is a module at address 0 among others.

    Raises:
        ModulesError: it is no such text, or its addresses are hidden.
    """
    modules: dict[int, Module] = {}
    lines = text.split(b"\n", _MOST_MODULES)
    if len(lines) > _MOST_MODULES:
        raise ModulesError(f"{path} has more than {_MOST_MODULES} lines", _COPY_AGAIN)
    listed = 0
    for number, line in enumerate(lines):
        if not line.strip():
            continue
        found = _LINE.match(line)
        if not found:
            if number == len(lines) - 1 and listed:
                break
            raise _no_modules(text, path, number, line)
        listed += 1
        start, size = int(found[3], 16), int(found[2])
        if size > _LARGEST_MODULE or start + size > 1 << 64:
            raise _no_modules(text, path, number, line)
        if start and size:
            modules[start] = Module(printable(found[1]), start, size)
    if listed and not modules:
        raise ModulesError(
            f"every address in {path} is zero: the guest hides them",
            "As root inside the guest: echo 0 > /proc/sys/kernel/kptr_restrict, then copy "
            "/proc/modules again, as root (with the value 2 even root sees only zeros).",
        )
    return tuple(modules[start] for start in sorted(modules))


def _no_modules(text: bytes, path: str, number: int, line: bytes) -> ModulesError:
    if number == 0 and b"\0" in text[:HEAD]:
        noun, advice = looks_like(text[:HEAD])
        return ModulesError(f"{path} is no modules text: it is {noun}", advice or _COPY_AGAIN)
    return ModulesError(
        f"line {number + 1} of {path} is no module: {printable(line[:60])}", _COPY_AGAIN
    )
