"""What one sample through the gdbstub costs the guest: gprof, a plain client, and gdb, in one run.

    python -m benchmarks.halt [--short]

The guest is the bundled demo, two vcpus under TCG. How long it stood is told by QEMU itself: the
timestamps of the STOP and RESUME events of its monitor. Every way samples the registers of all
vcpus, at the same mean rates:

- gprof: one write a sample, its budget raised so that nothing holds it back,
- plain: a client that sends a request and waits for each answer, as protocol clients are written,
- gdb: `thread apply all bt` in one gdb process that stops and continues the guest in a loop, as
  the usual scripts do, as fast as it can.

`slowdown` is how much longer the guest needs for the same work, by the time that it stood. `own`
is the mean time that the guest stood for one as gprof itself reports it (`SourceFacts`), to be
held against `mean`; what QEMU computes before and after that is in neither (see slowdown.py).
`--short` samples for two seconds each time instead of eight.
"""

from __future__ import annotations

import itertools
import os
import random
import re
import shutil
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from gprof.attach import attach
from gprof.guest.address import Address
from gprof.guest.demo import DemoGuest
from gprof.guest.machine import Machine
from gprof.guest.rsp import Decoder, packet
from gprof.sampling_way import source_of
from gprof.sources import Sources
from tests.monitor import Event, Monitor

RATES = (99.0, 499.0, 999.0)
SECONDS, SHORT_SECONDS = 8.0, 2.0
GDB_STOPS, SHORT_GDB_STOPS = 60, 8
#: Our median halted time, as a part of that of the plain client and of gdb.
TARGETS = {"plain": 0.4, "gdb": 1 / 50}


_COLUMNS = "{:<6}{:>6}{:>9}{:>9}{:>8}{:>8}{:>9}{:>10}{:>8}"
HEADING = "\n".join(
    _COLUMNS.format(*words)
    for words in (
        ("", "asked", "reached", "median", "mean", "p95", "halted", "slowdown", "own"),
        ("", "Hz", "Hz", "µs", "µs", "µs", "%", "%", "µs"),
    )
)


