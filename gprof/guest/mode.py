"""What a vcpu was doing."""

from __future__ import annotations

from enum import IntEnum


class Mode(IntEnum):
    """What a vcpu was doing at the instant of a sample. Stored in recordings: never renumber."""

    UNKNOWN = 0
    KERNEL = 1
    USER = 2
    IDLE = 3
    FIRMWARE = 4
    HYPERVISOR = 5

    @property
    def label(self) -> str:
        """The name shown to people and written by exports."""
        return self.name.lower()
