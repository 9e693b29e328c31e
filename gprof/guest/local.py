"""The QEMU processes of this host, and where their stubs and monitors listen.

Everything is read from their command lines; nothing is connected to, since that would stop a guest
or take its monitor. What was opened later, by the monitor, is not seen.

Format of the options: qemu-options.hx of QEMU 7.2 (`-gdb`, `-s`, `-qmp`, `-mon`, `-chardev`,
`-name`); a comma inside a value is doubled.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

_PROGRAM = re.compile(r"(?:qemu-system-[a-z0-9_]+|qemu-kvm|kvm|qemu)")
_MOST_BYTES = 1 << 20
#: What `-s` is short for.
_SHORT_STUB = "tcp::1234"
_LISTENING = "0A"
#: What libvirt calls its own end of the monitor (libvirt: src/qemu/qemu_command.c).
_LIBVIRT_MONITOR = "charmonitor"


@dataclass(frozen=True, slots=True)
class LocalGuest:
    """One QEMU process.

    Attributes:
        pid: its process id.
        program: the name of the emulator.
        name: of the guest, as given to QEMU; empty where none was. Not safe to show.
        gdb: addresses of its gdbstub.
        qmp: addresses of its monitors.
        domain: its name in libvirt, which keeps the monitor; empty where libvirt did not start
            it. Not safe to show.
    """

    pid: int
    program: str
    name: str = ""
    gdb: tuple[str, ...] = ()
    qmp: tuple[str, ...] = ()
    domain: str = ""

    @property
    def reachable(self) -> bool:
        """Whether it has anything to connect to."""
        return bool(self.gdb or self.qmp or self.domain)


def local_guests(processes: Path = Path("/proc")) -> list[LocalGuest]:
    """The QEMU processes that can be seen, by process id."""
    found = []
    for entry in processes.iterdir():
        if not entry.name.isdecimal():
            continue
        words = command_line(entry)
        if _PROGRAM.fullmatch(Path(words[0]).name):
            found.append(read_command_line(int(entry.name), words, _directory(entry)))
    return sorted(found, key=lambda guest: guest.pid)


def is_qemu(process: Path) -> bool:
    """Whether a process, by its directory in /proc, is one."""
    return bool(_PROGRAM.fullmatch(Path(command_line(process)[0]).name))


def command_line(process: Path) -> list[str]:
    """The words of a process's command line; one empty word where that cannot be read."""
    try:
        with (process / "cmdline").open("rb") as file:
            return file.read(_MOST_BYTES).decode("utf-8", "surrogateescape").split("\0")
    except OSError:
        return [""]  # it ended just now, or is none of our business


def _directory(process: Path) -> Path:
    try:
        return (process / "cwd").readlink()
    except OSError:
        return Path()


def read_command_line(pid: int, words: Sequence[str], directory: Path = Path()) -> LocalGuest:
    """What a command line says.

    Args:
        pid: of the process.
        words: the command line, the program first.
        directory: that relative paths are relative to.
    """
    options = list(_options(words[1:]))
    devices = {
        fields["id"]: fields
        for name, value in options
        if name == "chardev" and "id" in (fields := _fields(value))
    }
    gdb: list[str] = []
    qmp: list[str] = []
    name = ""
    for option, value in options:
        if option == "name":
            fields = _fields(value)
            name = fields.get("guest", fields.get("", ""))
        elif option == "s":
            gdb.append(_SHORT_STUB)
        elif option == "gdb":
            gdb.append(_device(value, devices))
        elif option in {"qmp", "qmp-pretty"}:
            qmp.append(_device(value, devices))
        elif option == "mon":
            fields = _fields(value)
            if fields.get("mode") == "control":
                qmp.append(_socket(devices.get(fields.get("chardev", fields.get("", "")), {})))
    return LocalGuest(
        pid,
        Path(words[0]).name,
        name,
        tuple(_absolute(address, directory) for address in gdb if address),
        tuple(_absolute(address, directory) for address in qmp if address),
        name if _LIBVIRT_MONITOR in devices else "",
    )


def _options(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Options and the word that follows each, whether it belongs to it or not."""
    for word, following in zip(words, [*words, ""][1:], strict=True):
        if word.startswith("-"):
            yield word.removeprefix("-").removeprefix("-"), following


def _fields(value: str) -> dict[str, str]:
    """`socket,id=m,path=/a,,b`: names and values, the first without a name at ``."""
    fields: dict[str, str] = {}
    for i, part in enumerate(re.split(r"(?<!,),(?!,)", value)):
        name, equals, given = part.replace(",,", ",").partition("=")
        if equals:
            fields.setdefault(name, given)
        elif i == 0:
            fields[""] = name
    return fields


def _device(value: str, devices: dict[str, dict[str, str]]) -> str:
    """The address in `unix:path,server=on`, `tcp:host:port,server=on` or `chardev:id`."""
    place = _fields(value).get("", "")
    kind, _, rest = place.partition(":")
    if kind == "chardev":
        return _socket(devices.get(rest, {}))
    return place if kind in {"unix", "tcp"} and rest else ""


def _socket(fields: dict[str, str]) -> str:
    """The address of `-chardev socket,…`; empty where it was handed over as a descriptor."""
    if fields.get("") != "socket":
        return ""
    if "path" in fields:
        return f"unix:{fields['path']}"
    return f"tcp:{fields.get('host', '')}:{fields['port']}" if "port" in fields else ""


def _absolute(address: str, directory: Path) -> str:
    kind, _, rest = address.partition(":")
    if kind == "unix":
        return str(directory / rest)
    host, _, port = rest.rpartition(":")
    return f"{host.replace('0.0.0.0', '') or 'localhost'}:{port}"  # noqa: S104 - it is read here


def listens(port: int, table: str) -> bool:
    """Whether a process of this host accepts connections at a TCP port.

    Args:
        port: which.
        table: /proc/net/tcp or tcp6 (Documentation/networking/proc_net_tcp.rst).
    """
    for line in table.splitlines()[1:]:
        words = line.split()
        if len(words) > 3 and words[3] == _LISTENING and words[1].endswith(f":{port:04X}"):
            return True
    return False
