"""What every export format has in common."""

from __future__ import annotations

from typing import BinaryIO, Protocol

from gprof.profile.profile import Profile


class Exporter(Protocol):
    """Writes a profile in one format. The same profile gives the same bytes."""

    def write(self, profile: Profile, out: BinaryIO) -> None:
        """Write all of it; text is UTF-8."""
        ...
