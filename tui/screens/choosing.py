"""What is shown: views, groups, modes, order and time, by keys."""

from __future__ import annotations

from dataclasses import replace

from gprof.profile.resolution import Resolution
from gprof.sampling.source import Mode
from tui.choice import Order
from tui.exit_rows import GROUPS
from tui.picture import Pause, State, groups_of
from tui.screens.session import SessionScreen
from tui.view import View
from tui.widgets.flame_graph import FlameGraph
from tui.widgets.line_table import LineTable
from tui.widgets.tab_bar import TabBar
from tui.widgets.timeline_bar import TimelineBar

#: Seconds between two looks at the session that `+` and `-` step through.
INTERVALS = (0.25, 0.5, 1.0, 2.0, 5.0, 10.0)


class ChoosingScreen(SessionScreen):
    """A session's screen on which a person chooses what to see."""

    def action_view(self, name: str) -> None:
        """Show a view."""
        view = View(name)
        if view not in self.views:
            self._say("This source has no VM exits; gprof stat counts them.")
        else:
            self._choose(replace(self._choice, view=view))

    def action_next_view(self, step: int) -> None:
        """Show the next view."""
        views = self.views
        at = views.index(self._choice.view) + step
        self._choose(replace(self._choice, view=views[at % len(views)]))

    def on_tab_bar_chosen(self, message: TabBar.Chosen) -> None:
        """A tab was clicked."""
        self.action_view(message.view)

    # Rows

    def action_next_group(self, step: int) -> None:
        """Go on to the next grouping."""
        if self._choice.view is View.EXITS:
            at = (self._choice.exit_group + step) % len(GROUPS)
            self._choose(replace(self._choice, exit_group=at))
        elif self._picture is not None:
            groups = groups_of(self._picture.live, lines=self._lines is not None)
            at = groups.index(self._choice.group) if self._choice.group in groups else -1
            group = groups[(at + step) % len(groups)]
            self._keep(replace(self._settings, group=group))
            self._choose(replace(self._choice, group=group, view=View.TOP))

    def action_invert(self) -> None:
        """Turn the tree round."""
        view = self._choice.view if self._choice.view.draws_tree else View.TREE
        self._choose(replace(self._choice, inverted=not self._choice.inverted, view=view))

    def action_toggle_mode(self, mode: str) -> None:
        """Hide a mode, or show it again."""
        self._choose(self._choice.toggled(Mode[mode]))

    def action_vcpu(self, step: int) -> None:
        """Go on to the next vcpu: all, 0, 1, …, all."""
        if self._picture is None:
            return
        known = {v for guest in self._picture.live.guests.values() for v in guest.vcpus}
        stations = [None, *sorted(known | {v.vcpu for v in self._picture.vcpus})]
        at = stations.index(self._choice.vcpu) if self._choice.vcpu in stations else 0
        self._choose(replace(self._choice, vcpu=stations[(at + step) % len(stations)]))

    def action_guest(self, step: int) -> None:
        """Go on to the next guest: all, the first, the second, …, all."""
        if self._picture is None or len(self._picture.live.guests) < 2:
            return
        stations = [None, *sorted(self._picture.live.guests)]
        at = stations.index(self._choice.guest) if self._choice.guest in stations else 0
        self._choose(replace(self._choice, guest=stations[(at + step) % len(stations)]))

    def on_flame_graph_turned(self, message: FlameGraph.Turned) -> None:
        """Remember it."""
        self._keep(replace(self._settings, icicle=message.icicle))

    # Order

    def action_sort(self, number: int) -> None:
        """Sort by a column, counted from the left; by the same one again turns it around."""
        columns = self.table.columns
        if number < len(columns) and columns[number].order is not None:
            self._sort_by(columns[number].key)

    def action_sort_next(self, step: int) -> None:
        """Sort by the column beside the one that it is sorted by."""
        columns = [column.key for column in self.table.columns if column.order is not None]
        if self._picture is not None and self._picture.sheet is not None and columns:
            key = self._picture.sheet.sort[0]
            at = columns.index(key) if key in columns else 0
            self._order(Order(columns[(at + step) % len(columns)]))

    def action_reverse(self) -> None:
        """Turn the order around."""
        self._order(replace(self._choice.order, reverse=not self._choice.order.reverse))

    def on_line_table_sorted(self, message: LineTable.Sorted) -> None:
        """A header was clicked."""
        self._sort_by(message.column)

    def _sort_by(self, key: str) -> None:
        # A grouping may lack the column that was chosen: what counts is what is shown.
        if self._picture is not None and self._picture.sheet is not None:
            here = self._picture.sheet.sort[0] == key
            self._order(Order(key, here and not self._choice.order.reverse))

    def _order(self, order: Order) -> None:
        choice = self._choice.ordered(order)
        self._keep(replace(self._settings, orders=choice.orders))
        self._choose(choice)

    # Time

    def action_pause(self) -> None:
        """Hold the view at what it shows, or let it go on."""
        if self._pause is not None:
            self._pause = None
        elif self._picture is not None and self._picture.state is not State.ENDED:
            self._pause = Pause(self._picture.live, Resolution())
        self._look()

    def action_reset(self) -> None:
        """Forget the samples so far."""
        self._session.reset()
        self._pause = None
        self._choose(replace(self._choice, span=replace(self._choice.span, picked=None)))

    def action_live(self) -> None:
        """Back to now."""
        self._pause = None
        self._choose(replace(self._choice, span=replace(self._choice.span, picked=None)))

    def action_horizon(self) -> None:
        """Count everything, the last seconds, or the older the less."""
        span = replace(self._choice.span.next_horizon(), picked=None)
        self._choose(replace(self._choice, span=span))

    def action_length(self, step: int) -> None:
        """A longer or shorter window or half-life."""
        span = self._choice.span.stretched(step)
        self._keep(replace(self._settings, length_s=span.length_s))
        self._choose(replace(self._choice, span=span))
        self._say(f"Window and half-life are {span.length_s:g} s; w chooses between them.")

    def action_pick(self) -> None:
        """Let keys pick a period of time."""
        if self._picture is not None and len(self._picture.timeline):
            self.set_focus(self.timeline)

    def on_timeline_bar_picked(self, message: TimelineBar.Picked) -> None:
        """Every view follows."""
        self._choose(replace(self._choice, span=replace(self._choice.span, picked=message.picked)))

    def on_timeline_bar_done(self) -> None:
        """Back to the view."""
        self.set_focus(self._widget())

    def action_interval(self, step: int) -> None:
        """Look more often (-1) or less often (1)."""
        nearest = min(range(len(INTERVALS)), key=lambda i: abs(INTERVALS[i] - self.refresh_s))
        refresh = INTERVALS[max(0, min(nearest + step, len(INTERVALS) - 1))]
        self._keep(replace(self._settings, refresh_s=refresh))
        self._look()
        self._say(f"Refreshed every {refresh:g} s.")
