"""A gdbstub with the manners of QEMU's, for tests that must not depend on a real one.

The rules are those of gdb_read_byte and gdb_vm_state_change (gdbstub/gdbstub.c and system.c of
QEMU 7.2 and 10.0): connecting stops the machine; any byte to a running machine stops it; a reply
stays pending until `$` or `+`, is sent again for `-`, and swallows other bytes; up to 8.0 every
stop is reported, later only those that a command waits for.
"""

from __future__ import annotations

import socket
from pathlib import Path

from gprof.guest.rsp import packet
from tests.socket_model import SocketModel
from tests.waiting import wait_until

TARGET = b"""<?xml version="1.0"?><!DOCTYPE target SYSTEM "gdb-target.dtd"><target>
<architecture>i386:x86-64</architecture><xi:include href="core.xml"/></target>"""
CORE = b"""<?xml version="1.0"?><!-- a <reg name="lie" bitsize="64"/> of no account -->
<feature name="core"><reg name="rax" bitsize="64"/><reg name="rip" bitsize="64"/>
<reg name="cs" bitsize="32"/><!-- <reg name="cs_base" bitsize="64"/> -->
<reg name="cr0" bitsize="32" regnum="24"/>
<reg name="rsp" bitsize="64"/><reg name="rbp" bitsize="64"/>
<reg name="gs_base" bitsize="64"/><reg name="k_gs_base" bitsize="64"/></feature>"""


