"""Choosing how to unwind a guest's stacks, by what its kernel has for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from symbols.dwarf_types import types_of_debugging
from symbols.elf import Image
from symbols.errors import SymbolsError, UnwindError
from symbols.first_task import first_task_contradicts
from symbols.image_types import types_in
from symbols.memory import Memory, MemoryFault, SlidMemory
from symbols.space import AddressSpace, ImageKind
from symbols.unwinding.backchain import S390xFrames, ppc64, s390x
from symbols.unwinding.frame_pointer import (
    FramePointerUnwinder,
    LinkPrologue,
    X86Prologue,
    strip_signature,
)
from symbols.unwinding.module_orc import ModuleLayout, module_tables
from symbols.unwinding.orc import OrcUnwinder
from symbols.unwinding.orc_table import OrcTable
from symbols.unwinding.riscv64 import RiscV64Unwinder, RiscVFrames, keeps_frame
from symbols.unwinding.roots import Roots
from symbols.unwinding.stack import Unwinder
from symbols.unwinding.thunks import Thunks

_WRAP = 1 << 64
_CODE = {ImageKind.KERNEL, ImageKind.MODULE, ImageKind.GENERATED}
_MOST_REMEMBERED = 1 << 16
#: Functions that are looked at to tell whether code keeps frame pointers.
_LOOKED_AT = 400


class Way(StrEnum):
    """How to unwind, as it is asked for."""

    AUTO = "auto"
    ORC = "orc"
    FP = "fp"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Unwinding:
    """How the stacks of a guest are unwound.

    Attributes:
        unwinder: finds the callers; None where there is no way.
        way: `orc`, `fp`, `backchain` or `none`.
        why: what it was chosen by, or why there is none.
        missing: what will be cut because a part has no table; empty where nothing.
    """

    unwinder: Unwinder | None
    way: str
    why: str
    missing: str = ""


def choose(
    way: Way,
    architecture: str,
    space: AddressSpace,
    *,
    image: Image | None,
    slide: int = 0,
    memory: Memory | None = None,
) -> Unwinding:
    """A way to unwind the stacks of a guest.

    Args:
        way: what was asked for; AUTO takes the best that works, or none.
        architecture: of the guest.
        space: what is loaded where.
        image: vmlinux, or the one program of a guest without an operating system.
        slide: where it runs.
        memory: the guest's; the tables of modules are in it.

    Raises:
        UnwindError: what was asked for does not work; not with AUTO.
    """
    if way is Way.NONE:
        return Unwinding(None, "none", "call stacks were not asked for")
    try:
        if architecture == "x86_64" and way in {Way.AUTO, Way.ORC}:
            found = _orc(space, image, slide, memory)
            if found is not None:
                return found
        if way is not Way.ORC:
            return _by_frames(way, architecture, space, image, slide)
    except SymbolsError as error:
        if way is not Way.AUTO:
            raise
        return Unwinding(None, "none", error.problem)
    if architecture != "x86_64":
        raise UnwindError(
            f"ORC tables are for x86_64, the guest is {architecture}", "Use --call-graph fp."
        )
    raise UnwindError(
        "the kernel's file has no ORC tables" if image else "ORC tables are in the kernel's file",
        "Give its vmlinux with --guestvmlinux, or use --call-graph fp.",
    )


def _orc(
    space: AddressSpace, image: Image | None, slide: int, memory: Memory | None
) -> Unwinding | None:
    table = OrcTable.of_image(image) if image is not None else None
    if image is None or table is None:
        return None
    tables = [(table, slide)]
    missing = ""
    if any(loaded.kind is ImageKind.MODULE for loaded in space.loaded()):
        try:
            modules = _module_tables(image, slide, memory, table.version)
        except SymbolsError as error:
            modules = []
            missing = f"stacks end in modules, whose unwind tables were not found: {error.problem}"
        tables += [(module, 0) for module in modules]
    why = f"ORC tables, format {table.version}, of the kernel"
    if len(tables) > 1:
        why += f" and {len(tables) - 1} modules"
    unwinder = OrcUnwinder(tables, Roots.of(space), Thunks.of(space))
    return Unwinding(unwinder, "orc", why, missing)


def _module_tables(image: Image, slide: int, memory: Memory | None, version: int) -> list[OrcTable]:
    head = image.address_of("modules")
    types = types_in(image) or types_of_debugging(image)
    if memory is None or head is None or types is None:
        raise UnwindError("the kernel's file does not describe its modules (.BTF, modules)")

    def runtime(name: str) -> int | None:
        linked = image.address_of(name)
        return (linked + slide) % _WRAP if linked is not None else None

    if first_task_contradicts(types, memory, runtime):
        raise UnwindError(
            "the kernel's file describes its structures as if it did not shuffle them "
            "(CONFIG_RANDSTRUCT, with GCC)"
        )
    layout = ModuleLayout.of(types)
    if layout is None:
        raise UnwindError("the modules of this kernel have no unwind tables")
    return module_tables(memory, (head + slide) % _WRAP, layout, version)


def _by_frames(
    way: Way, architecture: str, space: AddressSpace, image: Image | None, slide: int
) -> Unwinding:
    text = tuple((loaded.start, loaded.end) for loaded in space.loaded() if loaded.kind in _CODE)
    if not text:
        raise UnwindError(
            "without symbols of the kernel nothing is known of its code",
            "Give --guestvmlinux or --guestkallsyms.",
        )
    roots = Roots.of(space)
    code: Memory = SlidMemory(image, slide) if image is not None else _Unknown()
    start_of = function_starts(space)
    if architecture == "x86_64":
        kept, looked_at = frames_kept(image, _sets_frame) if image is not None else (0, 0)
        if way is Way.AUTO and 2 * kept <= looked_at:
            raise UnwindError(
                f"{kept} of {looked_at} functions of the kernel keep a frame pointer, and it has "
                "no ORC tables"
                if image
                else "the kernel's unwind tables are in its vmlinux",
                "Give its vmlinux with --guestvmlinux.",
            )
        why = f"{kept} of {looked_at} functions keep a frame pointer" if image else "asked for"
        prologue = X86Prologue(start_of, code)
        unwinder: Unwinder = FramePointerUnwinder(
            text=text, roots=roots, prologue=prologue, encoded=True
        )
        return Unwinding(unwinder, "fp", why)
    if architecture == "aarch64":
        unwinder = FramePointerUnwinder(
            text=text,
            roots=roots,
            prologue=LinkPrologue(start_of, code, strip_signature),
            strip=strip_signature,
        )
        return Unwinding(unwinder, "fp", "the kernel of aarch64 always keeps frame pointers")
    if architecture == "riscv64":
        if image is not None and way is Way.AUTO:
            kept, looked_at = frames_kept(image, keeps_frame)
            if looked_at and 2 * kept <= looked_at:
                raise UnwindError(
                    f"{kept} of {looked_at} functions of the kernel keep a frame pointer",
                    "Build it with CONFIG_FRAME_POINTER.",
                )
        unwinder = RiscV64Unwinder.of(space, RiscVFrames(start_of, code), text)
        return Unwinding(unwinder, "fp", "the kernel of riscv64 keeps frame pointers")
    if architecture in {"s390x", "ppc64"}:
        unwinder = (
            s390x(text, roots, S390xFrames(start_of, code))
            if architecture == "s390x"
            else ppc64(text, roots)
        )
        return Unwinding(unwinder, "backchain", f"frames of {architecture} have back chains")
    raise UnwindError(f"no way is known to unwind the stacks of {architecture}")


def _sets_frame(head: bytes) -> bool:
    """Whether a function of x86-64 that begins so keeps a frame pointer.

    Compilers put other instructions between `push %rbp` and `mov %rsp, %rbp`: the second one
    counts. Code without frame pointers has it in one function of twenty, to align its stack.
    """
    return b"\x48\x89\xe5" in head


def frames_kept(image: Image, kept_by: Callable[[bytes], bool]) -> tuple[int, int]:
    """How many functions begin with making a frame, and how many were looked at.

    Functions too short for a frame do not count.

    Args:
        image: the kernel's.
        kept_by: whether the first bytes of a function make a frame.
    """
    table = image.table
    long = np.flatnonzero(table.end - table.start >= np.uint64(48))
    step = max(len(long) // _LOOKED_AT, 1)
    kept = looked_at = 0
    for index in long[::step].tolist():
        try:
            head = image.read(int(table.start[index]), 48)
        except MemoryFault:
            continue
        looked_at += 1
        kept += kept_by(head)
    return kept, looked_at


def function_starts(space: AddressSpace) -> Callable[[int], int | None]:
    """Finds the runtime start of the function at an address, and remembers it."""
    known: dict[int, int | None] = {}

    def start_of(pc: int) -> int | None:
        if pc not in known:
            if len(known) >= _MOST_REMEMBERED:
                known.clear()
            at = space.symbol_at(pc)
            known[pc] = at.symbol.start if at is not None else None
        return known[pc]

    return start_of


class _Unknown:
    """Memory of which nothing is known."""

    def read(self, address: int, size: int) -> bytes:
        """Nothing."""
        raise MemoryFault(address, size)
