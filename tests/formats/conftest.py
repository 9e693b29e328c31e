"""The foreign programs that read what we write."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.guests.debian_kernel import cache_folder

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Readers:
    """What `scripts/foreign-readers` could get, and what it said about the rest."""

    folder: Path
    said: str

    def need(self, *parts: str) -> Path:
        """A file of one of them; skips the test where it is not there."""
        path = self.folder.joinpath(*parts)
        if not path.exists():
            pytest.skip(self.said.strip() or f"{path.name} could not be had")
        return path


@pytest.fixture(scope="session")
def readers() -> Readers:
    """Fetched once, kept in the cache of the tests."""
    folder = cache_folder()
    asked = subprocess.run(
        [ROOT / "scripts" / "foreign-readers"], capture_output=True, text=True, check=False,
        timeout=100, env={**os.environ, "GPROF_TEST_CACHE": str(folder)},
    )  # fmt: skip
    return Readers(folder / "readers", asked.stderr)


@dataclass(slots=True)
class FirefoxReader:
    """The Firefox Profiler without a window: `load`, then questions answered in JSON."""

    command: list[str]
    environment: dict[str, str]

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """One command, whatever it answers."""
        return subprocess.run(
            [*self.command, *words], capture_output=True, text=True, check=False, timeout=60,
            env=self.environment,
        )  # fmt: skip

    def load(self, path: Path) -> None:
        """Read a file; fails with what the reader has against it."""
        loaded = self.run("load", str(path))
        if "did not become ready" in loaded.stderr + loaded.stdout:
            # On a busy machine: it is loading all the same, and answers when it is done.
            for _ in range(50):
                loaded = self.run("status")
                if loaded.returncode == 0:
                    break
        assert loaded.returncode == 0, loaded.stderr + loaded.stdout

    def ask(self, *words: str) -> Any:
        """The answer to a question."""
        asked = self.run(*words, "--json")
        assert asked.returncode == 0, asked.stderr + asked.stdout
        return json.loads(asked.stdout)


@pytest.fixture
def firefox_reader(readers: Readers, tmp_path: Path) -> Iterator[FirefoxReader]:
    """Its daemon keeps a loaded profile until the test ends."""
    node = readers.need("npm", "node_modules", ".bin", "node")
    tool = readers.need(
        "npm", "node_modules", "@firefox-devtools", "profiler-cli", "dist", "profiler-cli.js"
    )
    environment = {**os.environ, "PROFILER_CLI_SESSION_DIR": str(tmp_path),
                   "PROFILER_CLI_NO_SYMBOLICATE": "1"}  # fmt: skip
    reader = FirefoxReader([str(node), str(tool)], environment)
    yield reader
    reader.run("stop", "--all")
