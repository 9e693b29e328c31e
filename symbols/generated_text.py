"""Text that a kernel makes while it runs: BPF programs, ftrace trampolines, copies of kprobes.

The kernel lists it in /proc/kallsyms behind its modules, as of modules that do not exist: `bpf`,
`__builtin__ftrace`, `__builtin__kprobes`. Here it is read from the lists that kernel keeps:

- `bpf_kallsyms`, of `struct bpf_ksym` (include/linux/bpf.h, since Linux 5.7): programs,
  trampolines and dispatchers.
- `ftrace_ops_trampoline_list`, of `struct ftrace_ops` (kernel/trace/ftrace.c, since 5.8).
- the pages of `kprobe_insn_slots` and `kprobe_optinsn_slots`, of `struct kprobe_insn_cache`
  (include/linux/kprobes.h, since 5.8).

Programs of the old kind (classic BPF: socket filters, seccomp) are in none of these lists. Where
they share memory with the others is in `pack_list`, of `struct bpf_prog_pack` (kernel/bpf/core.c,
since 5.18).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from symbols.errors import BtfError, IntrospectionError
from symbols.memory import MemoryFault
from symbols.names import printable
from symbols.structures import Record, Structures
from symbols.table import Symbol, SymbolTable

_WRAP = 1 << 64
_PAGE = 4096
_MOST = 16384
#: A program is at most 1 MiB of instructions before it is translated.
_LONGEST = 16 << 20
_LONGEST_NAME = 64
#: BPF_PROG_PACK_SIZE of kernel/bpf/core.c, for each node of memory.
_PACK = 2 << 20

AddressOf = Callable[[str], int | None]


def generated_text(structures: Structures, address_of: AddressOf) -> dict[str, SymbolTable]:
    """The functions of each kind of text made at run time, at runtime addresses.

    What this kernel does not have, or cannot be read, is left out.

    Args:
        structures: the guest's memory and types.
        address_of: runtime address of a symbol.

    Returns:
        By the name that /proc/kallsyms has for the kind; none is empty.
    """
    found = {
        "bpf": _bpf(structures, address_of("bpf_kallsyms")),
        "__builtin__ftrace": _trampolines(structures, address_of("ftrace_ops_trampoline_list")),
        "__builtin__kprobes": [
            symbol
            for slots in ("kprobe_insn_slots", "kprobe_optinsn_slots")
            for symbol in _kprobes(structures, address_of(slots))
        ],
    }
    tables = {kind: SymbolTable.of(list(symbols)) for kind, symbols in found.items()}
    return {kind: table for kind, table in tables.items() if len(table)}


def program_memory(structures: Structures, address_of: AddressOf) -> tuple[tuple[int, int], ...]:
    """Where BPF programs of either kind lie side by side: ranges, with names and without.

    Empty where the kernel gives each program memory of its own, or it cannot be read.

    Args:
        structures: the guest's memory and types.
        address_of: runtime address of a symbol.
    """
    packs = _listed(structures, address_of("pack_list"), "bpf_prog_pack", "list")
    try:
        starts = sorted(pack.number("ptr") for pack in packs)
    except (BtfError, IntrospectionError):
        return ()
    return tuple((start, start + _PACK) for start in starts if 0 < start < _WRAP - _PACK)


def _bpf(structures: Structures, head: int | None) -> Iterator[Symbol]:
    for ksym in _listed(structures, head, "bpf_ksym", "lnode"):
        name = ksym.bytes("name").split(b"\0", 1)[0]
        yield from _symbol(printable(name), ksym.number("start"), ksym.number("end"))


def _trampolines(structures: Structures, head: int | None) -> Iterator[Symbol]:
    for ops in _listed(structures, head, "ftrace_ops", "list"):
        start = ops.number("trampoline")
        yield from _symbol("ftrace_trampoline", start, start + ops.number("trampoline_size"))


def _kprobes(structures: Structures, slots: int | None) -> Iterator[Symbol]:
    if slots is None:
        return
    try:
        cache = structures.at(slots, "kprobe_insn_cache")
        name = printable(structures.text(cache.number("sym"), _LONGEST_NAME))
        head = cache.address_of("pages")
    except (MemoryFault, BtfError, IntrospectionError):
        return
    for page in _listed(structures, head, "kprobe_insn_page", "list"):
        start = page.number("insns")
        yield from _symbol(name, start, start + _PAGE)


def _symbol(name: str, start: int, end: int) -> Iterator[Symbol]:
    if name and 0 < start < end < _WRAP and end - start <= _LONGEST:
        yield Symbol(name, start, end)


def _listed(
    structures: Structures, head: int | None, structure: str, link: str
) -> Iterator[Record]:
    """The structures of a ring, up to where it cannot be followed."""
    if head is None:
        return
    seen = {head}
    try:
        member, _ = structures.member(structure, link)
        at = structures.pointer(head)
        while at not in seen and len(seen) <= _MOST:
            seen.add(at)
            record = structures.at((at - member.offset) % _WRAP, structure)
            following = structures.number(record.bytes(link)[:8])  # `next` comes first
            yield record
            at = following
    except (MemoryFault, BtfError, IntrospectionError):
        return
