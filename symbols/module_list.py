"""The modules that a guest has loaded, from its kernel's own list in memory.

The list is `modules`, a ring of `struct module` linked by their member `list`. Where a module's
text is changed in Linux 6.4 (commit ac3b43283923): before, `core_layout` is one range for all
that stays; since, `mem` has one for each kind of content. Before 4.5 there was neither; such a
kernel has no BTF, and /proc/modules is the way there.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from symbols.errors import BtfError, IntrospectionError
from symbols.memory import MemoryFault
from symbols.modules import Module
from symbols.names import printable
from symbols.structures import Record, Structures

_WRAP = 1 << 64
_MOST_MODULES = 4096
#: No module is larger than the area that modules are loaded into (2 GiB on aarch64).
_LARGEST_MODULE = 2 << 30
_MOST_RANGES = 32


class ModuleState(IntEnum):
    """What a module is doing; enum module_state of include/linux/module.h."""

    LIVE = 0
    COMING = 1
    GOING = 2
    UNFORMED = 3


@dataclass(frozen=True, slots=True)
class ListedModule:
    """A module as the kernel's list has it.

    Attributes:
        name: text that is safe to show.
        address: of its `struct module`.
        state: what it is doing.
        text: first address of its text, and the one after the last.
        ranges: all its parts, as (start, end), text first.
    """

    name: str
    address: int
    state: ModuleState
    text: tuple[int, int]
    ranges: tuple[tuple[int, int], ...]

    @property
    def module(self) -> Module:
        """As /proc/modules says it: the address of its text, the size of all its parts."""
        size = sum(end - start for start, end in self.ranges)
        return Module(self.name, self.text[0], size)


@dataclass(frozen=True, slots=True)
class ModuleList:
    """What one walk found.

    Attributes:
        modules: in the order of the list, the youngest first.
        complete: the walk came back to where it began. A list that changed meanwhile, or one
            that lies, may lead elsewhere: then these are the modules up to there.
        forming: an entry has no text yet, and is left out.
    """

    modules: tuple[ListedModule, ...]
    complete: bool
    forming: bool = False

    @property
    def settled(self) -> bool:
        """Nothing is being loaded or unloaded: another look finds the same."""
        live = all(module.state is ModuleState.LIVE for module in self.modules)
        return live and self.complete and not self.forming


def list_modules(structures: Structures, head: int) -> ModuleList:
    """Walk the kernel's list of modules, best while the guest stands.

    Args:
        structures: the guest's memory and types.
        head: runtime address of the symbol `modules`.

    Raises:
        IntrospectionError: there is no list at `head`, or the kernel's types know no modules.
    """
    try:
        link, _ = structures.member("module", "list")
        structures.size("module")
        _parts_known(structures)
    except BtfError as missing:
        raise IntrospectionError(
            f"where modules are cannot be told: {missing.problem}", missing.remedy
        ) from None
    found: list[ListedModule] = []
    forming = False
    seen = {head}
    try:
        at = structures.pointer(head)
    except MemoryFault as fault:
        raise IntrospectionError(f"the guest's list of modules cannot be read: {fault}") from None
    while at != head:
        if at in seen or len(seen) > _MOST_MODULES:
            return ModuleList(tuple(found), complete=False)
        seen.add(at)
        try:
            record = structures.at((at - link.offset) % _WRAP, "module")
            following = record.number("list")  # a list_head begins with `next`
            module = _module(structures, record)
        except (MemoryFault, IntrospectionError, BtfError):
            return ModuleList(tuple(found), complete=False)
        if module is not None:
            found.append(module)
        else:
            forming = True
        at = following
    return ModuleList(tuple(found), complete=True, forming=forming)


def _parts_known(structures: Structures) -> None:
    if structures.has("module", "mem"):
        structures.member("module_memory", "base")
        structures.member("module_memory", "size")
        structures.btf.enum_value("MOD_TEXT")
    else:
        structures.member("module", "core_layout.base")
        structures.member("module", "core_layout.size")


def _module(structures: Structures, record: Record) -> ListedModule | None:
    """A module, or None for one that has no text yet.

    Raises:
        IntrospectionError: what is there is no module.
    """
    # Where its state is not known a module is as good as one that has begun.
    known = structures.has("module", "state")
    state = record.number("state") if known else ModuleState.LIVE
    name = record.bytes("name").split(b"\0", 1)[0]
    if state not in set(ModuleState) or not name:
        raise IntrospectionError("an entry of the guest's list of modules is none")
    if state == ModuleState.UNFORMED:
        return None
    ranges = _ranges(structures, record)
    for start, end in ranges:
        if not start < end <= _WRAP or end - start > _LARGEST_MODULE:
            raise IntrospectionError("an entry of the guest's list of modules is none")
    if not ranges:
        return None
    return ListedModule(
        printable(name), record.address, ModuleState(state), ranges[0], tuple(ranges)
    )


def _ranges(structures: Structures, record: Record) -> list[tuple[int, int]]:
    """The parts of a module that are there, its text first; none if it has no text."""
    if not structures.has("module", "mem"):
        parts = [
            (record.number(f"{part}.base"), record.number(f"{part}.size"))
            for part in ("core_layout", "init_layout")
            if structures.has("module", part)
        ]
    else:
        member, size = structures.member("module", "mem")
        count = min(structures.btf.length_of(member), _MOST_RANGES)
        step = size // max(count, 1)
        data = record.bytes("mem")
        base, base_size = structures.member("module_memory", "base")
        length, length_size = structures.member("module_memory", "size")
        kinds = [data[i * step : (i + 1) * step] for i in range(count)]
        parts = [
            (
                structures.number(kind[base.offset : base.offset + base_size]),
                structures.number(kind[length.offset : length.offset + length_size]),
            )
            for kind in kinds
        ]
        text = structures.btf.enum_value("MOD_TEXT")
        if not 0 <= text < count:
            raise IntrospectionError("the kernel's types place a module's text nowhere")
        parts.insert(0, parts.pop(text))
    if not parts[0][0] or not parts[0][1]:
        return []
    return [(start, start + size) for start, size in parts if start and size]
