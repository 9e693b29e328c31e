"""What the person at the screen chose to see."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from gprof.profile.filter import Filter
from gprof.profile.profile import Profile
from gprof.profile.view import Group
from gprof.sampling.source import Mode
from tui.condition import Condition, narrowed
from tui.span import Seen, Span
from tui.view import View


@dataclass(frozen=True, slots=True)
class Order:
    """What the rows of a table are sorted by.

    Attributes:
        key: of the column; empty for the usual one.
        reverse: against that column's usual direction.
    """

    key: str = ""
    reverse: bool = False


@dataclass(frozen=True, slots=True)
class Choice:
    """View, filter, grouping, order and time.

    Attributes:
        view: what fills the screen.
        group: what one row of Top stands for.
        hidden: modes that are left out; idle at first, so that percentages are of real work.
        vcpu: the one vcpu to look at, or None for all.
        guest: the id of the one guest to look at, or None for all.
        conditions: the filters that were kept, oldest first; all of them must hold.
        draft: the one that is being typed.
        orders: of each view's table, where another than the usual one was chosen.
        inverted: the tree begins with the functions that ran, and their callers follow.
        exit_group: index into `tui.exit_rows.GROUPS`.
        span: which part of the time counts.
    """

    view: View = View.TOP
    group: Group = Group.SYMBOL
    hidden: frozenset[Mode] = frozenset({Mode.IDLE})
    vcpu: int | None = None
    guest: int | None = None
    conditions: tuple[Condition, ...] = ()
    draft: Condition | None = None
    orders: Mapping[View, Order] = field(default_factory=dict)
    inverted: bool = False
    exit_group: int = 0
    span: Span = field(default_factory=Span)

    @property
    def order(self) -> Order:
        """Of the view's table."""
        return self.orders.get(self.view, Order())

    def filter(self, seen: Seen) -> Filter:
        """The samples that count."""
        chosen = Filter(
            modes=frozenset(Mode) - self.hidden if self.hidden else None,
            vcpus=None if self.vcpu is None else frozenset({self.vcpu}),
            guests=None if self.guest is None else frozenset({self.guest}),
            since_ns=seen.since_ns,
            until_ns=seen.until_ns,
        )
        typed = (self.draft,) if self.draft is not None else ()
        return narrowed(chosen, (*self.conditions, *typed), seen.profile)

    def filter_of(self, profile: Profile) -> Filter:
        """The samples of a profile that count."""
        return self.filter(self.span.seen(profile))

    def toggled(self, mode: Mode) -> Choice:
        """The same with a mode hidden or shown again."""
        return replace(self, hidden=self.hidden ^ {mode})

    def ordered(self, order: Order) -> Choice:
        """The same with the view's table in another order."""
        return replace(self, orders={**self.orders, self.view: order})

    def kept(self) -> Choice:
        """The same with what is being typed among the filters."""
        if self.draft is None or self.draft in self.conditions:
            return replace(self, draft=None)
        return replace(self, conditions=(*self.conditions, self.draft), draft=None)

    def without(self, condition: Condition) -> Choice:
        """The same with a filter removed."""
        left = tuple(c for c in self.conditions if c is not condition)
        return replace(self, conditions=left)
