"""How soon `gprof top` shows its first rows on a terminal.

    python -m benchmarks.first_screen [--short]

From the start of the process, over a recording and over the demo guest, in turns with a Python
that does nothing; medians of eleven runs (`--short`: five), by the clock and in processor time.
"""

from __future__ import annotations

import os
import pty
import signal
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from gprof.guest.demo import DemoGuest, qemu_available

RUNS, SHORT_RUNS = 11, 5
#: Seconds by the clock.
TARGET = 0.8

RECORDING = Path(__file__).parent.parent / "fixtures" / "screen" / "debian.gprof"
TOP = (sys.executable, "-m", "gprof", "top")
#: What is on the screen as soon as there are rows.
ROWS = b"Self %"


def seconds(command: Sequence[str], text: bytes) -> tuple[float, float]:
    """From the start of a program on a terminal until a text is written, or it ends.

    Returns:
        Seconds by the clock, and of the processor.
    """
    begun = time.monotonic()
    child, terminal = pty.fork()
    if not child:
        # Without what somebody has chosen to see; and compiled, as an installed package is.
        os.environ.update(COLUMNS="130", LINES="50", TERM="xterm-256color", LC_ALL="C.UTF-8")
        os.environ["XDG_CONFIG_HOME"] = os.devnull
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.execv(command[0], command)
    seen = b""
    try:
        while not text or text not in seen:
            try:
                some = os.read(terminal, 65536)
            except OSError:  # it has ended
                break
            if not some:
                break
            seen = (seen + some)[-200_000:]
        clock = time.monotonic() - begun
    finally:
        os.kill(child, signal.SIGKILL)
        _, _, used = os.wait4(child, 0)
        os.close(terminal)
    if text and text not in seen:
        raise SystemExit(
            f"{' '.join(command)} did not show a screen:\n{seen.decode(errors='replace')}"
        )
    return clock, used.ru_utime + used.ru_stime


def main(arguments: list[str]) -> None:
    """Take the times in turns, and print a line for each."""
    if set(arguments) - {"--short"}:
        raise SystemExit(__doc__)
    taken: dict[str, list[tuple[float, float]]] = {}
    for number in range(1 + (SHORT_RUNS if arguments else RUNS)):
        times = {
            "python alone": seconds([sys.executable, "-c", "pass"], b""),
            "top of a recording": seconds([*TOP, "-i", str(RECORDING)], ROWS),
        }
        if qemu_available() is not None:
            with DemoGuest() as guest:
                where = ("--gdb", guest.gdb_address, "--guestvmlinux", str(guest.image))
                times["top of a guest"] = seconds([*TOP, *where], ROWS)
        for name, one in times.items():
            if number:  # before the first round, files come into memory, bytecode is compiled
                taken.setdefault(name, []).append(one)
    print(f"load {os.getloadavg()[0]:.1f}")
    for name, times_of in taken.items():
        clock, processor = zip(*times_of, strict=True)
        median = statistics.median(clock)
        verdict = f"   target {TARGET} s: {'met' if median <= TARGET else 'MISSED'}"
        print(
            f"{name:20} median {median:.2f} s  best {min(clock):.2f} s   processor: "
            f"median {statistics.median(processor):.2f} s  best {min(processor):.2f} s"
            + (verdict if name.startswith("top") else "")
        )


if __name__ == "__main__":
    main(sys.argv[1:])
