"""What a profile looks like from one side: filtered, grouped, counted."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from gprof.profile.profile import Profile
from gprof.sampling.source import Mode
from symbols.space import Reason


class Group(StrEnum):
    """What one row stands for."""

    SYMBOL = "symbol"
    MODULE = "module"
    MODE = "mode"
    VCPU = "vcpu"
    GUEST = "guest"


@dataclass(frozen=True, slots=True)
class Filter:
    """Which samples count. None lets everything through.

    Attributes:
        pattern: found in the symbol or the module of any frame of the sample.
        modes: modes to keep.
        vcpus: vcpus to keep.
        guests: guests to keep.
        since_ns: first `time` to keep.
        until_ns: `time` after the last to keep.
    """

    pattern: re.Pattern[str] | None = None
    modes: frozenset[Mode] | None = None
    vcpus: frozenset[int] | None = None
    guests: frozenset[int] | None = None
    since_ns: int | None = None
    until_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table.

    Attributes:
        symbol: the function's name; None where the address has none, or the rows are no symbols.
        module: the image's name, `[kernel]` or a module's; or what stands for it, in brackets.
        mode: what the vcpus were doing.
        reason: why there is no symbol.
        guest: id of the guest; -1 where the row holds several.
        vcpu: index of the vcpu; -1 where the row holds several.
        address: runtime start of the symbol, or the lowest address of the row.
        self_weight: weight of the samples whose pc lies here.
        total_weight: weight of the samples with this anywhere on their stack, once each.
    """

    symbol: str | None
    module: str
    mode: Mode
    reason: Reason
    guest: int
    vcpu: int
    address: int
    self_weight: int
    total_weight: int

    @property
    def label(self) -> str:
        """The symbol, or what is shown in its place."""
        return self.symbol if self.symbol is not None else f"{self.address:#x}"


@dataclass(frozen=True, slots=True)
class Table:
    """Rows by falling self weight, then total, then name.

    Attributes:
        rows: what is left after the filter.
        samples: how many samples they stand for.
        weight: the sum of those samples' weights; the base of every percentage.
        unresolved: samples without a symbol, by reason (user space is one of them).
    """

    rows: tuple[Row, ...]
    samples: int
    weight: int
    unresolved: dict[Reason, int]

    def percent(self, weight: int) -> float:
        """A weight as share of what is shown."""
        return 100.0 * weight / self.weight if self.weight else 0.0


def tabulate(profile: Profile, chosen: Filter = Filter(), group: Group = Group.SYMBOL) -> Table:
    """Filter, group and count the samples of a profile."""
    raise NotImplementedError
