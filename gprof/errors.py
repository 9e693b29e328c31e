"""The exceptions of gprof, below the root in `symbols.errors`.

The tree::

    GprofError                  exit code 1
    ├── UsageError              2  options that contradict each other or name nothing
    ├── PermissionProblem       3  the system refuses; the remedy names the right that is missing
    ├── TargetError             4  the guest cannot be reached, or went away
    │   ├── ConnectionRefused
    │   ├── StubBusy            another debugger holds the only connection
    │   ├── NotAStub            something answers there, but does not speak the protocol
    │   ├── ProtocolError       the stub answered what it never should
    │   └── TargetGone          the connection ended while in use
    ├── SymbolsError            5  (symbols.errors) and its leaves
    └── FormatError             6  a file is not what it should be
"""

from __future__ import annotations

from symbols.errors import GprofError


class UsageError(GprofError):
    """Options contradict each other, or name something that does not exist."""

    exit_code = 2


class PermissionProblem(GprofError):
    """The system refuses; the remedy names the right that is missing."""

    exit_code = 3


class TargetError(GprofError):
    """The guest cannot be reached, or went away."""

    exit_code = 4


class ConnectionRefused(TargetError):
    """Nothing listens at the address."""


class StubBusy(TargetError):
    """The stub serves one client at a time, and another one is connected."""


class NotAStub(TargetError):
    """Something answers at the address, but does not speak the remote serial protocol."""


class ProtocolError(TargetError):
    """The stub answered something that the protocol does not allow."""


class TargetGone(TargetError):
    """The connection ended while it was in use."""


class FormatError(GprofError):
    """A file is not what it should be: wrong kind, newer version, or damaged."""

    exit_code = 6


__all__ = [
    "ConnectionRefused",
    "FormatError",
    "GprofError",
    "NotAStub",
    "PermissionProblem",
    "ProtocolError",
    "StubBusy",
    "TargetError",
    "TargetGone",
    "UsageError",
]
