"""The loop that joins a source to a profile: what record, top and stat share."""

from __future__ import annotations

from typing import Protocol

from gprof.errors import GprofError
from gprof.profile.profile import Profile


class Session(Protocol):
    """Something that a screen can look at: a live guest, or a recording."""

    @property
    def ended(self) -> bool:
        """No more samples will come."""
        ...

    @property
    def failure(self) -> GprofError | None:
        """Why it ended, where it did not end as asked."""
        ...

    def snapshot(self) -> Profile:
        """Everything since the start or the last reset. Cheap; any thread may call it."""
        ...

    def reset(self) -> None:
        """Forget what was sampled so far (a recording that is being written keeps it)."""
        ...
