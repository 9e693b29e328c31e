"""Listings of a guest's functions, from all that is known of their code and their source."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from gprof.line_search import LineSearch
from gprof.profile.code import Code
from gprof.profile.profile import Profile
from gprof.profile.view import Row
from symbols.errors import ImageError, SymbolsError
from symbols.memory import Memory
from symbols.source_tree import SourceTree
from symbols.space import ImageKind, LoadedImage, SymbolAt

if TYPE_CHECKING:
    # They bring a disassembler, a database, and what reads ELF files, which a screen does not
    # need to show its first rows.
    from gprof.profile.listing import Listing
    from symbols.disassembly import Syntax
    from symbols.lines_of_space import SpaceLines
    from symbols.original import Original

#: x86 code by the width of its segment.
_X86 = {16: "i8086", 32: "i386", 64: "x86_64"}

_NARROW = "it ran without paging, so not as 64-bit code: listed as 32-bit code, --bits 16 as 16-bit"


class Annotator:
    """Makes listings. Any thread; each call does its own work but for what it remembers.

    Args:
        code: of each guest.
        lines: tells source lines, or makes what does when it is first needed; None where nobody
            wants them.
        tree: the text of source files.
        bits: of x86 code, where it is other than that of the guest: 16, 32 or 64.
    """

    def __init__(
        self,
        code: Mapping[int, Memory],
        *,
        lines: SpaceLines | Callable[[], SpaceLines] | None = None,
        tree: SourceTree | None = None,
        bits: int | None = None,
    ) -> None:
        self._code = code
        self._made = lines
        self._making = threading.Lock()
        self._bits = bits
        self._modules: dict[tuple[str, int], Original | None] = {}
        self.tree = tree or SourceTree()

    def of_row(self, row: Row, profile: Profile, *, syntax: Syntax = "att") -> Listing:
        """The listing of a row's symbol.

        Raises:
            SymbolsError: it has none, or its code cannot be had.
        """
        if row.symbol is None:
            raise SymbolsError(
                f"{row.label} is no symbol whose instructions could be listed",
                "Choose a row that has a symbol.",
            )
        return self.at_address(profile, row.guest, row.address, era=row.era, syntax=syntax)

    def at_address(
        self,
        profile: Profile,
        guest: int,
        address: int,
        *,
        era: int | None = None,
        syntax: Syntax = "att",
    ) -> Listing:
        """The listing of the symbol that holds an address.

        Args:
            profile: what was sampled.
            guest: id of the guest.
            address: in the symbol.
            era: of the guest in which the address is meant; None for now.
            syntax: of x86.

        Raises:
            SymbolsError: there is none, or its code cannot be had.
        """
        now = len(profile.space(guest).earlier)
        at = profile.symbol_at(guest, address, now if era is None else era)
        if at is None:
            raise SymbolsError(
                f"no symbol holds the address {address:#x}",
                "Symbols of firmware and modules may need a file of their own.",
            )
        return self.of_symbol(profile, guest, at, syntax=syntax)

    def of_symbol(
        self, profile: Profile, guest: int, at: SymbolAt, *, syntax: Syntax = "att"
    ) -> Listing:
        """The listing of a symbol, without its sources.

        Raises:
            SymbolsError: its code cannot be had.
        """
        from gprof.profile.listing import annotate  # noqa: PLC0415  see above

        code = self._code.get(guest)
        if code is None:
            raise SymbolsError(
                f"nothing is known of the code of the guest that has {at.symbol.name}",
                "Give its kernel's ELF file with --guestvmlinux.",
            )
        original = self._original(at.image, code)
        architecture = self._architecture(profile, guest)
        narrow = architecture == "x86_64" and self._bits is None and _without_paging(profile, at)
        listing = annotate(
            profile, at, code, "i386" if narrow else architecture,
            guest=guest, syntax=syntax, original=original,
        )  # fmt: skip
        if narrow:
            listing = replace(listing, notes=(*listing.notes, _NARROW))
        first = listing.lines[0] if listing.lines else None
        if first is not None and isinstance(code, Code) and not code.runs(first.address, 1):
            file = at.image.path or "the file"
            note = f"these are the bytes of {file}: the guest's own are not at hand"
            listing = replace(listing, notes=(*listing.notes, note))
        return listing

    def expect_sources(self, profile: Profile, guest: int, at: SymbolAt) -> None:
        """Begin to read what `with_sources` needs for a symbol, while its listing is made."""
        lines = self._lines()
        if lines is not None:
            wanted = (profile.space(guest), [at.symbol.start])
            threading.Thread(target=lines.find, args=wanted, daemon=True).start()

    def with_sources(self, profile: Profile, listing: Listing) -> Listing:
        """The same listing with its sources; may start programs that read the kernel's file."""
        lines = self._lines()
        if lines is None:
            return listing
        pcs = [line.address for line in listing.lines]
        chains = lines.find(profile.space(listing.guest), pcs)
        why = lines.why(listing.at.image)
        if not any(chains.values()):
            note = "no source lines: " + (
                f"{why}; the same build with debugging information has them"
                if why
                else "none are known of this function"
            )
            return replace(listing, notes=(*listing.notes, note))
        return listing.with_sources(chains)

    def search(self, found: Callable[[], object]) -> LineSearch | None:
        """Looks for lines in the background; None where nobody wants them.

        Args:
            found: see `LineSearch`.
        """
        return LineSearch(self._lines, found) if self._made is not None else None

    def close(self) -> None:
        """End what was started."""
        with self._making:
            made = self._made
        if made is not None and not callable(made):
            made.close()

    def _lines(self) -> SpaceLines | None:
        with self._making:
            if callable(self._made):
                self._made = self._made()
            return self._made

    def _original(self, image: LoadedImage, code: Memory) -> Original | None:
        """The file of a symbol's image, to tell what was rewritten."""
        if image.kind is not ImageKind.MODULE:
            return code.original if isinstance(code, Code) else None
        key = (image.path, image.start)
        if key not in self._modules:
            self._modules[key] = _module_original(image)
        return self._modules[key]

    def _architecture(self, profile: Profile, guest: int) -> str:
        architecture = profile.guests[guest].architecture
        if self._bits is None or architecture not in _X86.values():
            return architecture
        return _X86[self._bits]


def _without_paging(profile: Profile, at: SymbolAt) -> bool:
    """Whether samples of a symbol tell that the processor ran it without paging."""
    from gprof.sampling.source import Mode  # noqa: PLC0415  see above

    if at.image.kind is not ImageKind.FIRMWARE:
        return False
    samples = profile.samples
    inside = (samples.pc >= at.symbol.start) & (samples.pc < at.symbol.end)
    return bool((samples.mode[inside] == Mode.FIRMWARE).any())


def _module_original(image: LoadedImage) -> Original | None:
    """The file that a module came from; None where it is not at hand."""
    from symbols.lines_of_space import moves_of  # noqa: PLC0415  see above
    from symbols.module_files import open_module  # noqa: PLC0415  see above
    from symbols.module_original import ModuleOriginal  # noqa: PLC0415  modules are few

    if not image.build_id:
        return None
    try:
        file = open_module(image.path)
    except ImageError:
        return None
    moves = moves_of(image, file) if file.build_id == image.build_id else None
    return ModuleOriginal(file, moves) if moves else None
