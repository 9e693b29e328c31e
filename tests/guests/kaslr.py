"""What a kernel needs to move itself (KASLR), where QEMU does not give it."""

from __future__ import annotations

import re
from pathlib import Path

#: Of s390x, in the code that unpacks the kernel: `kmc`, asked what it can do, and after it the
#: test of bit 67 of the answer, whether it makes random numbers (check_prng in
#: arch/s390/boot/kaslr.c). Group 1 is what the test names: a bit of a byte, and the place of that
#: byte on the stack.
_ASKS_KMC = re.compile(rb"\xb9\x2f\x00.\x91(\x10[\xf0-\xff].)", re.DOTALL)
_BYTE = 67 // 8


def moving_kernel(architecture: str, vmlinuz: Path, folder: Path) -> Path:
    """The kernel to boot, so that it moves itself.

    Args:
        architecture: as Debian calls it.
        vmlinuz: the kernel as it comes.
        folder: a place for files of this guest.
    """
    if architecture != "s390x":
        return vmlinuz
    copy = folder / "vmlinuz"
    copy.write_bytes(without_test_of_kmc(vmlinuz.read_bytes()))
    return copy


def without_test_of_kmc(image: bytes) -> bytes:
    """A kernel of s390x that moves itself by the random numbers that QEMU does have.

    QEMU emulates the instruction that gives true ones (PRNO), and Linux uses them where they are,
    but first it asks for KMC's, which QEMU has not, and gives up without. Here it asks KMC
    instead whether it can be asked, bit 0 of the same answer. What follows, the choice of a place
    and the move, is all the kernel's own.
    """
    found = list(_ASKS_KMC.finditer(image))
    assert len(found) == 1, "the kernel tests in another way whether KMC makes random numbers"
    start, end = found[0].span(1)
    place = int.from_bytes(found[0][1][1:], "big") - _BYTE
    return image[:start] + b"\x80" + place.to_bytes(2, "big") + image[end:]
