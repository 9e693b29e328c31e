"""The symbol files that a person gave, and which guest each is for."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from gprof.errors import UsageError
from symbols.names import printable

if TYPE_CHECKING:  # what reads them takes a while to import, and often none are given
    from gprof.sources import Sources
    from symbols.extra_images import ExtraImages


@dataclass(slots=True)
class GivenSymbols:
    """Files by the pid of the hypervisor whose guest they describe; None is for all others.

    Attributes:
        vmlinux: the kernels' ELF files.
        kallsyms: copies of /proc/kallsyms.
        modules: copies of /proc/modules.
        mount: a directory with `<pid>/proc/kallsyms` and `<pid>/proc/modules`, as perf takes it;
            for the one guest that is sampled, the root of its files.
        directories: roots of guests' files, or directories of modules.
        named: firmware and others, as `FILE[@ADDR]`, and folders that EDK2 was built in.
    """

    vmlinux: dict[int | None, Path] = field(default_factory=dict)
    kallsyms: dict[int | None, Path] = field(default_factory=dict)
    modules: dict[int | None, Path] = field(default_factory=dict)
    mount: Path | None = None
    directories: tuple[Path, ...] = ()
    named: tuple[str, ...] = ()
    _opened: dict[tuple[Path | None, ...], Sources] = field(default_factory=dict)
    _extras: ExtraImages | None = None

    @classmethod
    def of(
        cls,
        vmlinux: Sequence[str] = (),
        kallsyms: Sequence[str] = (),
        modules: Sequence[str] = (),
        mount: Path | None = None,
        *,
        directories: Sequence[Path] = (),
        named: Sequence[str] = (),
    ) -> GivenSymbols:
        """Read options of the form `[PID=]FILE`.

        Raises:
            UsageError: two files of a kind are for the same guest, or there is no such directory.
        """
        if mount is not None and not mount.is_dir():
            raise UsageError(
                f"{mount} is no directory",
                "--guestmount takes the root of the guest's files; with perf, a directory with "
                "<pid>/proc/kallsyms for each guest.",
            )
        for directory in directories:
            if not directory.is_dir():
                raise UsageError(
                    f"{directory} is no directory",
                    "--symfs takes a root with lib/modules or usr/lib/debug in it, or a "
                    "directory of modules.",
                )
        return cls(
            _by_pid("--guestvmlinux", vmlinux),
            _by_pid("--guestkallsyms", kallsyms),
            _by_pid("--guestmodules", modules),
            mount,
            tuple(directories),
            tuple(named),
        )

    def __bool__(self) -> bool:
        given = (self.vmlinux, self.kallsyms, self.modules, self.mount, self.named)
        return any(map(bool, given))

    @property
    def all_directories(self) -> tuple[Path, ...]:
        """Where files of modules may be, for the one guest that is sampled."""
        return (*self.directories, self.mount) if self.mount is not None else self.directories

    @property
    def pids(self) -> frozenset[int]:
        """The hypervisors whose guests have files of their own."""
        pids = {*self.vmlinux, *self.kallsyms, *self.modules}
        return frozenset(pid for pid in pids if pid is not None)

    def open(self) -> None:
        """Open every file, so that a wrong one is told before anything is sampled.

        Raises:
            SymbolsError: a file is not what it should be.
        """
        for pid in (None, *sorted(self.pids)):
            self.of_guest(pid)

    def refuse_strangers(self, present: Collection[int]) -> None:
        """Refuse files for guests that are not in a recording: a pid was mistyped.

        Args:
            present: the pids of the hypervisors of all guests in it.

        Raises:
            UsageError: there is no such guest.
        """
        strangers = sorted(self.pids - set(present))
        if strangers:
            known = ", ".join(map(str, sorted(present))) or "none"
            raise UsageError(
                f"files are given for guest {strangers[0]}, which the recording does not have",
                f"PID is that of a guest's QEMU on the host; those recorded: {known}.",
            )

    def only(self) -> Sources:
        """The files for the one guest that is sampled or was recorded.

        Raises:
            UsageError: files are given for several.
            SymbolsError: a file is not what it should be.
        """
        pids = {*self.vmlinux, *self.kallsyms, *self.modules}
        if len(pids) > 1:
            raise UsageError(
                "files are given for several guests, but there is one",
                "PID=FILE is for recordings of perf; give FILE alone.",
            )
        sources = self.of_guest(next(iter(pids), None))
        return replace(sources, directories=self.all_directories)

    def of_guest(self, pid: int | None) -> Sources:
        """The files for the guest of a hypervisor.

        Raises:
            SymbolsError: a file is not what it should be.
        """
        kallsyms, modules = self.kallsyms.get(pid), self.modules.get(pid)
        if self.mount is not None and pid is not None:
            kallsyms = kallsyms or _existing(self.mount / str(pid) / "proc" / "kallsyms")
            modules = modules or _existing(self.mount / str(pid) / "proc" / "modules")
        # What is of one boot goes together: a guest's own kallsyms does not take the modules
        # that were given for all others.
        if kallsyms is None:
            kallsyms, modules = self.kallsyms.get(None), modules or self.modules.get(None)
        chosen = (self.vmlinux.get(pid) or self.vmlinux.get(None), kallsyms, modules)
        if chosen not in self._opened:
            from gprof.sources import Sources  # noqa: PLC0415  see above

            self._opened[chosen] = replace(
                Sources.open(*chosen), extras=self.extras(), directories=self.directories
            )
        return self._opened[chosen]

    def extras(self) -> ExtraImages:
        """Firmware and others that were named, opened.

        Raises:
            ImageError: a file is none of those, or nothing tells where it is.
        """
        if self._extras is None:
            from symbols.extra_images import open_extras  # noqa: PLC0415  see above

            self._extras = open_extras(self.named)
        return self._extras


def _existing(path: Path) -> Path | None:
    return path if path.exists() else None


def _by_pid(option: str, values: Sequence[str]) -> dict[int | None, Path]:
    found: dict[int | None, Path] = {}
    for value in values:
        first, equals, rest = value.partition("=")
        pid = int(first) if equals and first.isdecimal() else None
        if pid in found:
            raise UsageError(
                f"{option} is given twice for {'all guests' if pid is None else f'guest {pid}'}",
                "Give it once, or as PID=FILE with the pid of each guest's QEMU.",
            )
        file = rest if pid is not None else value
        if not file:
            raise UsageError(f"{option} {printable(value)!r} names no file", "Give [PID=]FILE.")
        found[pid] = Path(file)
    return found
