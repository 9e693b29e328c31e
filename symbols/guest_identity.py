"""Which kernel a guest runs, read from its memory: the banner and the build id."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from symbols.elf import Image, release_of
from symbols.kallsyms import Kallsyms
from symbols.memory import Memory, MemoryFault, with_holes
from symbols.notes import gnu_build_id

_WRAP = 1 << 64
_BANNER_START = b"Linux version "
_LONGEST_BANNER = 512
_LARGEST_NOTES = 1 << 16
#: How far another kernel's banner is looked for around where ours would be. The start of
#: rodata moves by a few MiB between distributions' kernels.
_REACH = 8 << 20
_CHUNK = 64 << 10


@dataclass(frozen=True, slots=True)
class Identity:
    """A kernel as people and files name it.

    Attributes:
        release: what `uname -r` prints; empty where unknown.
        build_id: the GNU build id; empty where unknown.
    """

    release: str = ""
    build_id: bytes = b""

    def __bool__(self) -> bool:
        return bool(self.release or self.build_id)

    def __str__(self) -> str:
        known = [self.release] if self.release else []
        if self.build_id:
            known.append(f"build id {self.build_id.hex()}")
        return ", ".join(known) or "a kernel of unknown release"


def identity_of(image: Image) -> Identity:
    """What a vmlinux says of itself."""
    return Identity(image.linux_release or "", image.build_id)


def build_id_in_memory(memory: Memory, image: Image, slide: int) -> bytes | None:
    """The build id where `image` has its own; None where memory cannot be read or has none."""
    if image.notes is None:
        return None
    address, size = image.notes
    try:
        notes = memory.read((address + slide) % _WRAP, size)
    except MemoryFault:
        return None
    return gnu_build_id(notes, little_endian=image.little_endian) or None


def banner_at(memory: Memory, address: int) -> bytes:
    """The banner at an address, without its final zero; empty if there is none."""
    try:
        if memory.read(address, len(_BANNER_START)) != _BANNER_START:
            return b""
    except MemoryFault:
        return b""
    for size in (_LONGEST_BANNER, 128, 64):
        try:
            text = memory.read(address, size).split(b"\0", 1)[0]
        except MemoryFault:
            continue
        return text if release_of(text) else b""
    return b""


def guest_identity(
    memory: Memory,
    *,
    image: Image | None = None,
    kallsyms: Kallsyms | None = None,
    slides: Iterable[int] = (),
) -> Identity:
    """What the guest runs, as far as its memory tells within a bounded search.

    Args:
        memory: the guest's.
        image: a vmlinux, probably of another build: its banner says where to look.
        kallsyms: the guest's own, which says where its banner and notes are.
        slides: guesses at how far the guest's kernel is from the link addresses of `image`.
    """
    if kallsyms is not None:
        release, build_id = "", b""
        address = kallsyms.address_of("linux_banner")
        if address is not None:
            release = release_of(banner_at(memory, address)) or ""
        start = kallsyms.address_of("__start_notes")
        stop = kallsyms.address_of("__stop_notes")
        if start is not None and stop is not None and 0 < stop - start <= _LARGEST_NOTES:
            try:
                notes = memory.read(start, stop - start)
            except MemoryFault:
                notes = b""
            little = image is None or image.little_endian
            build_id = gnu_build_id(notes, little_endian=little)
        if release or build_id:
            return Identity(release, build_id)
    banner = image.address_of("linux_banner") if image is not None else None
    if banner is not None:
        for slide in dict.fromkeys(slides):
            release = _nearby_release(memory, (banner + slide) % _WRAP)
            if release:
                return Identity(release)
    return Identity()


def _nearby_release(memory: Memory, middle: int) -> str:
    """The release in the banner nearest to `middle`; empty if none is in reach."""
    for start in _outwards(middle // _CHUNK * _CHUNK):
        chunk = with_holes(memory, start, _CHUNK)
        at = chunk.find(_BANNER_START)
        while at >= 0:
            found = release_of(banner_at(memory, start + at))
            # The format strings of the same text have a % here.
            if found and found[0].isdigit():
                return found
            at = chunk.find(_BANNER_START, at + 1)
    return ""


def _outwards(middle: int) -> Iterator[int]:
    for distance in range(0, _REACH, _CHUNK):
        for start in {middle + distance, middle - distance}:
            if 0 <= start <= _WRAP - _CHUNK:
                yield start
