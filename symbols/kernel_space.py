"""The address space of a guest from the files and texts that describe its kernel."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from symbols.elf import Image
from symbols.entry_trampoline import Trampoline
from symbols.errors import MismatchError
from symbols.kallsyms import Kallsyms, owner_kind
from symbols.modules import Module
from symbols.slide import common_slide
from symbols.space import AddressSpace, ImageKind, LoadedImage
from symbols.table import SymbolTable

_WRAP = 1 << 64
_UPPER_HALF = (1 << 63, _WRAP - 1)
#: Symbols of one owner further apart than this are separate pieces of text.
_SAME_PIECE = np.uint64(64 << 10)
#: The first of the code that arm64 has at two addresses, and that code where a table lacks it:
#: one of functions alone (CONFIG_KALLSYMS_ALL is off) does.
_TRAMPOLINE_START = "__entry_tramp_text_start"
UNNAMED_TRAMPOLINE = "[entry trampoline]"
#: More pieces than this only a text made to be slow has.
_MOST_PIECES = 1 << 16


def kernel_space(
    *,
    image: Image | None = None,
    kallsyms: Kallsyms | None = None,
    modules: Sequence[Module] = (),
    module_images: Mapping[str, LoadedImage] | None = None,
    generated: Mapping[str, SymbolTable] | None = None,
    programs: Sequence[tuple[int, int]] = (),
    trampoline: Trampoline | None = None,
    slide: int = 0,
    extra: Iterable[LoadedImage] = (),
    kernel_half: tuple[int, int] = _UPPER_HALF,
) -> AddressSpace:
    """What is loaded where, from whatever is known; the best source of each symbol first.

    The kernel's functions are those of `image`, which knows their sizes, or else of `kallsyms`.
    Modules' functions are those of `module_images`, or of `kallsyms` in the ranges of `modules`;
    a module without symbols is a range only. Text made at run time (BPF, trampolines) lies between.

    Args:
        image: vmlinux, or the one program of a guest without an operating system.
        kallsyms: of this boot; without `image` it may be a System.map.
        modules: what /proc/modules says.
        module_images: modules whose files are at hand, by name; see `loaded_module`.
        generated: text made at run time, by the name of its kind; see `generated_text`.
        programs: ranges of memory for BPF programs, of which not all have names; see
            `program_memory`.
        trampoline: code of the kernel that is run at another address; see `entry_trampoline`.
        slide: from `find_slide`, or without `image` from `find_kallsyms_slide`.
        extra: firmware and anything else; see `placed`. The kernel wins over it.
        kernel_half: first and last address of the architecture's kernel half, inclusive.
    """
    space = AddressSpace(extra, kernel_half=kernel_half)
    for start, end in programs:
        space.load(LoadedImage("bpf", ImageKind.GENERATED, start, end))
    for loaded in _kernel(image, kallsyms, slide):
        space.load(loaded)
    if trampoline is not None:
        space.load(_trampoline(trampoline, image, kallsyms))
    # Where texts have slid, the modules in them are of another boot.
    current = kallsyms is not None and (image is not None or slide == 0)
    tables = dict(kallsyms.modules) if kallsyms is not None and current else {}
    tables = {**(generated or {}), **tables}
    path = kallsyms.path if kallsyms is not None else ""
    # By address, so that a range that claims too much is cut by the next.
    for module in sorted(modules, key=lambda module: module.start):
        table = tables.pop(module.name, None)
        if module_images and module.name in module_images:
            space.load(module_images[module.name])
            continue
        end = module.start + module.size
        if table is None or not len(table):
            space.load(LoadedImage(module.name, ImageKind.MODULE, module.start, end))
            continue
        inside = (table.start >= np.uint64(module.start)) & (table.start <= np.uint64(end - 1))
        held = _rows(table, np.flatnonzero(inside))
        space.load(LoadedImage(module.name, ImageKind.MODULE, module.start, end, held, path=path))
        if not inside.all():
            tables[module.name] = _rows(table, np.flatnonzero(~inside))
    for loaded in sorted(_pieces(tables, path), key=lambda loaded: loaded.start):
        space.load(loaded)
    return space


def loaded_module(image: Image, module: Module, table: SymbolTable | None = None) -> LoadedImage:
    """A module's own file (.ko, .ko.debug), which knows the sizes of its functions.

    Args:
        image: the file.
        module: where the guest has it.
        table: what the guest's kallsyms says of the module; checked against the file.

    Raises:
        MismatchError: the functions of the file are not where the guest has them.
    """
    slide = module.start if table is None else common_slide(image.table, table)
    if slide != module.start or not image.relocatable:
        raise MismatchError(
            f"{image.path} is not the {module.name} that the guest has loaded: its functions "
            "are not where the guest's are",
            "Give the file of the same build, from the package of the guest's kernel.",
        )
    # Executable sections were laid out first: the rest of the module's range is data.
    return LoadedImage(
        module.name,
        ImageKind.MODULE,
        module.start,
        module.start + module.size,
        image.table,
        slide,
        image.build_id,
        image.path,
    )


def placed(
    image: Image, address: int | None = None, *, kind: ImageKind = ImageKind.FIRMWARE
) -> list[LoadedImage]:
    """An ELF file where the guest has it: at its link addresses, or moved.

    Args:
        image: firmware, a loader, a module.
        address: where the first of its text is; None for its link address.
        kind: what to call it.

    Returns:
        One piece for each of its ranges of text.
    """
    name = _file_name(image)
    if address is None or not image.text_ranges:
        return list(_slid(image, name, kind, 0))
    return list(_slid(image, name, kind, (address - image.text_ranges[0][0]) % _WRAP))


def _file_name(image: Image) -> str:
    return image.path.rsplit("/", 1)[-1]


def _kernel(image: Image | None, kallsyms: Kallsyms | None, slide: int) -> Iterator[LoadedImage]:
    if image is not None:
        name = "[kernel]" if image.banner else _file_name(image)
        yield from _slid(image, name, ImageKind.KERNEL, slide % _WRAP)
    elif kallsyms is not None and len(kallsyms.kernel):
        for table in (kallsyms.kernel, kallsyms.initial):
            if len(table):
                start, end = int(table.start[0]), int(table.end.max())
                yield from _range(
                    LoadedImage(
                        "[kernel]", ImageKind.KERNEL, start, end, table, slide, path=kallsyms.path
                    )
                )


def _trampoline(
    trampoline: Trampoline, image: Image | None, kallsyms: Kallsyms | None
) -> LoadedImage:
    """The code that arm64 has at a second address, with the names that it has at the first."""
    start, end = trampoline.start, trampoline.end
    known = image or kallsyms
    linked = known.address_of(_TRAMPOLINE_START) if known is not None else None
    table = image.table if image is not None else kallsyms.kernel if kallsyms is not None else None
    if linked is not None and table is not None:
        inside = (table.start >= np.uint64(linked)) & (
            table.start <= np.uint64(min(linked + end - start, _WRAP) - 1)
        )
        if inside.any():
            held = _rows(table, np.flatnonzero(inside))
            slide, path = (start - linked) % _WRAP, known.path if known is not None else ""
            build_id = image.build_id if image is not None else b""
            return LoadedImage(
                "[kernel]", ImageKind.KERNEL, start, end, held, slide, build_id, path
            )
    return LoadedImage(UNNAMED_TRAMPOLINE, ImageKind.KERNEL, start, end)


def _slid(image: Image, name: str, kind: ImageKind, slide: int) -> Iterator[LoadedImage]:
    table = image.table
    for start, end in image.text_ranges:
        held = table
        if len(image.text_ranges) > 1:
            # Each piece has its own part of the table, so that a name is found once.
            first, last = np.searchsorted(table.start, np.array([start, end - 1], np.uint64))
            after = int(last) + int(last < len(table) and int(table.start[last]) == end - 1)
            held = _rows(table, np.arange(first, after))
        yield from _range(
            LoadedImage(name, kind, start, end, held, slide, image.build_id, image.path)
        )


def _range(loaded: LoadedImage) -> Iterator[LoadedImage]:
    """An image with link addresses at its runtime ones; none if the slide pushes it over 2^64."""
    start = (loaded.start + loaded.slide) % _WRAP
    end = start + loaded.end - loaded.start
    if end <= _WRAP:
        yield replace(loaded, start=start, end=end)


def _pieces(tables: dict[str, SymbolTable], path: str) -> Iterator[LoadedImage]:
    """Modules and generated text whose ranges only their symbols tell: a piece for each run."""
    pieces = 0
    for name, table in tables.items():
        if not len(table):
            continue
        gap = table.start[1:] - np.minimum(table.end[:-1], table.start[1:])
        cuts = (np.flatnonzero(gap > _SAME_PIECE) + 1).tolist()
        if pieces + len(cuts) > _MOST_PIECES:
            cuts = []
        pieces += len(cuts) + 1
        for first, after in zip([0, *cuts], [*cuts, len(table)], strict=True):
            held = _rows(table, np.arange(first, after))
            start, end = int(held.start[0]), int(held.end.max())
            yield LoadedImage(name, owner_kind(name), start, end, held, path=path)


def _rows(table: SymbolTable, rows: NDArray[np.intp]) -> SymbolTable:
    return SymbolTable(table.start[rows], table.end[rows], table.names.take(rows))
