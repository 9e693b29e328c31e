"""The files of a guest's programs and libraries, proven by their build id."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

from symbols.elf import Image
from symbols.errors import ImageError

_MOST_KNOWN = 256


class UserFiles:
    """Finds the file of what a process has mapped, below roots of guests.

    Debugging symbols of a distribution, below usr/lib/debug/.build-id, come before the file
    itself, of which mostly only those symbols are left that other files use.

    Args:
        roots: directories with what the guest has at `/`.
    """

    def __init__(self, roots: Sequence[str | os.PathLike[str]]) -> None:
        self._roots = [Path(root) for root in roots]
        self._known: OrderedDict[tuple[str, bytes], Image | None] = OrderedDict()

    def __bool__(self) -> bool:
        return bool(self._roots)

    def find(self, path: str, build_id: bytes) -> Image | None:
        """The file with symbols; None where there is none of that build.

        Args:
            path: as the guest's root has it.
            build_id: of what is mapped; without one nothing proves a file.
        """
        if not build_id:
            return None
        key = path, build_id
        if key not in self._known:
            self._known[key] = self._found(path, build_id)
            if len(self._known) > _MOST_KNOWN:
                self._known.popitem(last=False)
        return self._known[key]

    def _found(self, path: str, build_id: bytes) -> Image | None:
        name = build_id.hex()
        parts = path.split("/")[1:]
        # The path is the guest's, and must not lead anywhere else.
        inside = bool(parts) and not {"", ".", ".."} & set(parts)
        for root in self._roots:
            candidates = [root / "usr/lib/debug/.build-id" / name[:2] / f"{name[2:]}.debug"]
            if inside:
                candidates.append(root.joinpath(*parts))
            for candidate in candidates:
                try:
                    image = Image.open(candidate, dynamic=True)
                except ImageError:
                    continue
                if image.build_id == build_id:
                    return image
        return None
