"""Symbols for what processes have mapped, from files that are proven to be of the same build."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace

from symbols.elf_head import ElfHead, elf_head
from symbols.page_cache import PageCache
from symbols.space import LoadedImage
from symbols.user_files import UserFiles
from symbols.user_mappings import UserMapping

_WRAP = 1 << 64
_MOST_PROGRAMS = 1024


class UserPrograms:
    """Gives the images of a process the symbols of their files.

    Args:
        cache: tells which build of a file the guest runs.
        files: where files are.
    """

    def __init__(self, cache: PageCache, files: UserFiles) -> None:
        self._cache = cache
        self._files = files
        self._seen: OrderedDict[str, ElfHead] = OrderedDict()  # by path

    def forget(self) -> None:
        """Look at every file anew, as after a reset."""
        self._seen.clear()

    def with_symbols(
        self, mappings: Sequence[UserMapping], images: Sequence[LoadedImage]
    ) -> list[LoadedImage]:
        """The images, with symbols where the file of the same build is found.

        Args:
            mappings: what a process has mapped.
            images: the same as images.
        """
        return [
            self._with_symbols(mapping, image) if image.path else image
            for mapping, image in zip(mappings, images, strict=True)
        ]

    def _with_symbols(self, mapping: UserMapping, image: LoadedImage) -> LoadedImage:
        head = self._head(mapping)
        linked = head.linked(mapping.offset, mapping.page) if head is not None else None
        if head is None or linked is None:
            return image
        image = replace(image, build_id=head.build_id)
        file = self._files.find(image.path, head.build_id)
        if file is None:
            return image
        return replace(image, table=file.table, slide=(mapping.start - linked) % _WRAP)

    def _head(self, mapping: UserMapping) -> ElfHead | None:
        known = self._seen.get(mapping.path)
        if known is None:
            page = self._cache.first_page(mapping.file, mapping.page)
            known = elf_head(page) if page is not None else None
            if known is not None:
                self._seen[mapping.path] = known
                if len(self._seen) > _MOST_PROGRAMS:
                    self._seen.popitem(last=False)
        return known
