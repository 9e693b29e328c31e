"""The bundled guest at work, with a monitor for the test beside the one that gprof holds."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np

from gprof.guest.demo import DemoGuest, demo_file
from symbols.elf import Image
from tests.monitor import Monitor
from tests.waiting import wait_until

SHARES: dict[str, Any] = json.loads(demo_file("shares.json").read_text())
_AT_WORK = frozenset({*SHARES["work_percent"], SHARES["idle_function"]})


class WatchedDemo(DemoGuest):
    """See `DemoGuest`; on entering it is through its firmware, and every vcpu works or rests.

    Args:
        more: options for QEMU. With `-S` it stands until somebody lets it go.
        vcpus: how many.
    """

    def __init__(self, *more: str, vcpus: int = 2) -> None:
        super().__init__(vcpus=vcpus)
        self._more = more

    @property
    def other_address(self) -> str:
        """The path of the second monitor's socket."""
        return str(self.directory / "other")

    def extra_arguments(self) -> Sequence[str]:
        return ("-qmp", f"unix:{self.other_address},server=on,wait=off", *self._more)

    def addresses(self, way: str) -> tuple[str, ...]:
        """The options that have gprof sample it by `stub`, `monitor` or `both`."""
        stub, monitor = ("--gdb", self.gdb_address), ("--qmp", self.qmp_address)
        return {"stub": stub, "monitor": monitor, "both": stub + monitor}[way]

    def __enter__(self) -> Self:
        super().__enter__()
        try:
            if "-S" not in self._more:
                with Monitor(self.other_address) as monitor:
                    await_work(monitor.human, self.vcpus)
        except BaseException:
            self.close()
            raise
        return self


def await_work(ask: Callable[[str], str], vcpus: int = 2) -> None:
    """Wait until every vcpu of a demo guest is where the program works or rests.

    Until then it runs firmware, for as long as the host likes.

    Args:
        ask: gives what the monitor for people says to a command; that stops no guest.
        vcpus: how many it has.
    """
    table = Image.open(demo_file("demo.elf")).table
    seen: list[str] = []

    def at_work() -> bool:
        pcs = [int(pc, 16) for pc in re.findall(r"\bRIP=([0-9a-f]+)", ask("info registers -a"))]
        found = table.lookup(np.array(pcs, np.uint64)).tolist()
        seen[:] = [
            table[at].name if at >= 0 else f"{pc:#x}" for pc, at in zip(pcs, found, strict=True)
        ]
        return len(seen) == vcpus and _AT_WORK.issuperset(seen)

    wait_until(at_work, f"{vcpus} vcpus at work", seen=lambda: f"They are at {seen}")
