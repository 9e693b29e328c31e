"""A libvirtd of our own with one domain, the demo guest; the machine's own is not touched."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Self

from gprof.guest.demo import demo_file
from tests.guests.watched_demo import await_work
from tests.waiting import needed, wait_until

#: As root it would be the machine's own libvirtd; so it runs as somebody who owns nothing.
_NOBODY = 65534

DOMAIN = """<domain type='qemu'>
  <name>{name}</name>
  <memory unit='MiB'>16</memory>
  <vcpu>2</vcpu>
  <os><type arch='x86_64' machine='pc'>hvm</type><kernel>{kernel}</kernel></os>
  <devices><emulator>{qemu}</emulator></devices>
</domain>
"""

#: The daemon does not end its domains when it ends, nor itself when we do: so a shell that reads
#: from us does both, however we end.
_GUARD = """
where=$1; shift
"$@" </dev/null >"$where/log" 2>&1 & daemon=$!
read -r _
for domain in $(virsh -q list --uuid); do virsh -q destroy "$domain"; done
kill "$daemon"; wait "$daemon"; rm -rf "$where"
"""


def find_libvirt() -> bool:
    """Whether a daemon and its shell are installed."""
    return all(shutil.which(name, path=_path()) for name in ("libvirtd", "virsh", "setpriv"))


def _path() -> str:
    """Daemons are not on everybody's PATH."""
    return f"{os.environ['PATH']}:/usr/sbin"


class LibvirtDaemon:
    """A context manager: inside, the domain runs and is at work.

    Args:
        name: of the domain.

    Attributes:
        uri: of the connection, for LIBVIRT_DEFAULT_URI.
        image: the program that the guest runs.
    """

    def __init__(self, name: str = "gprof's demo") -> None:
        self.name = name
        self.uri = ""
        self.image = Path()

    def __enter__(self) -> Self:
        where = Path(tempfile.mkdtemp(prefix="gprof-libvirt-", dir="/tmp"))
        for folder in ("home", "run", "config/libvirt", "cache", "sockets"):
            (where / folder).mkdir(parents=True)
        # Without virtlogd, which is one daemon less.
        (where / "config/libvirt/qemu.conf").write_text('stdio_handler = "file"\n')
        (where / "libvirtd.conf").write_text(
            f'auth_unix_rw = "none"\nunix_sock_dir = "{where}/sockets"\n'
        )
        self.image = Path(shutil.copy(demo_file("demo.elf"), where / "demo.elf"))
        self.uri = f"qemu:///session?socket={where}/sockets/libvirt-sock"
        change: list[str] = []
        if os.geteuid() == 0:
            change = ["setpriv", f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups"]
            for path in (where, *where.rglob("*")):
                os.chown(path, _NOBODY, _NOBODY)
        self._environment = {
            "PATH": _path(),
            "LC_ALL": "C",
            "LIBVIRT_DEFAULT_URI": self.uri,
            "HOME": f"{where}/home",
            "XDG_RUNTIME_DIR": f"{where}/run",
            "XDG_CONFIG_HOME": f"{where}/config",
            "XDG_CACHE_HOME": f"{where}/cache",
        }
        self._log = where / "log"
        self._process = subprocess.Popen(
            [
                *change,
                "/bin/sh",
                "-c",
                _GUARD,
                "sh",
                where,
                "libvirtd",
                "-f",
                where / "libvirtd.conf",
            ],
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            with needed(self._process):
                # A new socket announces itself to nobody.
                wait_until(
                    (where / "sockets/libvirt-sock").exists, "libvirtd", seen=lambda: self.log
                )
            definition = where / "domain.xml"
            definition.write_text(
                DOMAIN.format(
                    name=self.name, kernel=self.image, qemu=shutil.which("qemu-system-x86_64")
                )
            )
            definition.chmod(0o644)
            self.virsh("create", str(definition))
            await_work(self._monitor)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def log(self) -> str:
        """What the daemon complained of."""
        with contextlib.suppress(OSError):
            return self._log.read_text(errors="replace")[-3000:]
        return ""

    def _monitor(self, command: str) -> str:
        return self.virsh("qemu-monitor-command", "--hmp", self.name, command)

    def virsh(self, *words: str) -> str:
        """What a command of virsh prints.

        Raises:
            OSError: it failed.
        """
        done = subprocess.run(
            ["virsh", "-q", *words],
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if done.returncode:
            raise OSError(f"virsh {' '.join(words)}: {done.stderr}\n{self.log}")
        return done.stdout

    def close(self) -> None:
        """End the domain and the daemon."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=120)
