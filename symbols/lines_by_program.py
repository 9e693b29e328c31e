"""Source lines by the programs that compilers come with: llvm-symbolizer and addr2line.

Each is started once for a file and asked through pipes, so that its index of the file is made
once. It ends when its input is closed: with us, however we end.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import subprocess
import time
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from symbols.elf import Image
from symbols.source_frames import MOST_INLINED, Chain, FinderFailed, SourceFrame, frame

#: Questions in one write: they and what answers them fit the pipes, so nobody waits for anybody.
_AT_ONCE = 64
#: A file of 600 MB on a slow disk is read once before the first answer.
_PATIENCE_S = 60.0
#: One answer: 64 frames with names of 2,048 characters, as JSON.
_LONGEST_ANSWER = 1 << 20
_PIECE = 1 << 16
#: An address that no file has, and how addr2line repeats it for files of 64 and 32 bits.
_NOWHERE = (1 << 64) - 1
_NOWHERE_SAID = ("0x" + 16 * "f", "0x" + 8 * "f")


class Symbolizer:
    """llvm-symbolizer, which also reads the tables of inlined calls fast.

    Args:
        program: its path; of LLVM 13 or later, which answers in JSON.
        path: of a linked ELF file.
    """

    def __init__(self, program: str, path: str) -> None:
        self.name = Path(program).name
        self._talk = _Conversation(
            [program, f"--obj={path}", "--inlines", "--relativenames", "--output-style=JSON"]
        )

    def find(self, addresses: Sequence[int]) -> list[Chain]:
        """See `Finder`."""
        found: list[Chain] = []
        for some in _pieces(addresses):
            self._talk.say("".join(f"{address:#x}\n" for address in some))
            found += [_chain_of(self._talk.line(), address) for address in some]
        return found

    def stop(self) -> None:
        """See `Finder`."""
        self._talk.stop()

    def close(self) -> None:
        """End the program."""
        self._talk.close()


def _chain_of(answer: str, address: int) -> Chain:
    try:
        content = json.loads(answer)
    except (ValueError, RecursionError):
        raise FinderFailed("llvm-symbolizer does not answer in JSON; before LLVM 13") from None
    if not isinstance(content, dict) or content.get("Address") != f"{address:#x}":
        raise FinderFailed("llvm-symbolizer answers what it was not asked")
    symbols = content.get("Symbol")
    if not isinstance(symbols, list):  # an error is told in another field
        return ()
    frames = [_frame_of(symbol) for symbol in symbols[:MOST_INLINED]]
    return tuple(one for one in frames if one is not None)


def _frame_of(symbol: Any) -> SourceFrame | None:
    if not isinstance(symbol, dict):
        return None
    return frame(symbol.get("FunctionName"), symbol.get("FileName"), symbol.get("Line"))


class Addr2line:
    """addr2line of binutils, which is wherever a linker is.

    Args:
        program: its path.
        path: of the ELF file.
        image: the same file where it is relocatable: addresses are those of its layout.
    """

    def __init__(self, program: str, path: str, image: Image | None = None) -> None:
        self.name = "addr2line"
        self._command = [program, "-aife", path]
        self._image = image
        self._talks: dict[str, _Conversation] = {}

    def find(self, addresses: Sequence[int]) -> list[Chain]:
        """See `Finder`."""
        found: list[Chain] = []
        for address in addresses:
            section, offset = self._place(address)
            found.append(self._ask(section, offset) if section is not None else ())
        return found

    def stop(self) -> None:
        """See `Finder`."""
        for talk in list(self._talks.values()):
            talk.stop()

    def close(self) -> None:
        """End the programs."""
        for talk in self._talks.values():
            talk.close()
        self._talks.clear()

    def _place(self, address: int) -> tuple[str | None, int]:
        """The section that an address is in, empty in a linked file, and the offset in it."""
        if self._image is None:
            return "", address
        for section in self._image.sections:
            if section.executable and 0 <= address - section.address < section.size:
                return section.name, address - section.address
        return None, 0

    def _ask(self, section: str, address: int) -> Chain:
        talk = self._talks.get(section)
        if talk is None:
            choice = ["-j", section] if section else []
            talk = self._talks[section] = _Conversation([*self._command, *choice])
        # An answer has no end, so that of a second question, which no file knows, marks it.
        talk.say(f"{address:#x}\n{_NOWHERE:#x}\n")
        talk.line()
        frames: list[SourceFrame | None] = []
        while (function := talk.line()) not in _NOWHERE_SAID:
            file, _, line = talk.line().partition(" (discriminator")[0].rpartition(":")
            if len(frames) < MOST_INLINED:
                frames.append(frame(function, file, int(line) if line.isdecimal() else 0))
        talk.line()
        talk.line()
        return tuple(one for one in frames if one is not None)


def find_symbolizer() -> str | None:
    """The path of llvm-symbolizer: the plain one, else that of the newest LLVM; None without."""
    plain = shutil.which("llvm-symbolizer")
    if plain is not None:
        return plain
    versions: dict[int, str] = {}
    for directory in os.get_exec_path():
        with contextlib.suppress(OSError):
            for path in Path(directory).glob("llvm-symbolizer-*"):
                number = path.name.rpartition("-")[2]
                if number.isdecimal() and os.access(path, os.X_OK):
                    versions.setdefault(int(number), str(path))
    return versions[max(versions)] if versions else None


def find_addr2line() -> str | None:
    """The path of addr2line; None without."""
    return shutil.which("addr2line")


def _pieces(addresses: Sequence[int]) -> Iterator[Sequence[int]]:
    for first in range(0, len(addresses), _AT_ONCE):
        yield addresses[first : first + _AT_ONCE]


class _Conversation:
    """A program that answers lines with lines, within bounds of time and size."""

    def __init__(self, command: list[str]) -> None:
        self._name = Path(command[0]).name
        # Only what it needs: with DEBUGINFOD_URLS it would ask a server for the file.
        kept = {key: os.environ[key] for key in ("PATH", "HOME", "TMPDIR") if key in os.environ}
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**kept, "LC_ALL": "C"},
                bufsize=0,
                start_new_session=True,  # a Ctrl-C is for us
            )
        except OSError as error:
            raise FinderFailed(f"{self._name} cannot be started: {error.strerror}") from None
        assert process.stdin is not None
        assert process.stdout is not None
        self._process, self._input, self._output = process, process.stdin, process.stdout
        self._heard = bytearray()
        self.close = weakref.finalize(self, _end, process)

    def stop(self) -> None:
        """End the program; the pipes stay, since another thread may be reading from them."""
        with contextlib.suppress(OSError):
            self._process.kill()

    def say(self, text: str) -> None:
        """Hand over a few lines; no more than a pipe holds."""
        try:
            self._input.write(text.encode("ascii"))
        except (OSError, ValueError):
            raise self._gone() from None

    def line(self) -> str:
        """The next line of its answer, without its end."""
        deadline = time.monotonic() + _PATIENCE_S
        while (end := self._heard.find(b"\n")) < 0:
            if len(self._heard) > _LONGEST_ANSWER:
                raise FinderFailed(f"{self._name} answers without end")
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._output], [], [], left)[0]:
                raise FinderFailed(f"{self._name} has not answered for {_PATIENCE_S:.0f} s")
            heard = self._output.read(_PIECE)
            if not heard:
                raise self._gone()
            self._heard += heard
        line = bytes(self._heard[:end])
        del self._heard[: end + 1]
        return line.decode("utf-8", "backslashreplace").removesuffix("\r")

    def _gone(self) -> FinderFailed:
        return FinderFailed(f"{self._name} has ended")


def _end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(OSError):
        process.kill()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()
    with contextlib.suppress(subprocess.TimeoutExpired, OSError):
        process.wait(5)
