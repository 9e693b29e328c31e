"""A filter of the old kind on a socket: compiled by the kernel, and named by nobody."""

from __future__ import annotations

import base64
import gzip
import random
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gprof.attach import Attached, attach
from gprof.guest.address import Address
from gprof.guest.machine import Machine
from gprof.guest.mode import Mode
from gprof.profile.places import nameless
from gprof.sources import Sources
from symbols.space import AddressSpace, ImageKind, Reason, Running
from tests.guests.linux import LinuxGuest
from tests.waiting import Deadline

pytestmark = [pytest.mark.guest, pytest.mark.generations]

#: Sends itself datagrams through a filter of 1,500 multiplications; Linux on x86-64 alone.
PROGRAM = """
struct filter { unsigned short code; unsigned char yes, no; unsigned int k; };
static struct filter filters[1500];
static struct { unsigned short count; struct filter *first; } program = { 1500, filters };
static int ends[2];
static char packet[64];

static long call(long number, long a, long b, long c, long d, long e)
{
    register long r10 asm("r10") = d;
    register long r8 asm("r8") = e;
    asm volatile("syscall" : "+a"(number) : "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
                 : "rcx", "r11", "memory");
    return number;
}

void _start(void)
{
    int i;
    filters[0].code = 0x20; /* BPF_LD | BPF_W | BPF_ABS */
    for (i = 1; i < 1499; i++) {
        filters[i].code = 0x24; /* BPF_ALU | BPF_MUL | BPF_K */
        filters[i].k = 3;
    }
    filters[1499].code = 6; /* BPF_RET | BPF_K */
    filters[1499].k = sizeof packet;
    call(53, 1, 2, 0, (long)ends, 0); /* socketpair, AF_UNIX, SOCK_DGRAM */
    if (call(54, ends[1], 1, 26, (long)&program, 16)) /* SOL_SOCKET, SO_ATTACH_FILTER */
        call(60, 1, 0, 0, 0, 0);
    for (;;) {
        call(1, ends[0], (long)packet, sizeof packet, 0, 0);
        call(0, ends[1], (long)packet, sizeof packet, 0, 0);
    }
}
"""
#: Samples in the filter.
ENOUGH = 20


@contextmanager
def filtering(guest: LinuxGuest, folder: Path) -> Iterator[None]:
    """The program at work in the guest."""
    if shutil.which("x86_64-linux-gnu-gcc") is None:
        pytest.skip("no compiler for the guest is installed (apt-get install gcc-x86-64-linux-gnu)")
    built = folder / "filtered"
    options = ("-O1", "-nostdlib", "-static", "-s", "-fno-stack-protector", "-xc", "-")
    subprocess.run(
        ["x86_64-linux-gnu-gcc", *options, "-o", built], input=PROGRAM.encode(), check=True
    )
    packed = base64.encodebytes(gzip.compress(built.read_bytes())).decode().split()
    lines = " ".join(["'begin-base64 644 -'", *packed, "===="])
    guest.run(f"printf '%s\\n' {lines} | uudecode | gunzip >/tmp/filtered; chmod +x /tmp/filtered")
    assert guest.run("cat /proc/sys/net/core/bpf_jit_enable").strip() == b"1"
    pid = int(guest.run("/tmp/filtered >/dev/null 2>&1 & echo $!"))
    try:
        yield
    finally:
        guest.run(f"kill -9 {pid}")


def without_names(attached: Attached) -> list[int]:
    """Where the guest's kernel stood, when that had no name; sampled until it is enough."""
    machine = attached.machine
    assert isinstance(machine, Machine)
    rng = random.Random(3)
    found: list[int] = []
    deadline = Deadline(f"{ENOUGH} samples without a name", lambda: found)
    while len(found) < ENOUGH:
        deadline.check()
        time.sleep(rng.uniform(0.001, 0.01))  # out of step with the guest's timer
        states = [one.state for one in machine.sample(machine.vcpus)[1]]
        pcs = np.array([s.pc for s in states if s is not None and s.mode is Mode.KERNEL], np.uint64)
        reasons = attached.space.resolve(pcs, Running.PRIVILEGED).reason
        found += pcs[reasons != Reason.RESOLVED].tolist()
    return found


def labels(space: AddressSpace, pcs: list[int]) -> Counter[tuple[str, Reason]]:
    """What the pcs are called, and why not by a symbol."""
    found = space.resolve(np.array(pcs, np.uint64), Running.PRIVILEGED)
    named: Counter[tuple[str, Reason]] = Counter()
    for image, reason in zip(found.image.tolist(), found.reason.tolist(), strict=True):
        loaded = space.images[image] if image >= 0 else None
        place = nameless(0, loaded, Reason(reason), 0)
        assert place.kind is ImageKind.GENERATED
        named[place.module, place.reason] += 1
    return named


@pytest.mark.parametrize("source", ["nothing", "vmlinux"])
def test_a_socket_filter_is_generated_code(
    linux_guest: LinuxGuest, tmp_path: Path, source: str
) -> None:
    given = Sources() if source == "nothing" else Sources.open(linux_guest.vmlinux, None, None)
    with filtering(linux_guest, tmp_path):
        attached = attach(Address.parse(linux_guest.gdb_address), given)
        try:
            pcs = without_names(attached)
        finally:
            attached.close()
    assert labels(attached.space, pcs).keys() == {("bpf", Reason.GENERATED)}
    # As where each program has memory of its own, or nothing tells where that is.
    apart = replace(attached.sources, programs=()).space(
        attached.slide, attached.machine.architecture
    )
    assert labels(apart, pcs).keys() == {("[generated]", Reason.GENERATED)}