@dataclass(frozen=True, slots=True)
class Halts:
    """How one way went.

    Attributes:
        way: `gprof`, `plain` or `gdb`.
        asked_hz: 0 for as fast as it can.
        seconds: how long it sampled.
        halts_us: each halt of the guest, by QEMU's clock.
        own_us: the cost of a stop by the sampler's own word; None where it has none.
    """

    way: str
    asked_hz: float
    seconds: float
    halts_us: list[int]
    own_us: float | None = None

    @property
    def median_us(self) -> float:
        return statistics.median(self.halts_us)

    @property
    def row(self) -> str:
        rate = len(self.halts_us) / self.seconds
        p95 = sorted(self.halts_us)[len(self.halts_us) * 95 // 100]
        # A guest that stands for a part of the time needs so much longer for the same work.
        stood = sum(self.halts_us) / 1e6 / self.seconds
        return _COLUMNS.format(
            self.way,
            f"{self.asked_hz:.0f}" if self.asked_hz else "most",
            f"{rate:.0f}",
            f"{self.median_us:.0f}",
            f"{statistics.mean(self.halts_us):.0f}",
            f"{p95:.0f}",
            f"{100 * stood:.2f}",
            f"{100 * stood / (1 - stood):.2f}",
            f"{self.own_us:.0f}" if self.own_us is not None else "",
        )


def halts_between(events: Iterable[Event]) -> list[int]:
    """Microseconds from each STOP to the RESUME after it."""
    chosen = [event for event in events if event.name in {"STOP", "RESUME"}]
    return [
        after.time_us - before.time_us
        for before, after in itertools.pairwise(chosen)
        if (before.name, after.name) == ("STOP", "RESUME")
    ]


def gprof(guest: DemoGuest, monitor: Monitor, hz: float, seconds: float) -> Halts:
    sources = Sources.open(guest.image, None, None)
    attached = attach(Address.parse(guest.gdb_address), sources)
    assert isinstance(attached.machine, Machine)
    source = source_of(attached, hz=hz, max_halted=1.0)
    monitor.execute("query-status")
    first, greeting = len(monitor.events), attached.machine.stub.greeting_ns
    end = time.monotonic() + seconds
    for _ in source.batches():
        if time.monotonic() >= end:
            source.close()
    monitor.execute("query-status")
    facts = source.facts()
    # The last stop is the one that detaches.
    halts = halts_between(monitor.events[first:])[: facts.taken]
    own = (facts.halted_ns - facts.stop_work_ns - greeting) / facts.taken / 1000
    return Halts("gprof", hz, facts.covered_ns / 1e9, halts, own)


class PlainClient:
    """A client that waits for every answer before it asks on."""

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(20)
        self._socket.connect(address)
        self._decoder = Decoder()
        self._pending: list[bytes] = []
        self.ask(b"qSupported:multiprocess+")
        # The first answer may have been the report of the stop that connecting is.
        self.threads = []
        reply = self.ask(b"qfThreadInfo")
        while reply[:1] != b"l":
            if reply[:1] == b"m":
                self.threads.append(reply[1:])
                reply = self.ask(b"qsThreadInfo")
            else:
                reply = self._receive()
        self._socket.sendall(packet(b"c"))

    def ask(self, request: bytes) -> bytes:
        self._socket.sendall(packet(request))
        return self._receive()

    def sample(self) -> list[bytes]:
        """The registers of every vcpu."""
        self._socket.sendall(b"\x03")
        self._receive()
        found = []
        for thread in self.threads:
            self.ask(b"Hg" + thread)
            found.append(self.ask(b"g"))
        self._socket.sendall(packet(b"c"))
        return found

    def close(self) -> None:
        self._socket.sendall(b"\x03")
        self._receive()
        self.ask(b"D;1")
        self._socket.close()

    def _receive(self) -> bytes:
        while not self._pending:
            self._pending += self._decoder.feed(self._socket.recv(1 << 16))
        return self._pending.pop(0)


def plain(guest: DemoGuest, monitor: Monitor, hz: float, seconds: float) -> Halts:
    client = PlainClient(guest.gdb_address)
    monitor.execute("query-status")
    first = len(monitor.events)
    rng = random.Random(1)
    begun = time.monotonic()
    due, taken = begun, 0
    while (now := time.monotonic()) < begun + seconds:
        due = max(due + rng.expovariate(hz), now - 0.5)
        time.sleep(max(0.0, due - time.monotonic()))
        registers = client.sample()
        assert all(len(each) > 1000 for each in registers), "these are no registers"
        taken += 1
    elapsed = time.monotonic() - begun
    client.close()
    monitor.execute("query-status")
    return Halts("plain", hz, elapsed, halts_between(monitor.events[first:])[:taken])


def gdb(guest: DemoGuest, monitor: Monitor, stops: int) -> Halts | None:
    program = shutil.which("gdb") or shutil.which("gdb-multiarch")
    if program is None:
        return None
    # gdb comes back from `continue` when it is interrupted, here by a shell that it starts itself.
    script = [f"target remote {guest.gdb_address}"]
    for _ in range(stops):
        script += ["shell (sleep 0.05; kill -INT $PPID) &", "continue", "thread apply all bt"]
    script += ["detach", "quit"]
    command = [program, "-nx", "-q", "-batch", str(guest.image)]
    for line in script:
        command += ["-ex", line.replace("$PPID", "$GDB_PID")]
    monitor.execute("query-status")
    first = len(monitor.events)
    begun = time.monotonic()
    done = subprocess.run(
        ["/bin/sh", "-c", 'GDB_PID=$$; export GDB_PID; exec "$@"', "sh", *command],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "LC_ALL": "C"},
        timeout=600,
    )
    elapsed = time.monotonic() - begun
    monitor.execute("query-status")
    shown = len(re.findall(r"^Thread 1 \(", done.stdout, re.MULTILINE))
    if shown != stops:
        raise SystemExit(
            f"gdb showed {shown} stacks of {stops}:\n{(done.stdout + done.stderr)[-2000:]}"
        )
    # The first halt is gdb connecting.
    return Halts("gdb", 0, elapsed, halts_between(monitor.events[first:])[1:])


def main(arguments: list[str]) -> None:
    if set(arguments) - {"--short"}:
        raise SystemExit(__doc__)
    seconds, stops = (SHORT_SECONDS, SHORT_GDB_STOPS) if arguments else (SECONDS, GDB_STOPS)
    print(f"{os.cpu_count()} cpus, load {os.getloadavg()[0]:.1f}, two vcpus under TCG")
    print(HEADING)
    ways: tuple[Callable[[DemoGuest, Monitor, float, float], Halts], ...] = (gprof, plain)
    found: dict[str, Halts] = {}
    with DemoGuest() as guest, Monitor(guest.qmp_address) as monitor:
        for hz in RATES:
            for way in ways:
                halts = way(guest, monitor, hz, seconds)
                print(halts.row, flush=True)
                found.setdefault(halts.way, halts)
        by_gdb = gdb(guest, monitor, stops)
        if by_gdb is not None:
            print(by_gdb.row)
            found["gdb"] = by_gdb
        assert monitor.is_running()
    ours = found["gprof"].median_us
    print(f"\nmedian halt of gprof at {RATES[0]:.0f} Hz: {ours:.0f} µs")
    for name, target in TARGETS.items():
        if name in found:
            ratio = ours / found[name].median_us
            verdict = "met" if ratio <= target else "MISSED"
            print(f"  of {name}'s: {ratio:.4f}, target {target:g}: {verdict}")


if __name__ == "__main__":
    main(sys.argv[1:])
