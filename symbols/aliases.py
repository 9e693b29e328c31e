"""Which names are worth showing, and which of several names of one address is the best."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from symbols.names import Names

#: Compilers' and assemblers' marks and local labels: they lie within functions, and riscv64 has
#: modules full of them.
LABEL_PREFIXES = (
    b"$",
    b".L",
    b"L0",
    b"__kvm_nvhe_$",
    b"__kvm_nvhe_.L",
    b"__pi_$",
    b"__pi_.L",
)
#: Those, and linkers' thunks and the like: never a function's name. scripts/mksysmap and
#: scripts/kallsyms.c of Linux, and tools/perf/util/symbol.h (is_ignored_kernel_symbol).
IGNORED_PREFIXES = (
    *LABEL_PREFIXES,
    b"__efistub_",
    b"__kcfi_typeid_",
    b"__AArch64ADRPThunk_",
    b"__ARMV5PILongThunk_",
    b"__ThumbV7PILongThunk_",
    b"__LA25Thunk_",
    b"__microLA25Thunk_",
    b".klp.sym.",
)

#: Ends and starts of regions (include/asm-generic/sections.h, vmlinux.lds.h): alone at an
#: address they would give their name to whatever lies behind it.
_MARKER = re.compile(
    rb"_(end|etext|[se]inittext|sdata|edata)|__(init|exittext|nosave)_?(begin|end)"
    rb"|__(\w+_)?text_(start|end|begin)|__(hyp|idmap|hibernate_exit|indirect_thunk)\w*_(start|end)"
    rb"|__x86_indirect(_its|_call|_jump)?_thunk_array"
)
#: The head of the text: only a marker where a function shares the address.
_HEAD = frozenset({b"_text", b"_stext"})
#: Names for the callers' convention, not for the function (perf demotes the first two, in
#: tools/perf/arch/powerpc/util/sym-handling.c and symbol.c); the others share the code of
#: the native system call, of a return thunk, are for the code that runs before relocation, or
#: are a global label where a local function begins (arch/x86/entry/entry_64.S,
#: common_interrupt_return), which only sizes would tell.
_DEMOTED = (
    b"SyS_",
    b"compat_SyS_",
    b"__ia32_",
    b"srso_alias_",
    b"__pi_",
    b"swapgs_restore_regs_and_return_to_usermode",
)


def starts_with(names: Names, prefixes: Sequence[bytes]) -> NDArray[np.bool_]:
    """Which of `names` start with one of `prefixes`; a column, without decoding any."""
    blob, start, end = names.columns()
    raw = np.frombuffer(blob, np.uint8)
    found = np.zeros(len(names), np.bool_)
    if any(not prefix for prefix in prefixes):
        return ~found
    filled = np.flatnonzero(end > start)
    initial = raw[start[filled]]
    rows_of = {byte: filled[initial == byte] for byte in {prefix[0] for prefix in prefixes}}
    for prefix in prefixes:
        rows = rows_of[prefix[0]]
        rows = rows[end[rows] - start[rows] >= len(prefix)]
        for i, byte in enumerate(prefix[1:], 1):
            rows = rows[raw[start[rows] + i] == byte]
        found[rows] = True
    return found


def is_marker(name: bytes) -> bool:
    """The name marks the edge of a region and is no function's."""
    return _MARKER.fullmatch(name) is not None


def best_aliases(
    names: Names,
    start: NDArray[np.uint64],
    *,
    sized: NDArray[np.bool_],
    weak: NDArray[np.bool_],
    exported: NDArray[np.bool_],
) -> NDArray[np.int64]:
    """For each distinct start the index of the symbol to show there, by ascending start.

    The order of perf (tools/perf/util/symbol.c, choose_best_symbol): a size, not weak, global,
    fewer leading underscores, the longer name; before all of it, a function rather than the
    marker of a region. An address that has only a marker is left out.
    """
    order = np.argsort(start, kind="stable").astype(np.int64)
    if not len(order):
        return order
    ordered = start[order]
    first = np.concatenate([[True], ordered[1:] != ordered[:-1]])
    group_start = np.flatnonzero(first)
    group_size = np.diff(np.append(group_start, len(order)))
    chosen = order[group_start]
    for group in np.flatnonzero(group_size > 1).tolist():
        members = order[group_start[group] : group_start[group] + group_size[group]].tolist()
        chosen[group] = min(
            members,
            key=lambda i: _rank(names.raw(i), bool(sized[i]), bool(weak[i]), bool(exported[i])),
        )
    # Markers start with an underscore: only those names are looked at one by one.
    kept = np.ones(len(chosen), np.bool_)
    for i in np.flatnonzero(starts_with(names.take(chosen), (b"_",))).tolist():
        kept[i] = not is_marker(names.raw(int(chosen[i])))
    return chosen[kept]


def _rank(name: bytes, sized: bool, weak: bool, exported: bool) -> tuple[int, ...]:
    return (
        is_marker(name),
        name in _HEAD,
        name.startswith(_DEMOTED),
        not sized,
        weak,
        not exported,
        len(name) - len(name.lstrip(b"_")),
        -len(name),
    )
