"""Where a Linux kernel rewrites its own instructions, as its file lists them.

The lists are arrays between pairs of symbols (include/asm-generic/vmlinux.lds.h and
arch/*/kernel/vmlinux.lds.S; the entries as of Linux 6.1 unless said). Their entries have changed
over time: one is believed if most of the list then lies in the kernel's text.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from symbols.elf import Image
from symbols.memory import MemoryFault

_WRAP = 1 << 64
#: The largest of these lists, that of ftrace, has 400 KiB.
_LARGEST = 16 << 20
#: Share of a list's entries that lie in the text; the others are of the vdso, or were left away.
_MOST = 0.75
#: How far an entry reaches whose length is not listed: the longest of them are calls.
REACH = 8


class PatchKind(Enum):
    """Why the kernel rewrites an instruction."""

    ALTERNATIVE = "alternative"
    STATIC_KEY = "static key"
    STATIC_CALL = "static call"
    FTRACE = "ftrace"
    PARAVIRT = "paravirt"
    RETPOLINE = "retpoline"
    RETURN_THUNK = "return thunk"
    LOCK_PREFIX = "lock prefix"
    BREAKPOINT = "breakpoint"  # a kprobe, or the kernel is patching just now
    UNKNOWN = "patched"  # listed nowhere: a kprobe that was optimised, a live patch, a rootkit


@dataclass(frozen=True, slots=True)
class _List:
    """One array of sites.

    Attributes:
        kind: why they are patched.
        start: the symbol where it starts.
        end: the symbol after its last entry.
        sizes: how large an entry may be, and where in it the length of the site is; None where
            it is not listed.
        relative: the site is a signed 32-bit distance from the field; else a 64-bit address.
    """

    kind: PatchKind
    start: str
    end: str
    sizes: tuple[tuple[int, int | None], ...]
    relative: bool = True


_LISTS = (
    # struct alt_instr: with padlen up to 5.12; flags of 32 bits since 6.3. arm64 has
    # the 12 bytes too, riscv 16 with a u16 as length, s390x 11 with one length for both.
    _List(PatchKind.ALTERNATIVE, "__alt_instructions", "__alt_instructions_end",
          ((12, 10), (14, 12), (13, 10), (16, 10), (11, 10))),
    _List(PatchKind.STATIC_KEY, "__start___jump_table", "__stop___jump_table", ((16, None),)),
    _List(PatchKind.STATIC_CALL, "__start_static_call_sites", "__stop_static_call_sites",
          ((8, None),)),
    _List(PatchKind.FTRACE, "__start_mcount_loc", "__stop_mcount_loc", ((8, None),),
          relative=False),
    _List(PatchKind.PARAVIRT, "__parainstructions", "__parainstructions_end", ((16, 9),),
          relative=False),
    _List(PatchKind.RETPOLINE, "__retpoline_sites", "__retpoline_sites_end", ((4, None),)),
    _List(PatchKind.RETURN_THUNK, "__return_sites", "__return_sites_end", ((4, None),)),
    _List(PatchKind.LOCK_PREFIX, "__smp_locks", "__smp_locks_end", ((4, None),)),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class PatchSites:
    """All sites of one kernel, at link addresses.

    Attributes:
        kinds: what is listed.
        starts: for each kind the sites' first addresses, ascending.
        lengths: for each kind how many bytes each site has.
    """

    kinds: tuple[PatchKind, ...]
    starts: tuple[NDArray[np.uint64], ...]
    lengths: tuple[NDArray[np.uint64], ...]

    @classmethod
    def of(cls, image: Image) -> PatchSites:
        """The sites that a kernel's file lists; none for any other file."""
        found = [(one.kind, *sites) for one in _LISTS if (sites := _sites(image, one)) is not None]
        return cls(
            tuple(kind for kind, _, _ in found),
            tuple(start for _, start, _ in found),
            tuple(length for _, _, length in found),
        )

    def kind(self, address: int) -> PatchKind | None:
        """Why what is at a link address may be patched; the nearest site's reason; or None."""
        nearest: tuple[int, PatchKind] | None = None
        for kind, starts, lengths in zip(self.kinds, self.starts, self.lengths, strict=True):
            i = int(np.searchsorted(starts, np.uint64(address), side="right")) - 1
            if i < 0:
                continue
            distance = address - int(starts[i])
            if distance < int(lengths[i]) and (nearest is None or distance < nearest[0]):
                nearest = distance, kind
        return nearest[1] if nearest else None


def _sites(image: Image, one: _List) -> tuple[NDArray[np.uint64], NDArray[np.uint64]] | None:
    start, end = image.address_of(one.start), image.address_of(one.end)
    if start is None or end is None or not 0 < end - start <= _LARGEST:
        return None
    try:
        data = image.read(start, end - start)
    except MemoryFault:
        return None
    for size, length_at in one.sizes:
        if len(data) % size:
            continue
        rows = np.frombuffer(data, np.uint8).reshape(-1, size)
        sites = _addresses(rows, start, relative=one.relative, little_endian=image.little_endian)
        if length_at is None:
            lengths = np.full(len(rows), REACH, np.uint64)
        else:
            lengths = rows[:, length_at].astype(np.uint64)
        inside = _in_text(image, sites)
        if inside.mean() > _MOST:
            sites, lengths = sites[inside], lengths[inside]
            order = np.argsort(sites, kind="stable")
            return sites[order], lengths[order]
    return None


def _addresses(
    rows: NDArray[np.uint8], start: int, *, relative: bool, little_endian: bool
) -> NDArray[np.uint64]:
    """The address at the beginning of each entry of an array at `start`."""
    kind = ("<" if little_endian else ">") + ("i4" if relative else "i8")
    width = np.dtype(kind).itemsize
    first = np.ascontiguousarray(rows[:, :width]).view(kind)[:, 0]
    found: NDArray[np.uint64] = first.astype(np.int64).view(np.uint64)
    if relative:
        step = np.uint64(rows.shape[1])
        found = np.uint64(start) + np.arange(len(rows), dtype=np.uint64) * step + found
    return found


def _in_text(image: Image, sites: NDArray[np.uint64]) -> NDArray[np.bool_]:
    inside = np.zeros(len(sites), bool)
    for start, end in image.text_ranges:
        inside |= (sites >= np.uint64(start)) & (sites <= np.uint64(end - 1))
    return inside
