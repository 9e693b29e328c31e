"""Processes that sample a guest until they are killed: `python -m tests.guests.victims ADDRESS`.

Each line on stdin is a number of milliseconds: a victim is forked, connects and samples at 999 Hz,
and is killed after that long. The answer is one line: how far it had come. It is given when the
victim and everything that it had started are gone.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time

from gprof.guest.address import Address
from gprof.guest.gdbstub import Stub
from gprof.guest.machine import Machine
from gprof.sampling.halting import HaltingOptions, HaltingSource

#: Orphans of our children become our own children (linux/prctl.h).
_PR_SET_CHILD_SUBREAPER = 36

#: What a victim writes, one byte each time.
_CONNECTING, _CONNECTED, _SAMPLED = b"c", b"C", b"s"
PLACES = {b"": "starting", _CONNECTING: "connecting", _CONNECTED: "preparing", _SAMPLED: "sampling"}


def sample_for_ever(address: str, progress: int) -> None:
    """What a victim does."""
    os.write(progress, _CONNECTING)
    stub = Stub(Address.parse(address))
    os.write(progress, _CONNECTED)
    source = HaltingSource(Machine(stub), HaltingOptions(hz=999, max_halted=1.0))
    for _ in source.batches():
        os.write(progress, _SAMPLED)


def kill_one(address: str, milliseconds: float) -> str:
    """Fork a victim, kill it, wait until nothing of it is left; how far it came."""
    reading, writing = os.pipe()
    victim = os.fork()
    if victim == 0:
        try:
            os.close(reading)
            sample_for_ever(address, writing)
        finally:
            os._exit(1)  # it never ends by itself
    os.close(writing)
    time.sleep(milliseconds / 1000)
    os.kill(victim, signal.SIGKILL)
    statuses = {}
    while True:
        try:
            child, status = os.wait()
        except ChildProcessError:
            break
        statuses[child] = status
    # The guard had the pipe too, if it was being started; now nobody has.
    said = b""
    while more := os.read(reading, 4096):
        said += more
    os.close(reading)
    if not os.WIFSIGNALED(statuses[victim]):
        return "failed"
    return PLACES[said[-1:]]


def main() -> None:
    """Obey stdin."""
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")
    for line in sys.stdin:
        sys.stdout.write(kill_one(sys.argv[1], float(line)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
