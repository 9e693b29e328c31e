"""A guest whose kernel starts itself anew (kexec) while it is recorded: no reset tells of it."""

from __future__ import annotations

import gzip
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from gprof.profile.profile import Profile
from gprof.recording.reader import read
from symbols.space import AddressSpace
from tests.guests.boots import (
    await_names,
    check_boot,
    compared,
    recorded_by_both,
    what_the_guest_says,
)
from tests.guests.conftest import Bootable
from tests.guests.recordings import await_more
from tests.guests.resetting import ResettingGuest

#: Loads a kernel with `kexec_file_load` (kernel/kexec_file.c), and goes to it when that is all.
KEXEC = r"""
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
int main(int count, char **words) {
    if (count == 1)
        return syscall(SYS_reboot, 0xfee1dead, 672274793, 0x45584543, 0);
    int kernel = open(words[1], O_RDONLY), initrd = open(words[2], O_RDONLY);
    if (syscall(SYS_kexec_file_load, kernel, initrd, strlen(words[3]) + 1, words[3], 0L)) {
        perror("kexec_file_load");
        return 1;
    }
    puts("loaded");
}
"""


class KexecGuest(ResettingGuest):
    """A guest that has its own kernel and root file system as files, and a way to start them."""

    def extra_arguments(self) -> Sequence[str]:
        arguments = super().extra_arguments()
        initramfs, root = self.directory / "initramfs", self.directory / "more"
        (root / "boot").mkdir(parents=True)
        shutil.copy(self.kernel.vmlinuz, root / "boot" / "vmlinuz")
        shutil.copy(initramfs, root / "boot" / "initrd")
        subprocess.run(
            ["gcc", "-O1", "-static", "-xc", "-", "-o", root / "boot" / "kexec"],
            input=KEXEC.encode(),
            check=True,
        )
        names = "boot\nboot/vmlinuz\nboot/initrd\nboot/kexec\n"
        packed = subprocess.run(
            [self._busybox, "cpio", "-o", "-H", "newc"],
            cwd=root,
            input=names.encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            check=True,
        )
        # The kernel unpacks one archive after the other.
        with initramfs.open("ab") as file:
            file.write(gzip.compress(packed.stdout, compresslevel=1))
        return arguments

    def start_again(self) -> None:
        """Have the kernel start itself, and wait until that works."""
        loading = '/boot/kexec /boot/vmlinuz /boot/initrd "$(cat /proc/cmdline)"'
        assert self.run(loading) == b"loaded\n"
        assert self._line is not None
        self._line.sendall(b"/boot/kexec\n")
        self.await_boot()


@pytest.fixture
def kexec_guest(bootable: Bootable) -> Iterator[KexecGuest]:
    """Debian's kernel on one vcpu, which can start itself anew."""
    if shutil.which("gcc") is None:
        pytest.skip("no compiler is installed (apt-get install gcc libc6-dev)")
    with KexecGuest(*bootable, vcpus=1, patience=400) as guest:
        yield guest


def start_of_text(guest: KexecGuest) -> bytes:
    """Where the guest says that its kernel's text begins."""
    found = re.search(rb"^([0-9a-f]+) T _stext$", guest.kallsyms.read_bytes(), re.MULTILINE)
    assert found is not None
    return found[1]


def check_names(profile: Profile, before: AddressSpace, after: AddressSpace) -> None:
    """Every kernel sample has its name by the boot that it was taken in."""
    eras = profile.space(0).eras
    assert len(eras) >= 2
    samples = profile.samples
    old = samples.time < eras[1].since_ns
    check_boot(profile, before, old)
    check_boot(profile, after, ~old)
    for truth, other, ours in ((before, after, old), (after, before, ~old)):
        _, different = compared(profile, truth, ours)
        for found in (found for found, _ in different if found is not None):
            at = other.symbol_at(found.start)
            assert at is None or at.symbol.start != found.start, "named by the other boot"


@pytest.mark.generations
def test_a_kernel_that_starts_itself_anew(kexec_guest: KexecGuest, tmp_path: Path) -> None:
    guest = kexec_guest
    with recorded_by_both(guest, tmp_path) as paths:
        await_more(*paths, samples=200)
        before, first_text = what_the_guest_says(guest), start_of_text(guest)
        guest.start_again()
        await_more(*paths, samples=200)
        after = what_the_guest_says(guest)
        await_names(after, *paths, boots=2)
    assert start_of_text(guest) != first_text  # else nothing was proven
    for path in paths:
        profile = read(path)
        check_names(profile, before, after)
        assert any("has started another" in note for note in profile.facts.notes)
