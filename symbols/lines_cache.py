"""Source lines that were found before, on disk, by build id and address.

One SQLite file in the user's cache directory. It may be deleted at any time. A build id names
one file's contents, so what it holds never becomes wrong.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import threading
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

    Any thread may ask. The file is opened when something is first asked for.

    Args:
        path: of the file; made where it is missing.
    """

    def __init__(self, path: Path) -> None:
        self._path: Path | None = path
        self._connection: sqlite3.Connection | None = None
        self._lock = threading.Lock()

    def get(self, build_id: bytes, addresses: Sequence[int]) -> dict[int, Chain]:
        """The chains of those addresses that are known; an empty chain is known to be none."""
        with self._lock:
            found: dict[int, Chain] = {}
            connection = self._opened() if build_id else None
            if connection is None:
                return found
            try:
                for first in range(0, len(addresses), _AT_ONCE):
                    found |= _rows(connection, build_id, addresses[first : first + _AT_ONCE])
            except sqlite3.DatabaseError:
                self._close()
            return found

    def put(self, build_id: bytes, chains: Mapping[int, Chain]) -> None:
        """Remember chains."""
        rows = [(build_id, _signed(address), _encoded(chain)) for address, chain in chains.items()]
        with self._lock:
            connection = self._opened() if build_id and rows else None
            if connection is None:
                return
            try:
                with connection:
                    connection.executemany("INSERT OR REPLACE INTO lines VALUES (?, ?, ?)", rows)
            except sqlite3.DatabaseError:
                self._close()  # the disk is full, or the file another user's

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._close()

    def _close(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
        self._path = self._connection = None

    def _opened(self) -> sqlite3.Connection | None:
        """The connection; None where the file cannot be used."""
        if self._connection is not None or self._path is None:
            return self._connection
        path, self._path = self._path, None  # it is tried once
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            if path.stat().st_size > _LARGEST:
                path.unlink()
        try:
            self._connection = _connected(path)
        except sqlite3.DatabaseError:
            # Damaged. Nothing in it is worth asking anybody.
            with contextlib.suppress(OSError, sqlite3.DatabaseError):
                path.unlink()
                self._connection = _connected(path)
        return self._connection


def _connected(path: Path) -> sqlite3.Connection | None:
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


def _rows(
    connection: sqlite3.Connection, build_id: bytes, addresses: Sequence[int]
) -> dict[int, Chain]:
    marks = ",".join("?" * len(addresses))
    rows = connection.execute(
        f"SELECT address, chain FROM lines WHERE build_id = ? AND address IN ({marks})",  # noqa: S608  nothing but question marks
        (build_id, *map(_signed, addresses)),
    )
    decoded = ((address % (1 << 64), _decoded(text)) for address, text in rows)
    return {address: chain for address, chain in decoded if chain is not None}


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
