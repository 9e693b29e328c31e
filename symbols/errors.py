"""The root of every exception that gprof raises on purpose, and those of this package.

The tree, leaves of `gprof.errors` included::

    GprofError
    ├── SymbolsError            what an address means
    │   ├── ImageError          an ELF file is missing, unreadable, truncated or of the wrong kind
    │   ├── KallsymsError       text that is no kallsyms, or one without addresses
    │   ├── ModulesError        text that is no /proc/modules
    │   ├── BtfError            bytes that do not describe a kernel's types, or lack one
    │   ├── IntrospectionError  the guest's memory does not hold what was looked for
    │   ├── UnwindError         stacks cannot be unwound in the way that was asked for
    │   ├── MismatchError       the symbols are of another kernel than the guest's
    │   └── SlideUnknown        where the guest runs its kernel cannot be found, or not yet
    └── (gprof.errors)          everything else

Each carries three things: what failed, what was seen, and the exact thing to do.
An address that cannot be resolved is no exception: it is data (`symbols.space.Reason`).
"""

from __future__ import annotations

from typing import ClassVar


class GprofError(Exception):
    """Something failed that the user can do something about.

    Args:
        problem: what failed and what was seen, one sentence.
        remedy: the exact thing to do, one sentence or a few lines; may be empty.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, problem: str, remedy: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.problem}\n{self.remedy}" if self.remedy else self.problem


class SymbolsError(GprofError):
    """A source of symbols cannot be used."""

    exit_code = 5


class ImageError(SymbolsError):
    """An ELF file is missing, unreadable, truncated or of the wrong kind."""


class KallsymsError(SymbolsError):
    """A text is not in the format of /proc/kallsyms, or its addresses are hidden."""


class ModulesError(SymbolsError):
    """A text is not in the format of /proc/modules."""


class BtfError(SymbolsError):
    """Bytes are no BTF, or do not describe the type that was asked for."""


class IntrospectionError(SymbolsError):
    """The guest's memory does not hold what was looked for, or contradicts itself."""


class UnwindError(SymbolsError):
    """Stacks cannot be unwound: no table, one that is damaged, or one in an unknown format."""


class MismatchError(SymbolsError):
    """Symbols belong to another kernel than the one the guest runs."""


class SlideUnknown(SymbolsError):
    """Where the guest runs its kernel cannot be found, or not yet: early in boot, or encrypted."""