class StubModel(SocketModel):
    """Serves one client after another on a unix socket.

    Attributes:
        running: whether the machine runs.
        pcs: of each vcpu.
        sps: stack pointer of each vcpu.
        code_segments: of each vcpu; 0x33 is user space.
        gs_bases: of each vcpu, where the kernel has its own data; exchanged in user space.
        memory: by page number.
        physical: by page number, zeros elsewhere; None where the stub cannot read it.
        described: the documents that say which registers there are.
        further: of each vcpu, registers that are not in the reply to `g`, by number.
        stops: how often the machine was stopped.
        stop_on_arrival: somebody stops the machine in the moment before the next bytes are read.
        needs_reset: the machine has shut down: nobody but a reset lets it run.
        seen: every packet that arrived, in order.
    """

    def __init__(
        self, path: Path, *, running: bool = True, version: str = "7.2.22", vcpus: int = 2
    ) -> None:
        super().__init__(path)
        self.running = running
        self.version = version
        self.reports_every_stop = tuple(map(int, version.split(".")[:2])) <= (8, 0)
        self.pcs = [0xFFFF_FFFF_8100_0000 + i * 0x1000 for i in range(vcpus)]
        self.sps = [0xFFFF_C900_0000_3E00 + i * 0x8000 for i in range(vcpus)]
        self.code_segments = [0x10] * vcpus
        self.gs_bases = [0xFFFF_8880_3FC0_0000 + i * 0x10_0000 for i in range(vcpus)]
        self.halted: set[int] = set()
        self.memory: dict[int, bytes] = {}
        self.physical: dict[int, bytes] | None = None
        self.reads_physical = False
        self.described = {b"target.xml": TARGET, b"core.xml": CORE}
        self.further: list[dict[int, int]] = [{} for _ in range(vcpus)]
        self.unmapped_for: dict[int, set[int]] = {}  # pages that a vcpu does not see
        self.refused_threads: set[int] = set()
        self.status = "paused"
        self.silent = False
        self.stops = 0
        self.stop_on_arrival = False
        self.needs_reset = False
        self.seen: list[bytes] = []
        self._pending = b""
        self._awaited = False  # a command waits for a stop to be reported
        self._buffer = bytearray()
        self._chosen = 0
        self.serve()

    def stop_by_other(self) -> None:
        """What `stop` in the monitor does, to a machine that runs."""
        self.soon_runs()
        with self._lock:
            self._stop()

    def resume_by_other(self) -> None:
        """What `cont` in the monitor does."""
        with self._lock:
            self.running = True

    def soon_runs(self) -> bool:
        """Wait until the machine runs; what was sent last may not have been read yet."""
        wait_until(lambda: self.running, "a machine that runs", pause=0.002)
        return True

    def _greet(self) -> None:
        self._stop()

    def _hear(self, client: socket.socket) -> None:
        while data := client.recv(4096):
            with self._lock:
                if self.stop_on_arrival:
                    self.stop_on_arrival = False
                    self._stop()
                for byte in data:
                    self._byte(byte)

    def _leave(self) -> None:
        self._pending = b""
        self._buffer.clear()

    def _stop(self) -> None:
        if not self.running:
            return
        self.running = False
        self.stops += 1
        if self._client is not None and (self.reports_every_stop or self._awaited):
            self._reply(b"T02thread:p01.01;")
        self._awaited = False

    def _byte(self, byte: int) -> None:
        if self._pending:
            if byte == ord("-"):
                self._send(self._pending)
            if byte in b"+$":
                self._pending = b""
            if byte != ord("$"):
                return
        if self.running:
            self._awaited = byte == 3
            self._buffer.clear()
            self._stop()
            return
        self._buffer.append(byte)
        if self._buffer[:1] != b"$":
            self._buffer.clear()
        elif len(self._buffer) > 3 and self._buffer[-3:-2] == b"#":
            body = bytes(self._buffer[1:-3])
            assert packet(body) == self._buffer, "a wrong checksum"
            self._buffer.clear()
            self._send(b"+")
            self.seen.append(body)
            if not self.silent:
                self._command(body)

    def _command(self, body: bytes) -> None:
        if body == b"c":
            self._awaited = True
            self.running = not self.needs_reset
        elif body.startswith(b"D"):
            self.running = not self.needs_reset
            self._reply(b"OK")
        elif body.startswith(b"qSupported"):
            self._reply(b"PacketSize=1000;qXfer:features:read+;multiprocess+")
        elif body.startswith(b"qRcmd,"):
            self._monitor(bytes.fromhex(body[6:].decode()).decode().strip())
        elif body == b"qfThreadInfo":
            self._listed = 1
            self._reply(b"mp01.01")
        elif body == b"qsThreadInfo":
            self._listed += 1
            more = self._listed <= len(self.pcs)
            self._reply(b"mp01.%02x" % self._listed if more else b"l")
        elif body.startswith(b"qXfer:features:read:"):
            name, span = body.removeprefix(b"qXfer:features:read:").split(b":")
            document = self.described[name]
            at, size = (int(part, 16) for part in span.split(b","))
            end = b"l" if at + size >= len(document) else b"m"
            self._reply(end + document[at : at + size])
        elif body.startswith(b"Hg"):
            index = int(body.rpartition(b".")[2], 16) - 1
            if index in self.refused_threads:
                self._reply(b"E22")
            else:
                self._chosen = index
                self._reply(b"OK")
        elif body == b"g":
            which = self._chosen
            registers = (
                *((0, 8), (self.pcs[which], 8), (self.code_segments[which], 4), (0x80000001, 4)),
                *((self.sps[which], 8), (0, 8)),
                *((base, 8) for base in self._bases(which)),
            )
            self._reply(b"".join(v.to_bytes(n, "little").hex().encode() for v, n in registers))
        elif body.startswith(b"p"):
            value = self.further[self._chosen].get(int(body[1:], 16))
            self._reply(b"E14" if value is None else value.to_bytes(8, "little").hex().encode())
        elif body.startswith(b"qThreadExtraInfo,"):
            state = "halted " if self._chosen in self.halted else "running"
            self._reply(f"CPU#{self._chosen} [{state}]".encode().hex().encode())
        elif body.startswith(b"m"):
            at, size = (int(part, 16) for part in body[1:].split(b","))
            hidden = self.unmapped_for.get(self._chosen, set())
            page = None if at // 4096 in hidden else self.memory.get(at // 4096)
            if self.reads_physical and self.physical is not None:
                page = self.physical.get(at // 4096, bytes(4096))
            data = None if page is None else page[at % 4096 :][:size]
            self._reply(b"E14" if data is None else data.hex().encode())
        elif body.startswith(b"Qqemu.PhyMemMode:") and self.physical is not None:
            self.reads_physical = body.endswith(b"1")
            self._reply(b"OK")
        elif body == b"qC":
            self._reply(b"QCp01.01")
        elif body == b"qAttached":
            self._reply(b"1")
        elif body.startswith(b"vAttach"):
            self._reply(b"E22")
        else:
            self._reply(b"")

    def _bases(self, vcpu: int) -> tuple[int, int]:
        user = self.code_segments[vcpu] == 0x33
        return (0x7F00, self.gs_bases[vcpu]) if user else (self.gs_bases[vcpu], 0)

    def _monitor(self, command: str) -> None:
        said = {
            "info status": f"VM status: {self.status}\r\n",
            "info version": f"{self.version}\r\n",
            "info kvm": "kvm support: disabled\r\n",
        }.get(command)
        if said is not None:
            self._reply(b"O" + said.encode().hex().encode())
        self._reply(b"OK")

    def _reply(self, body: bytes) -> None:
        self._pending = packet(body)
        self._send(self._pending)
