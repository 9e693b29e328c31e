"""What a guest's kernel says of itself, read from its memory: symbols, types and modules."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from symbols.btf import Btf, btf_size
from symbols.dwarf_types import types_of_debugging
from symbols.elf import Image
from symbols.errors import IntrospectionError, SymbolsError
from symbols.first_task import first_task_contradicts
from symbols.generated_text import generated_text, program_memory
from symbols.image_types import types_in
from symbols.kallsyms import Kallsyms
from symbols.kallsyms_memory import KallsymsTables, read_kallsyms, tables_by_symbols
from symbols.kallsyms_search import find_kallsyms
from symbols.memory import Memory, MemoryFault
from symbols.module_files import ModuleFiles, image_of_module
from symbols.module_list import ListedModule, ModuleState, list_modules
from symbols.module_sections import module_build_id, module_sections
from symbols.module_symbols import ModuleSymbols, loaded_image, module_symbols
from symbols.module_types import types_of_modules
from symbols.slide import Anchor, first_mapped
from symbols.space import LoadedImage
from symbols.structures import Structures
from symbols.symbol_lines import SymbolLines
from symbols.table import SymbolTable

_WRAP = 1 << 64
#: From the first of a kernel's text to the end of its read-only data, with every driver built in.
_REACH = 128 << 20
_BTF_HEAD = 24
#: How the symbols of the guest's memory are called where others are called by their file.
IN_MEMORY = "the guest's memory"

AddressOf = Callable[[str], int | None]


@dataclass(frozen=True, slots=True)
class KnownKernel:
    """What is known of a guest's kernel before its memory is asked.

    Attributes:
        image: its vmlinux.
        kallsyms: its symbols as text.
        slide: runtime minus link address of the two.
        architecture: as the kernel names it.
        anchor: where it has a symbol, as a register tells.
    """

    image: Image | None = None
    kallsyms: Kallsyms | None = None
    slide: int = 0
    architecture: str = ""
    anchor: Anchor | None = None

    def address_of(self, name: str) -> int | None:
        """Runtime address of a symbol; that of a per-cpu symbol below the kernel does not slide."""
        if self.image is not None:
            address, lowest = self.image.address_of(name), self.image.text[0]
        elif self.kallsyms is not None:
            address, lowest = self.kallsyms.address_of(name), self.kallsyms.text[0]
        else:
            return None
        if address is None or address < lowest:
            return address
        return (address + self.slide) % _WRAP


@dataclass(frozen=True, slots=True)
class LoadedModules:
    """The modules that a guest has loaded.

    Attributes:
        listed: the kernel's list of them, in its order.
        images: each with its functions, by name.
        symbols: what the kernel knows of the symbols of each one that was read, where it does.
        complete: the list was walked to its end.
        settled: so it was, nothing was being loaded or unloaded, and nothing out of sight.
        generated: functions of text that the kernel made at run time, by the name of its kind.
        programs: ranges of memory for BPF programs, not all of which have names.
        hidden: modules whose symbols could not be read.
    """

    listed: tuple[ListedModule, ...] = ()
    images: dict[str, LoadedImage] = field(default_factory=dict)
    symbols: tuple[ModuleSymbols, ...] = ()
    complete: bool = True
    settled: bool = True
    generated: dict[str, SymbolTable] = field(default_factory=dict)
    programs: tuple[tuple[int, int], ...] = ()
    hidden: frozenset[str] = frozenset()


def kernel_symbols(memory: Memory, known: KnownKernel) -> tuple[KallsymsTables, SymbolLines]:
    """The symbols of the kernel proper, from its own table.

    Returns:
        Where the table is, and what it lists.

    Raises:
        IntrospectionError: the table is not found.
    """
    little = known.image is None or known.image.little_endian
    tables = tables_by_symbols(memory, known.address_of, little_endian=little)
    first = known.address_of("_stext")
    if tables is not None:
        try:
            return tables, read_kallsyms(memory, tables, first=first)
        except IntrospectionError:
            pass  # the symbols are of an image whose table was made in another way: search
    if first is not None:
        start = first
    elif known.architecture == "x86_64":
        mapped = first_mapped(memory)
        if mapped is None:
            raise IntrospectionError(
                "the guest has no kernel where Linux would be",
                "Try again once it has booted; for something else than Linux, give its program "
                "as --guestvmlinux.",
            )
        start = first = mapped
    elif known.anchor is not None:
        start = known.anchor.address  # part of the text, which comes before the table
    else:
        raise IntrospectionError("nothing tells where the guest's kernel is")
    return find_kallsyms(memory, start, min(start + _REACH, _WRAP), first=first)


def kernel_types(memory: Memory, known: KnownKernel, address_of: AddressOf) -> Btf:
    """The kernel's description of its types: of its vmlinux, else of its memory.

    Of a kernel that has none, or none that is true, what its modules tell: enough to read their
    list.

    Args:
        memory: the guest's.
        known: with the vmlinux, if there is one.
        address_of: runtime address of a symbol.

    Raises:
        IntrospectionError, BtfError: it has none, or it is not to be found.
    """
    types = _described_types(memory, known, address_of)
    if types is not None and not first_task_contradicts(types, memory, address_of):
        return types
    head = address_of("modules")
    told = types_of_modules(memory, head) if head is not None else None
    if told is not None:
        return told
    if types is not None:
        raise IntrospectionError(
            "the kernel shuffles its structures (CONFIG_RANDSTRUCT), and its types are described "
            "as if it did not",
            "Build it with clang, or give --guestmodules with a copy of /proc/modules.",
        )
    raise IntrospectionError(
        "the kernel's types are not to be found: it is built without CONFIG_DEBUG_INFO_BTF, "
        "or has loaded no modules that would tell them",
        "Give --guestvmlinux, or --guestmodules with a copy of /proc/modules.",
    )


def _described_types(memory: Memory, known: KnownKernel, address_of: AddressOf) -> Btf | None:
    """The types as the kernel's vmlinux describes them, else its memory; None where neither does.

    Raises:
        IntrospectionError, BtfError: the description is damaged, or cannot be read.
    """
    if known.image is not None:
        types = types_in(known.image)
        if types is not None:
            return types
    start = address_of("__start_BTF")
    if start is None:
        return types_of_debugging(known.image) if known.image is not None else None
    try:
        size = btf_size(memory.read(start, _BTF_HEAD))
        if size is None:
            raise IntrospectionError("there is no description of the kernel's types in its memory")
        return Btf.parse(memory.read(start, size))
    except MemoryFault as fault:
        raise IntrospectionError(f"the kernel's types cannot be read: {fault}") from None


def loaded_modules(
    structures: Structures,
    address_of: AddressOf,
    files: ModuleFiles | None = None,
    before: LoadedModules | None = None,
) -> LoadedModules:
    """The modules that the guest has loaded, with the functions of each.

    Args:
        structures: the guest's memory and types.
        address_of: runtime address of a symbol.
        files: where files of modules may be; a module's own file is preferred if its build id
            is that of the one loaded.
        before: what was loaded a while ago in the same boot; of what is still there, and was no
            longer being loaded, the functions are not read again.

    Raises:
        IntrospectionError: the list is not to be found.
    """
    head = address_of("modules")
    if head is None:
        raise IntrospectionError(
            "the kernel's list of modules is not among its symbols, and not found without them",
            "Give --guestvmlinux, or --guestmodules with a copy of /proc/modules.",
        )
    found = list_modules(structures, head)
    images: dict[str, LoadedImage] = {}
    symbols: list[ModuleSymbols] = []
    hidden: set[str] = set()
    before = before or LoadedModules()
    known = {
        (module.name, module.address, module.text)
        for module in before.listed
        if module.state is not ModuleState.COMING and module.name not in before.hidden
    }
    for module in found.modules:
        if (module.name, module.address, module.text) in known:
            images[module.name] = before.images[module.name]
            continue
        own = None
        try:
            own = module_symbols(structures, module)
        except MemoryFault:
            hidden.add(module.name)
        if own is not None:
            symbols.append(own)
        build_id = module_build_id(structures, module.address)
        images[module.name] = _from_file(structures, module, build_id, files) or loaded_image(
            module, own, build_id
        )
    return LoadedModules(
        found.modules,
        images,
        tuple(symbols),
        found.complete,
        found.settled and not hidden,
        generated_text(structures, address_of),
        program_memory(structures, address_of),
        frozenset(hidden),
    )


def _from_file(
    structures: Structures, module: ListedModule, build_id: bytes, files: ModuleFiles | None
) -> LoadedImage | None:
    image = files.find(module.name, build_id) if files is not None and build_id else None
    if image is None:
        return None
    try:
        return image_of_module(image, module, module_sections(structures, module.address))
    except SymbolsError:
        return None


def all_symbols(kernel: SymbolLines, modules: LoadedModules) -> SymbolLines:
    """The symbols of the kernel and of its modules, as /proc/kallsyms lists them."""
    return SymbolLines.joined([kernel, *(symbols.lines for symbols in modules.symbols)])
