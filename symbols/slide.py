"""Where the kernel runs: the slide between its link addresses and the guest's (KASLR).

Every source of an answer gives a candidate; a candidate counts when the guest's memory holds the
build id, or the banner, of the vmlinux where the candidate says. All sums are modulo 2^64.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, runtime_checkable

from symbols.elf import Image
from symbols.errors import MismatchError, SlideUnknown
from symbols.guest_identity import (
    Identity,
    banner_at,
    build_id_in_memory,
    guest_identity,
    identity_of,
)
from symbols.kallsyms import Kallsyms
from symbols.memory import Memory, MemoryFault
from symbols.table import SymbolTable

_WRAP = 1 << 64
#: x86-64: the kernel's image is mapped somewhere in this GiB, at a multiple of 2 MiB, and what
#: lies below it in the GiB is unmapped (arch/x86/kernel/head64.c, cleanup of level2_kernel_pgt).
_X86_IMAGE_AREA = 0xFFFF_FFFF_8000_0000
_X86_STEP = 2 << 20
_X86_STEPS = 512
_PROBES_AT_ONCE = 128
#: How many names of kallsyms are compared with vmlinux.
_SAMPLE = 512


class Method(StrEnum):
    """How a slide was found."""

    GIVEN = "given"
    KALLSYMS = "kallsyms"
    VECTOR = "exception vector"
    VMCOREINFO = "VMCOREINFO"
    FIRST_PAGE = "first mapped page"
    LINK_ADDRESS = "link address"


class Verified(StrEnum):
    """What proves a slide."""

    BUILD_ID = "build id"
    BANNER = "banner"
    SYMBOLS = "names and addresses of kallsyms"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Slide:
    """Runtime minus link address, and why we believe it.

    Attributes:
        offset: modulo 2^64.
        method: the first that gave it.
        agreeing: every method that gave it, `method` first.
        verified: what proves it.
    """

    offset: int
    method: Method
    agreeing: tuple[Method, ...]
    verified: Verified


@dataclass(frozen=True, slots=True)
class Anchor:
    """A runtime address that a known symbol must have.

    Mostly from a register of a vcpu in kernel mode: in user mode, with its page tables isolated,
    aarch64 has the address of a trampoline there.

    Attributes:
        names: of the symbol; the first that the kernel has. On x86-64 the handler of IDT gate 0
            is `asm_exc_divide_error` (before 5.8 `divide_error`); on aarch64 VBAR_EL1 is
            `vectors`; on riscv64 stvec is `handle_exception`; on s390x svc_new_psw is
            `system_call`.
        address: where it is.
        method: what told it.
    """

    names: tuple[str, ...]
    address: int
    method: Method = Method.VECTOR


@runtime_checkable
class Probing(Protocol):
    """Memory that can tell of many addresses at once whether they can be read."""

    def readable(self, addresses: Sequence[int]) -> list[bool]:
        """For each address whether a byte can be read there, in few round trips."""
        ...


def find_slide(
    image: Image,
    *,
    kallsyms: Kallsyms | None = None,
    memory: Memory | None = None,
    anchor: Anchor | None = None,
    given: int | None = None,
) -> Slide:
    """Where the guest runs `image`.

    Args:
        image: a vmlinux, or a program without an operating system.
        kallsyms: the guest's, of this boot.
        memory: the guest's, in the kernel's view.
        anchor: what a register says, or the kernel itself.
        given: what the user says.

    Raises:
        MismatchError: the guest runs another kernel, or kallsyms is of another kernel or boot.
        SlideUnknown: the kernel is at none of the places where it could be.
    """
    common = common_slide(image.table, kallsyms.kernel) if kallsyms is not None else None
    candidates: list[tuple[Method, int]] = []
    if given is not None:
        candidates.append((Method.GIVEN, given % _WRAP))
    if common is not None:
        candidates.append((Method.KALLSYMS, common))
    if anchor is not None:
        linked = next((a for a in map(image.address_of, anchor.names) if a is not None), None)
        if linked is not None:
            candidates.append((anchor.method, (anchor.address - linked) % _WRAP))
    provable = image.notes is not None or bool(image.banner)
    if memory is not None and provable:
        candidates += _first_page(image, memory)
    candidates.append((Method.LINK_ADDRESS, 0))

    if memory is None or not provable:
        if kallsyms is not None and common is None:
            raise _other_kallsyms(image, kallsyms)
        if given is not None and common is not None and given % _WRAP != common:
            raise MismatchError(
                f"the slide given is {given % _WRAP:#x}, by the kallsyms it is {common:#x}",
                "Leave one of the two out.",
            )
        method, offset = candidates[0]
        proof = Verified.SYMBOLS if offset == common else Verified.NOTHING
        return Slide(offset, method, _agreeing(candidates, method, offset), proof)

    for method, offset in candidates:
        proof = _proof(image, memory, offset)
        if proof is Verified.NOTHING:
            continue
        if kallsyms is not None and common != offset:
            raise _other_boot(image, kallsyms, common is None)
        return Slide(offset, method, _agreeing(candidates, method, offset), proof)
    return _unproven(image, kallsyms, memory, candidates)


def find_kallsyms_slide(
    kallsyms: Kallsyms,
    *,
    memory: Memory | None = None,
    anchor: Anchor | None = None,
    architecture: str = "",
) -> Slide:
    """How far symbols given as text are from where the guest runs its kernel.

    The guest's own kallsyms of this boot is at 0; a System.map has link addresses, and a file
    of an earlier boot that boot's. With another slide than 0 only the kernel proper is right:
    modules are loaded at addresses of their own at every boot.

    Args:
        kallsyms: the symbols.
        memory: the guest's, in the kernel's view.
        anchor: what a register says, or the kernel itself.
        architecture: of the guest.

    Raises:
        MismatchError: memory or register show that the symbols are of another kernel.
    """
    candidates = [(Method.KALLSYMS, 0)]
    linked = None
    if anchor is not None:
        linked = next((a for a in map(kallsyms.address_of, anchor.names) if a is not None), None)
        if linked is not None:
            candidates.append((anchor.method, (anchor.address - linked) % _WRAP))
    if memory is not None and architecture == "x86_64" and len(kallsyms.kernel):
        first = first_mapped(memory)
        if first is not None:
            candidates.append((Method.FIRST_PAGE, (first - kallsyms.text[0]) % _WRAP))

    banner = kallsyms.address_of("linux_banner")
    if memory is not None and banner is not None:
        for method, offset in candidates:
            if banner_at(memory, (banner + offset) % _WRAP):
                agreeing = _agreeing(candidates, method, offset)
                return Slide(offset, method, agreeing, Verified.BANNER)
        if len(candidates) > 1:
            raise MismatchError(
                f"{kallsyms.path} is not of the kernel that the guest runs: there is no kernel "
                "where it says",
                "Copy /proc/kallsyms from the running guest again, as root; addresses change "
                "at every boot.",
            )
    method, offset = candidates[0]
    if linked is not None and (
        memory is None or _text_readable(kallsyms, memory, candidates[1][1])
    ):
        method, offset = candidates[1]
    return Slide(offset, method, _agreeing(candidates, method, offset), Verified.NOTHING)


def _agreeing(
    candidates: list[tuple[Method, int]], first: Method, offset: int
) -> tuple[Method, ...]:
    return (first, *(m for m, other in candidates if other == offset and m is not first))


def _proof(image: Image, memory: Memory, offset: int) -> Verified:
    build_id = build_id_in_memory(memory, image, offset)
    if build_id is not None:
        return Verified.BUILD_ID if build_id == image.build_id else Verified.NOTHING
    address = image.address_of("linux_banner")
    if image.banner and address is not None:
        try:
            if memory.read((address + offset) % _WRAP, len(image.banner)) == image.banner:
                return Verified.BANNER
        except MemoryFault:
            pass
    return Verified.NOTHING


def _unproven(
    image: Image,
    kallsyms: Kallsyms | None,
    memory: Memory,
    candidates: list[tuple[Method, int]],
) -> Slide:
    """No candidate is proven by memory: say why, or go on with the best where nobody can know."""
    for _, offset in candidates:
        other = build_id_in_memory(memory, image, offset)
        if other is not None:
            seen = guest_identity(memory, image=image, kallsyms=kallsyms, slides=[offset])
            raise _other_kernel(image, Identity(seen.release, seen.build_id or other))
    # The link address says nothing of where another kernel would be.
    slides = [offset for method, offset in candidates if method is not Method.LINK_ADDRESS] or [0]
    seen = guest_identity(memory, image=image, kallsyms=kallsyms, slides=slides)
    if seen:
        raise _other_kernel(image, seen)
    if not image.banner:
        _refuse_absent(image, memory)
        # A program without an operating system runs where it was linked.
        return Slide(0, Method.LINK_ADDRESS, (Method.LINK_ADDRESS,), Verified.NOTHING)
    # A vector may be a trampoline's, and only memory can tell.
    strong = [c for c in candidates if c[0] in {Method.GIVEN, Method.KALLSYMS}]
    notes = image.notes[0] if image.notes is not None else image.address_of("linux_banner") or 0
    if strong and not any(_can_read(memory, (notes + offset) % _WRAP) for _, offset in candidates):
        # Memory tells nothing (encrypted, or another address space): do without it.
        method, offset = strong[0]
        proof = Verified.SYMBOLS if method is Method.KALLSYMS else Verified.NOTHING
        return Slide(offset, method, _agreeing(candidates, method, offset), proof)
    raise SlideUnknown(
        f"{image.path} ({identity_of(image)}) is at none of the addresses where the guest could "
        f"run it (tried {', '.join(method for method, _ in candidates)})",
        "Try again once the guest has booted; or copy its /proc/kallsyms and give it as "
        "--guestkallsyms.",
    )


def _refuse_absent(image: Image, memory: Memory) -> None:
    """Refuse a program that is not there while a kernel is; before either, nothing is known."""
    if image.architecture != "x86_64" or image.notes is None:
        return
    notes = image.notes[0]
    if _can_read(memory, notes):
        return
    first = first_mapped(memory)
    if first is not None and not any(start <= first < end for start, end in image.text_ranges):
        raise MismatchError(
            f"{image.path} is not what the guest runs: nothing is mapped at {notes:#x}, where it "
            f"was linked, and another kernel is at {first:#x}",
            "Give the vmlinux of the kernel that the guest runs.",
        )


def _can_read(memory: Memory, address: int) -> bool:
    try:
        memory.read(address, 1)
    except MemoryFault:
        return False
    return True


def _text_readable(kallsyms: Kallsyms, memory: Memory, slide: int) -> bool:
    """The first and the last function are there, as far as memory tells."""
    starts = [int(kallsyms.kernel.start[i]) for i in (0, -1)]
    return all(_can_read(memory, (start + slide) % _WRAP) for start in starts)


def _first_page(image: Image, memory: Memory) -> list[tuple[Method, int]]:
    linked = image.address_of("_text")
    if image.architecture != "x86_64" or linked is None or linked < _X86_IMAGE_AREA:
        return []
    first = first_mapped(memory)
    return [] if first is None else [(Method.FIRST_PAGE, (first - linked) % _WRAP)]


def first_mapped(memory: Memory) -> int | None:
    """The first address of the image area of x86-64 that can be read."""
    steps = [_X86_IMAGE_AREA + i * _X86_STEP for i in range(_X86_STEPS)]
    if not isinstance(memory, Probing):
        return next((address for address in steps if _can_read(memory, address)), None)
    for i in range(0, len(steps), _PROBES_AT_ONCE):
        some = steps[i : i + _PROBES_AT_ONCE]
        for address, readable in zip(some, memory.readable(some), strict=True):
            if readable:
                return address
    return None


def common_slide(table: SymbolTable, running: SymbolTable) -> int | None:
    """The slide that the functions named in both have in common; None if they have none.

    Compares several hundred names, evenly spread: of one build all agree; builds that differ
    agree at best up to the first difference.

    Args:
        table: at link addresses.
        running: at runtime addresses.
    """
    step = max(1, len(running) // _SAMPLE)
    wanted = {running.names.raw(i): int(running.start[i]) for i in range(0, len(running), step)}
    linked: dict[bytes, int] = {}
    repeated: set[bytes] = set()
    blob, start, end = table.names.columns()
    for i, (a, b) in enumerate(zip(start.tolist(), end.tolist(), strict=True)):
        name = blob[a:b]
        if name in wanted:
            if name in linked:
                repeated.add(name)  # static functions of several files
            linked[name] = int(table.start[i])
    slides = Counter(
        (wanted[name] - address) % _WRAP for name, address in linked.items() if name not in repeated
    )
    if not slides:
        return None
    slide, votes = slides.most_common(1)[0]
    known = sum(slides.values())
    enough = votes >= min(8, len(wanted)) and known * 2 >= len(wanted)
    return slide if enough and votes * 50 >= known * 49 else None


def _other_kernel(image: Image, seen: Identity) -> MismatchError:
    return MismatchError(
        f"this vmlinux is {identity_of(image)}, the guest runs {seen} ({image.path})",
        "Give the vmlinux of the kernel that the guest runs"
        + (f": on Debian, of linux-image-{seen.release}-dbg." if seen.release else "."),
    )


def _other_kallsyms(image: Image, kallsyms: Kallsyms) -> MismatchError:
    return MismatchError(
        f"{kallsyms.path} and {image.path} ({identity_of(image)}) are of different kernels: "
        "their functions lie at different distances",
        "Give the vmlinux of the kernel that the guest runs (uname -r inside the guest), "
        "or leave one of the two out.",
    )


def _other_boot(image: Image, kallsyms: Kallsyms, other_kernel: bool) -> MismatchError:
    what = "another kernel" if other_kernel else "another boot of the guest's kernel"
    return MismatchError(
        f"{kallsyms.path} is of {what}: {image.path} is the guest's, and not where it says",
        "Copy /proc/kallsyms from the running guest again, as root (addresses change at every "
        "boot), or leave it out.",
    )
