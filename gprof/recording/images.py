"""Images and their symbols as the fields of frames."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from gprof.sampling.source import Int64s
from symbols.names import LONGEST
from symbols.space import LoadedImage
from symbols.table import SymbolTable

#: So many symbols go into one frame: 17 MB of names at worst.
_FRAME_SYMBOLS = 1 << 11

#: Bytes of a name; what is longer is cut when it is shown.
LONGEST_NAME = 4 * (LONGEST + 1)


def image_fields(image: LoadedImage) -> dict[str, object]:
    """An image without its symbols."""
    return {
        "name": image.name,
        "kind": int(image.kind),
        "start": image.start,
        # An end of 2^64 does not fit into an integer of msgpack.
        "last": image.end - 1,
        "slide": image.slide % (1 << 64),
        "build_id": image.build_id,
        # Where the file lies on this machine is nobody else's business.
        "file": Path(image.path).name,
    }


def symbol_fields(table: SymbolTable, symbols: Int64s) -> Iterator[dict[str, object]]:
    """Some symbols of a table, in pieces that frames have room for."""
    for at in range(0, len(symbols), _FRAME_SYMBOLS):
        part = symbols[at : at + _FRAME_SYMBOLS]
        names = [table.names.raw(index)[:LONGEST_NAME] for index in part.tolist()]
        yield {
            "start": table.start[part].astype("<u8").tobytes(),
            "end": table.end[part].astype("<u8").tobytes(),
            "length": np.array([len(name) for name in names], "<u4").tobytes(),
            "names": b"".join(names),
        }
