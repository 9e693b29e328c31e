"""Read from a running guest's memory what the files given do not say of its kernel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gprof.errors import TargetError
from gprof.guest.core_machine import CoreMachine
from gprof.guest.machine import Machine
from gprof.guest.memory import ReadingCost, StubMemory
from gprof.guest.monitored import MonitoredMachine
from symbols.btf import Btf
from symbols.errors import GprofError, SymbolsError
from symbols.guest_identity import guest_identity
from symbols.introspection import (
    IN_MEMORY,
    KnownKernel,
    LoadedModules,
    kernel_symbols,
    kernel_types,
    loaded_modules,
)
from symbols.kallsyms import Kallsyms
from symbols.memory import Memory
from symbols.module_files import ModuleFiles
from symbols.structures import Structures
from symbols.symbol_lines import SymbolLines
from symbols.unlisted import unlisted_data


@dataclass(frozen=True, slots=True)
class Introspected:
    """What the guest's memory told.

    Attributes:
        kernel: the symbols of the kernel proper; None where not asked for, or not found.
        kallsyms: the same, ready to resolve addresses; with data that it does not list but was
            found.
        modules: what is loaded; None where not asked for, or not found.
        types: the kernel's description of its types, where it was found.
        problems: why something is missing.
        cost: what reading cost the guest; nothing where QEMU's own memory was read.
    """

    kernel: SymbolLines | None = None
    kallsyms: Kallsyms | None = None
    modules: LoadedModules | None = None
    types: Btf | None = None
    problems: tuple[GprofError, ...] = ()
    cost: ReadingCost = field(default_factory=ReadingCost)


def introspect(
    machine: Machine | MonitoredMachine | CoreMachine,
    known: KnownKernel,
    *,
    symbols: bool,
    modules: bool,
    directories: Sequence[Path] = (),
    before: Introspected | None = None,
) -> Introspected:
    """Read a guest's symbols and modules from its memory, in stops of a millisecond.

    What is not found is said in `problems`, not raised: a guest that has not booted, or runs
    something else than Linux, can be profiled all the same.

    Args:
        machine: the guest; through its monitor it is cheaper, where that has a way.
        known: what is known of its kernel already.
        symbols: read the symbols of the kernel proper.
        modules: read its list of modules.
        directories: roots or directories of modules, whose files are preferred to what the
            kernel knows of them, if they are of the same build.
        before: what was found a while ago in the same boot, to read no more than what is new.

    Raises:
        TargetError: the guest went away.
    """
    try:
        memory = machine.fresh_memory()
    except TargetError as problem:
        return Introspected(problems=(problem,))
    problems: list[GprofError] = []
    kernel = kallsyms = types = loaded = table = None
    if symbols:
        try:
            tables, kernel = kernel_symbols(memory, known)
            table = min(tables.values, tables.names)
            kallsyms = Kallsyms.of(kernel, path=IN_MEMORY)
        except SymbolsError as problem:
            problems.append(problem)
    elif known.kallsyms is not None and known.kallsyms.path == IN_MEMORY:
        kallsyms = known.kallsyms  # whose data may not have been found yet
    if known.image is None and kallsyms is not None:
        found = unlisted_data(memory, kallsyms, table)
        kallsyms = kallsyms.with_data(found) if found else kallsyms
        if known.kallsyms is None or known.kallsyms.path == IN_MEMORY:
            known = KnownKernel(kallsyms=kallsyms, architecture=known.architecture)
    if modules and (known.image is not None or known.kallsyms is not None):
        try:
            types = before.types if before is not None else None
            types = types or kernel_types(memory, known, known.address_of)
            files = ModuleFiles(directories, _release(memory, known)) if directories else None
            loaded = loaded_modules(
                Structures(memory, types),
                known.address_of,
                files,
                before.modules if before is not None else None,
            )
        except SymbolsError as problem:
            problems.append(problem)
    cost = memory.cost if isinstance(memory, StubMemory) else ReadingCost()
    return Introspected(kernel, kallsyms, loaded, types, tuple(problems), cost)


def _release(memory: Memory, known: KnownKernel) -> str:
    if known.image is not None:
        return known.image.linux_release or ""
    return guest_identity(memory, kallsyms=known.kallsyms).release
