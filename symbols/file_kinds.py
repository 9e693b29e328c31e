"""What a file is that was given in place of another: a name for people, and the way out."""

from __future__ import annotations

import re

#: How much of a file's head the kinds below need.
HEAD = 1024

_ADVICE_VMLINUX = (
    "Give the uncompressed vmlinux with its symbols: Debian and Ubuntu have it in the kernel's "
    "-dbg or -dbgsym package, Fedora and SUSE in kernel-debuginfo; a kernel you built has it at "
    "the top of its build directory."
)
_KALLSYMS_LINE = re.compile(rb"[0-9a-fA-F]{8,16} [a-zA-Z?] \S")
_MAGIC = (
    (b"\x1f\x8b", "data compressed with gzip", "Decompress it first: gzip -dk FILE."),
    (b"\xfd7zXZ\0", "data compressed with xz", "Decompress it first: xz -dk FILE."),
    (b"\x28\xb5\x2f\xfd", "data compressed with zstd", "Decompress it first: zstd -d FILE."),
    (b"BZh", "data compressed with bzip2", "Decompress it first: bzip2 -dk FILE."),
    (b"\x04\x22\x4d\x18", "data compressed with lz4", "Decompress it first: lz4 -d FILE."),
    (b"\x02\x21\x4c\x18", "data compressed with lz4", "Decompress it first: lz4 -d FILE."),
    (b"!<arch>\n", "an archive or a Debian package", "Unpack it first: dpkg -x FILE DIRECTORY."),
    (b"\xed\xab\xee\xdb", "an RPM package", "Unpack it first: rpm2cpio FILE | cpio -id."),
    (b"PERFILE2", "a perf.data file", "Give it as input: -i FILE."),
    (b"QFI\xfb", "a qcow2 disk image", _ADVICE_VMLINUX),
)


def looks_like(head: bytes) -> tuple[str, str]:
    """What a file is that starts with `head`, and what to do about it.

    Returns:
        A noun phrase, such as `a compressed kernel (bzImage)`, and a sentence of advice.
    """
    if not head:
        return "empty", "Copy it again: it has no bytes."
    # Documentation/arch/x86/boot.rst: the boot protocol's signature at 0x202.
    if head[0x202:0x206] == b"HdrS":
        return "a compressed kernel (bzImage)", _ADVICE_VMLINUX
    # Documentation/arch/arm64/booting.rst and arch/riscv/boot-image-header.rst: magic at 0x38.
    if head[0x38:0x3C] in {b"ARM\x64", b"RSC\x05"}:
        return "a kernel's boot image without symbols (Image)", _ADVICE_VMLINUX
    for magic, noun, advice in _MAGIC:
        if head.startswith(magic):
            return noun, advice
    if head.startswith(b"\x7fELF"):
        return "an ELF file", "Give it as --guestvmlinux, or as --symbols FILE@ADDRESS."
    if head.startswith(b"MZ"):
        return "a PE or EFI program", _ADVICE_VMLINUX
    if b"The real System.map is in" in head:
        return "the stub that Debian ships as System.map", (
            "The real one is in the kernel's -dbg package; better, copy /proc/kallsyms from the "
            "guest (as root, after: echo 0 > /proc/sys/kernel/kptr_restrict)."
        )
    if _KALLSYMS_LINE.match(head):
        return "the text of /proc/kallsyms or a System.map", "Give it as --guestkallsyms."
    if b"\0" not in head:
        first = head.split(b"\n", 1)[0][:40].decode("ascii", "replace")
        if first.isprintable():
            return f"text that starts with {first!r}", ""
    return f"unknown data that starts with {head[:8].hex(' ')}", ""
