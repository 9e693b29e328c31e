"""The symbol files that a person gave, and which guest each is for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gprof.attach import Sources
from gprof.errors import UsageError


@dataclass(slots=True)
class GivenSymbols:
    """Files by the pid of the hypervisor whose guest they describe; None is for all others.

    Attributes:
        vmlinux: the kernels' ELF files.
        kallsyms: copies of /proc/kallsyms.
        modules: copies of /proc/modules.
        mount: a directory with `<pid>/proc/kallsyms` and `<pid>/proc/modules`, as perf takes it.
    """

    vmlinux: dict[int | None, Path] = field(default_factory=dict)
    kallsyms: dict[int | None, Path] = field(default_factory=dict)
    modules: dict[int | None, Path] = field(default_factory=dict)
    mount: Path | None = None
    _opened: dict[tuple[Path | None, ...], Sources] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        vmlinux: Sequence[str] = (),
        kallsyms: Sequence[str] = (),
        modules: Sequence[str] = (),
        mount: Path | None = None,
    ) -> GivenSymbols:
        """Read options of the form `[PID=]FILE`.

        Raises:
            UsageError: two files of a kind are for the same guest, or there is no such directory.
        """
        if mount is not None and not mount.is_dir():
            raise UsageError(
                f"{mount} is no directory",
                "--guestmount takes a directory with <pid>/proc/kallsyms for each guest.",
            )
        return cls(
            _by_pid("--guestvmlinux", vmlinux),
            _by_pid("--guestkallsyms", kallsyms),
            _by_pid("--guestmodules", modules),
            mount,
        )

    def __bool__(self) -> bool:
        return bool(self.vmlinux or self.kallsyms or self.modules or self.mount)

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
        return self.of_guest(next(iter(pids), None))

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
            self._opened[chosen] = Sources.open(*chosen)
        return self._opened[chosen]


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
        found[pid] = Path(rest if pid is not None else value)
    return found
