"""A small process that lets the guest run again when gprof cannot.

QEMU stops a guest the moment a debugger connects, and leaves it stopped when that connection is
closed without a word. gprof resumes in the same write that stops, but it can still be killed
between connecting and its first write. So before it connects, it starts this program with the
same socket. When gprof is gone without having said goodbye, the guard resumes in its place.

It runs as a script of its own, imports almost nothing, and is in a session of its own: a Ctrl-C
or a kill of gprof's process group does not reach it.

What it reads from gprof, one byte each:

- `o` the guest's stops are ours: let it run if we vanish.
- `h` hands off: somebody else stopped it, and it must stay so.
- `q` gprof closes the connection itself; end without a word.
"""

from __future__ import annotations

import os
import socket
import sys

#: Interrupt, a question, continue. A running guest is stopped by the first byte and resumed by the
#: last packet; a stopped one ignores the first byte. The answer to the question says that all of
#: it arrived. Left in the queue of a stub that is busy, it does the same later.
FAREWELL = b"\x03$qC#b4$c#63"

_LONGEST_S = 3600.0


def watch(orders: int, connection: socket.socket) -> None:
    """Wait for gprof to end; then let the guest go unless told not to.

    Args:
        orders: file descriptor that gprof writes to; its end says that gprof is gone.
        connection: the connection to the stub, shared with gprof.
    """
    last = b"o"
    while given := os.read(orders, 64):
        last = given[-1:]
        if last == b"q":
            return
    if last == b"h":
        return
    try:
        # Closing would throw away what QEMU has not read yet, and the guest would stand for ever:
        # wait for an answer or for the stub's end, longer than any QEMU is starved or suspended;
        # but not for a host that is gone.
        connection.settimeout(_LONGEST_S)
        connection.sendall(FAREWELL)
        while b"$QC" not in (heard := connection.recv(4096)) and heard:
            pass
    except OSError:
        pass  # never connected, or QEMU is gone: nothing is left to resume


if __name__ == "__main__":
    watch(0, socket.socket(fileno=int(sys.argv[1])))
