"""Source lines that were found before, on disk, by build id and address.

One SQLite file in the user's cache directory. It may be deleted at any time. A build id names
one file's contents, so what it holds never becomes wrong.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path

from symbols.source_frames import MOST_INLINED, Chain, frame

#: Of the table below: another one is not read.
_VERSION = 1
#: What is larger is begun anew: some two million addresses.
_LARGEST = 256 << 20
_AT_ONCE = 500
#: Another gprof writes for a few milliseconds.
_PATIENCE_S = 2.0
_SCHEMA = """
CREATE TABLE IF NOT EXISTS lines (
    build_id BLOB NOT NULL, address INTEGER NOT NULL, chain TEXT NOT NULL,
    PRIMARY KEY (build_id, address)
) WITHOUT ROWID
"""


def default_cache() -> Path:
    """The file in the user's cache directory, as the XDG Base Directory Specification has it."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    # A relative one is to be ignored, says the specification.
    root = given if given.startswith("/") else os.path.expanduser("~/.cache")  # noqa: PTH111  may fail
    return Path(root, "gprof", "lines.sqlite")


class LineCache:
    """What was found before. Where the file cannot be used, it remembers and knows nothing.

    Any thread, one at a time.

    Args:
        path: of the file; made where it is missing.
    """

    def __init__(self, path: Path) -> None:
        self._connection: sqlite3.Connection | None = None
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            if path.stat().st_size > _LARGEST:
                path.unlink()
        try:
            self._connection = self._opened(path)
        except sqlite3.DatabaseError:
            # Damaged. Nothing in it is worth asking anybody.
            with contextlib.suppress(OSError, sqlite3.DatabaseError):
                path.unlink()
                self._connection = self._opened(path)

    def get(self, build_id: bytes, addresses: Sequence[int]) -> dict[int, Chain]:
        """The chains of those addresses that are known; an empty chain is known to be none."""
        found: dict[int, Chain] = {}
        if self._connection is None or not build_id:
            return found
        try:
            for first in range(0, len(addresses), _AT_ONCE):
                some = [_signed(address) for address in addresses[first : first + _AT_ONCE]]
                marks = ",".join("?" * len(some))
                rows = self._connection.execute(
                    f"SELECT address, chain FROM lines WHERE build_id = ? AND address IN ({marks})",  # noqa: S608  nothing but question marks
                    (build_id, *some),
                )
                for address, text in rows:
                    chain = _decoded(text)
                    if chain is not None:
                        found[address % (1 << 64)] = chain
        except sqlite3.DatabaseError:
            self.close()
        return found

    def put(self, build_id: bytes, chains: Mapping[int, Chain]) -> None:
        """Remember chains."""
        if self._connection is None or not build_id or not chains:
            return
        rows = [(build_id, _signed(address), _encoded(chain)) for address, chain in chains.items()]
        try:
            with self._connection:
                self._connection.executemany("INSERT OR REPLACE INTO lines VALUES (?, ?, ?)", rows)
        except sqlite3.DatabaseError:
            self.close()  # the disk is full, or the file another user's

    def close(self) -> None:
        """Let go of the file."""
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None

    @staticmethod
    def _opened(path: Path) -> sqlite3.Connection | None:
        try:
            connection = sqlite3.connect(path, timeout=_PATIENCE_S, check_same_thread=False)
        except (sqlite3.OperationalError, OSError):
            return None  # no such directory, no rights
        try:
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            connection.execute("PRAGMA synchronous = OFF")
            with connection:
                if version != _VERSION:
                    connection.execute("DROP TABLE IF EXISTS lines")
                connection.execute(_SCHEMA)
                connection.execute(f"PRAGMA user_version = {_VERSION}")
        except sqlite3.OperationalError:
            connection.close()
            return None  # read-only, or locked for longer than a moment
        except BaseException:
            connection.close()
            raise
        return connection


def _signed(address: int) -> int:
    return address - (1 << 64) if address >= 1 << 63 else address


def _encoded(chain: Chain) -> str:
    return json.dumps([(one.function, one.file, one.line) for one in chain])


def _decoded(text: object) -> Chain | None:
    try:
        content = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        return None
    if not isinstance(content, list) or len(content) > MOST_INLINED:
        return None
    if not all(isinstance(one, list) and len(one) == 3 for one in content):
        return None
    frames = [frame(*one) for one in content]
    return tuple(one for one in frames if one is not None)
