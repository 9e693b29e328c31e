"""Source lines by drgn, which is a library and need not be there.

It alone reads relocatable files section by section. It answers within the interpreter's lock, up
to a millisecond an address, so a program that answers elsewhere goes before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from symbols.elf import Image
from symbols.source_frames import MOST_INLINED, Chain, FinderFailed, frame

_PLATFORMS = {
    "EM_X86_64": ("X86_64", 64),
    "EM_386": ("I386", 32),
    "EM_AARCH64": ("AARCH64", 64),
    "EM_S390": ("S390X", 64),
    "EM_RISCV": ("RISCV64", 64),
    "EM_PPC64": ("PPC64", 64),
}
#: In two pieces: of one, drgn takes the start for where the file was moved to.
_EVERYWHERE = ((0, 1 << 63), (1 << 63, (1 << 64) - 1))


class Drgn:
    """drgn as a reader of one file.

    Args:
        path: of the ELF file.
        machine: its e_machine, as pyelftools names it.
        little_endian: its byte order.
        image: the same file where it is relocatable: addresses are those of its layout.

    Raises:
        FinderFailed: drgn is not installed, or cannot read the file.
    """

    name = "drgn"

    def __init__(
        self, path: str, machine: str, *, little_endian: bool, image: Image | None = None
    ) -> None:
        try:
            import drgn  # noqa: PLC0415  optional, and only where lines are asked for
        except ImportError:
            raise FinderFailed("drgn is not installed") from None
        architecture, bits = _PLATFORMS.get(machine, ("UNKNOWN", 64))
        flags = drgn.PlatformFlags(0)
        if bits == 64:
            flags |= drgn.PlatformFlags.IS_64_BIT
        if little_endian:
            flags |= drgn.PlatformFlags.IS_LITTLE_ENDIAN
        try:
            kind = getattr(drgn.Architecture, architecture)
            self._program = drgn.Program(drgn.Platform(kind, flags))
            module: Any
            if image is None:
                module = self._program.extra_module("file", create=True)
            else:
                module = self._program.relocatable_module("file", 0, create=True)
                for section in image.sections:
                    if section.loaded and section.size:
                        module.section_addresses[section.name] = section.address
            module.address_ranges = _EVERYWHERE
            module.try_file(path, force=True)
            has = module.debug_file_status == drgn.ModuleFileStatus.HAVE
        # An older drgn has no modules, and on a damaged file it raises plain exceptions.
        except Exception as error:  # noqa: BLE001
            raise FinderFailed(f"drgn cannot read it: {error}") from None
        if not has:
            raise FinderFailed("drgn finds no debugging information")

    def find(self, addresses: Sequence[int]) -> list[Chain]:
        """See `Finder`."""
        return [self._chain(address) for address in addresses]

    def _chain(self, address: int) -> Chain:
        try:
            found = self._program.source_location(address)
        except LookupError:
            return ()
        except Exception as error:  # noqa: BLE001  as above
            raise FinderFailed(f"drgn cannot read it: {error}") from None
        count = min(len(found), MOST_INLINED)
        frames = [
            frame(one.name(), one.filename, one.line)
            for one in map(found.__getitem__, range(count))
        ]
        return tuple(one for one in frames if one is not None)

    def stop(self) -> None:
        """See `Finder`; it never waits for long."""

    def close(self) -> None:
        """See `Finder`; the file is let go of with this."""
