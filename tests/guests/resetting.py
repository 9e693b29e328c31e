"""A Linux guest that boots again when it is reset, and a second monitor to have that done."""

from __future__ import annotations

from collections.abc import Sequence

from tests.guests.linux import LinuxGuest


class ResettingGuest(LinuxGuest):
    """See `LinuxGuest`; the files of its kallsyms and modules are of the last boot."""

    @property
    def other_address(self) -> str:
        """A monitor for the test, beside the one that gprof holds."""
        return str(self.directory / "other")

    def extra_arguments(self) -> Sequence[str]:
        stays = [word for word in super().extra_arguments() if word != "-no-reboot"]
        return (*stays, "-qmp", f"unix:{self.other_address},server=on,wait=off")

    def await_boot(self) -> None:
        """Wait until it works again after a reset, and copy its kallsyms and modules."""
        self._wait_line()
        self.read_symbols()
