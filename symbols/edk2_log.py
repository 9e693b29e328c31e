"""Where an EDK2 firmware has its modules, as its debug log and the maps of its build tell.

- `Loading driver at 0x000BE8F0000 EntryPoint=0x000BE8F3A94 DxeCore.efi`
  (MdeModulePkg/Core/Dxe/Image/Image.c, CoreLoadImageCommon); `Loading PEIM at` and
  `Loading SMM driver at` alike (MdeModulePkg/Core/Pei/Image/Image.c,
  MdeModulePkg/Core/PiSmmCore/Dispatcher.c), and `Loading DXE CORE at` without a name
  (MdeModulePkg/Core/DxeIplPeim/DxeLoad.c);
- `add-symbol-file /build/DEBUG/DxeCore.dll 0xBE8F1000`, the address of its text
  (ArmPkg/Library/DebugPeCoffExtraActionLib);
- `SecMain (Fixed Flash Address, BaseAddress=0x00fffcc094, EntryPoint=0x00fffcf7b0, Type=TE)`
  in FV/*.Fv.map of a build, for what runs where it lies in flash
  (BaseTools/Source/C/GenFv/GenFvInternalLib.c, WriteMapFile).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from symbols.names import printable

_LINE = re.compile(
    rb"(?P<start>SecCoreStartupWithStack\(|UEFI firmware \(version )"
    rb"|Loading (?P<what>driver|PEIM|SMM driver|DXE CORE) at 0x(?P<address>[0-9A-Fa-f]{1,16})"
    rb" EntryPoint=0x(?P<entry>[0-9A-Fa-f]{1,16})(?: (?P<name>[^\s\x00]{1,255}))?"
    rb"|add-symbol-file (?P<path>[^\r\n\x00]{1,1000}?) 0x(?P<text>[0-9A-Fa-f]{1,16})"
    rb"|remove-symbol-file [^\r\n\x00]{1,1000}? 0x(?P<gone>[0-9A-Fa-f]{1,16})"
)
_FIXED = re.compile(
    rb"^(\w{1,128}) \(Fixed (?:Flash|Memory) Address, BaseAddress=0x([0-9A-Fa-f]{1,16}),"
    rb" EntryPoint=0x([0-9A-Fa-f]{1,16}), Type=\w+\)",
    re.MULTILINE,
)
_MOST = 4096
#: Of what is left of a line that is still being written.
_LONGEST_LINE = 4096
#: The text of a module lies behind its headers, by no more than this.
_HEADERS = 0x2000


@dataclass(frozen=True, slots=True)
class FirmwareModule:
    """A module of the firmware in memory or flash.

    Attributes:
        name: without an ending, safe to show; empty where it is not told.
        address: of its first byte, its headers; 0 where only its text is known.
        entry: of its first instruction; 0 where that is not told.
        text: of its text; 0 where that is not told.
        path: of its file where it was built; empty where that is not told.
    """

    name: str
    address: int = 0
    entry: int = 0
    text: int = 0
    path: str = ""

    @property
    def start(self) -> int:
        """The lowest address that is known of it."""
        return self.address or self.text


class LogReader:
    """The modules that a firmware has loaded since it started last, from its log piece by piece.

    Attributes:
        modules: in the order of the log; of several at one address the last.
        recognized: a line was one that EDK2 writes.
    """

    def __init__(self) -> None:
        self.modules: tuple[FirmwareModule, ...] = ()
        self.recognized = False
        self._rest = b""
        self._found: dict[int, FirmwareModule] = {}  # by where they begin
        self._by_text: dict[int, int] = {}  # where they begin
        self._of_file: dict[str, FirmwareModule] = {}  # by name: of what only the file was told

    def feed(self, piece: bytes) -> None:
        """Take what the log has more; a line counts when it has ended."""
        text = self._rest + piece
        lines, newline, rest = text.rpartition(b"\n")
        self._rest = rest[-_LONGEST_LINE:]
        if newline:
            self._take(lines)

    def _take(self, lines: bytes) -> None:
        for match in _LINE.finditer(lines):
            self.recognized = True
            if match["start"] is not None:
                self._found.clear()
                self._by_text.clear()
                self._of_file.clear()
            elif match["gone"] is not None:
                self._found.pop(self._by_text.pop(int(match["gone"], 16), -1), None)
            else:
                self._add(_module(match))
        self.modules = tuple(self._found.values())

    def _add(self, module: FirmwareModule) -> None:
        """Add what a line tells; of one module several may tell."""
        found = self._found
        if module.path:
            self._of_file[module.name] = module
        else:
            told = self._of_file.pop(module.name, None)
            if told is not None and 0 <= told.text - module.address <= _HEADERS:
                found.pop(told.start, None)
                module = replace(module, text=told.text, path=told.path)
        before = found.pop(module.start, None)
        if before is not None and not module.name and before.entry == module.entry:
            module = before
        found[module.start] = module
        if module.text:
            self._by_text[module.text] = module.start
        if len(found) > _MOST:
            del found[next(iter(found))]
        for some in (self._by_text, self._of_file):
            if len(some) > _MOST:
                some.clear()


def fixed_modules(text: bytes) -> tuple[FirmwareModule, ...]:
    """The modules that run where they lie in flash, from the map of a firmware volume."""
    found = (
        FirmwareModule(printable(match[1]), int(match[2], 16), int(match[3], 16))
        for match in _FIXED.finditer(text)
    )
    return tuple(module for _, module in zip(range(_MOST), found, strict=False))


def _module(match: re.Match[bytes]) -> FirmwareModule:
    if match["path"] is not None:
        path = match["path"].decode("utf-8", "surrogateescape")
        return FirmwareModule(_stem(path), text=int(match["text"], 16), path=path)
    name = _stem((match["name"] or b"").decode("ascii", "replace"))
    if not name and match["what"] == b"DXE CORE":
        name = "DxeCore"
    return FirmwareModule(name, int(match["address"], 16), int(match["entry"], 16))


def _stem(path: str) -> str:
    return printable(PurePosixPath(path).stem)
