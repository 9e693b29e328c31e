"""A Linux guest whose progress the host reads out of its memory, without touching QEMU.

The guest's RAM is a memory file of QEMU, mapped here as well. The programs at work in the guest
(`work.c`) count their units in a page that carries a token of ours. So a look at the counter costs
the guest nothing, and no clock of the guest is involved, which stands while the guest does.
"""

from __future__ import annotations

import base64
import gzip
import mmap
import secrets
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from gprof.guest.address import Address
from gprof.guest.qmp import Qmp
from gprof.guest.vcpu_threads import VcpuThreads
from tests.guests.initramfs import read_module
from tests.guests.linux import GuestFailed, LinuxGuest

_SOURCE = Path(__file__).with_name("work.c")
COMPILER = "x86_64-linux-gnu-gcc"
_RAM, _DISK = 512 << 20, 64 << 20
#: Letters of a token; the counter lies behind it.
_TOKEN = 16
#: Seconds until a program in the guest has begun to count.
_PATIENCE = 60.0
#: Init's endless loops are shells of its name, and children of it.
_LOOPS = (
    "for stat in /proc/[0-9]*/stat; do read -r pid name state parent rest <$stat && "
    "[ $parent$name = '1(init)' ] && {} $pid; done"
)


class WorkingGuest(LinuxGuest):
    """A Linux guest with a disk that does nothing until it is told to.

    Attributes:
        ioeventfd: its virtio devices have eventfds for their queues, as they do by default; to be
            set before it starts.
        process: QEMU's id, once prepared.
        threads: what its vcpus are given, once prepared.
        vcpu_threads: ids of their threads, by vcpu, once prepared.
    """

    ioeventfd = True
    process: int
    threads: VcpuThreads
    vcpu_threads: list[int]
    _ram: mmap.mmap

    def extra_arguments(self) -> Sequence[str]:
        disk = self.directory / "disk"
        with disk.open("wb") as file:
            file.truncate(_DISK)
        devices = ("virtio-blk-pci", "virtio-serial-pci")
        settings = [f"{device}.ioeventfd={'on' if self.ioeventfd else 'off'}" for device in devices]
        return (
            *super().extra_arguments(),
            *(word for setting in settings for word in ("-global", setting)),
            *("-object", f"memory-backend-memfd,id=ram,size={_RAM},share=on"),
            *("-machine", "memory-backend=ram"),
            *("-drive", f"file={disk},format=raw,if=virtio,cache=writeback"),
        )

    def prepare(self) -> None:
        """End what it was started to do, give it its disk and its program, and map its memory.

        Raises:
            GuestFailed: something of that cannot be done.
        """
        self.run(f"{_LOOPS.format('kill -9')}; killall -9 dd find cp")
        if left := self.run(f"{_LOOPS.format('echo')}"):
            raise GuestFailed(f"the guest goes on with what it was started to do: {left!r}")
        (module,) = list(self.kernel.modules.rglob("virtio_blk.ko*"))[:1]
        self._carry_in(read_module(module), "/tmp/blk.ko")
        said = self.run("insmod /tmp/blk.ko; ls /dev/vda")
        if said != b"/dev/vda\n":
            raise GuestFailed(f"no disk: {said!r}")
        self._carry_in(_compiled(self.directory / "work"), "/tmp/work")
        self.run("chmod +x /tmp/work")
        monitor = Qmp(Address.parse(self.qmp_address))
        try:
            peer, vcpus = monitor.peer(), monitor.execute("query-cpus-fast")
        finally:
            monitor.close()
        assert peer is not None
        self.process = peer[0]
        self.vcpu_threads = [vcpu["thread-id"] for vcpu in vcpus]
        self.threads = VcpuThreads.of_process(self.process, dict(enumerate(self.vcpu_threads)))
        self._ram = self._mapped()

    @contextmanager
    def working(self, kind: str, vcpus: int) -> Iterator[Sequence[memoryview]]:
        """Keep the first vcpus at work; their counters of units that are done.

        Args:
            kind: of work, see `work.c`.
            vcpus: how many work, each on its own.

        Raises:
            GuestFailed: the guest does not begin.
        """
        tokens = [secrets.token_hex(_TOKEN // 2) for _ in range(vcpus)]
        pids = []
        try:
            for vcpu, token in enumerate(tokens):
                command = f"taskset {1 << vcpu:x} /tmp/work {kind} {token}"
                pids.append(int(self.run(f"{command} >/dev/null 2>&1 & echo $!")))
            yield [self._counter(token) for token in tokens]
        finally:
            if pids:
                self.run(f"kill -9 {' '.join(map(str, pids))}")

    def _carry_in(self, content: bytes, path: str) -> None:
        text = base64.b64encode(gzip.compress(content)).decode()
        for i in range(0, len(text), 4000):
            self.run(f"echo {text[i : i + 4000]} >>{path}.packed")
        self.run(f"base64 -d {path}.packed | gunzip >{path}; rm {path}.packed")

    def _mapped(self) -> mmap.mmap:
        for file in Path(f"/proc/{self.process}/fd").iterdir():
            if file.readlink().name.startswith("memfd:") and file.stat().st_size == _RAM:
                with file.open("rb") as opened:
                    return mmap.mmap(opened.fileno(), _RAM, prot=mmap.PROT_READ)
        raise GuestFailed("QEMU has no file of the guest's memory")

    def _counter(self, token: str) -> memoryview:
        mark = bytes(ord(letter) | 0x80 for letter in token)
        deadline = time.monotonic() + _PATIENCE
        while (page := self._ram.find(mark)) % mmap.PAGESIZE:
            if time.monotonic() > deadline:
                raise GuestFailed("the program in the guest does not begin to count")
            time.sleep(0.1)  # it writes there some time, and tells nobody
        at = page + _TOKEN
        counter = memoryview(self._ram)[at : at + 8].cast("Q")
        while not counter[0]:
            if time.monotonic() > deadline:
                raise GuestFailed("the program in the guest cannot do its work")
            time.sleep(0.1)
        return counter


def _compiled(target: Path) -> bytes:
    if shutil.which(COMPILER) is None:
        raise SystemExit(f"{COMPILER} is not installed (apt-get install gcc-x86-64-linux-gnu)")
    options = ("-O1", "-nostdlib", "-static", "-fno-builtin", "-fno-stack-protector", "-s")
    subprocess.run([COMPILER, *options, "-o", target, _SOURCE], check=True)
    return target.read_bytes()
