"""How the samples were taken and what that cost, in words; the screen and `--plain` share it."""

from __future__ import annotations

from gprof.profile.profile import Profile
from gprof.profile.view import Table
from gprof.sampling.source import SourceFacts
from tui.toned import Piece, Tone

#: A rate that falls short of the one asked for by more than this share is worth a colour.
_SHORT = 0.9
#: An unresolved share above this is worth a colour: percent.
_MANY_UNRESOLVED = 5.0

#: A share of the time in which vcpus waited for the host above this is worth a colour: percent.
_MUCH_STEAL = 5.0
#: A share of stacks that are not whole above this is worth a colour: percent.
_MANY_CUT = 1.0

Item = list[Piece]


def guest_items(profile: Profile) -> list[Item]:
    """Who is being looked at: name, kernel, architecture; or how many."""
    if len(profile.guests) != 1:
        return [[(f"{len(profile.guests)} guests", Tone.TITLE)]]
    (guest,) = profile.guests.values()
    items: list[Item] = [[(guest.name or "guest", Tone.TITLE)]]
    if guest.kernel:
        items.append([(f"Linux {guest.kernel}", Tone.PLAIN)])
    if guest.architecture:
        items.append([(guest.architecture, Tone.PLAIN)])
    return items


def source_items(facts: SourceFacts) -> list[Item]:
    """Where the samples come from."""
    return [[(facts.way, Tone.DIM), (f" {facts.target}", Tone.PLAIN)]]


def cost_items(facts: SourceFacts, budget_percent: float | None) -> list[Item]:
    """Rate, and halted time where the guest is halted at all."""
    items: list[Item] = []
    if facts.asked_hz:
        short = facts.covered_ns > 0 and facts.reached_hz < _SHORT * facts.asked_hz
        items.append(
            [
                ("rate ", Tone.DIM),
                (f"{facts.reached_hz:.1f}", Tone.WARN if short else Tone.PLAIN),
                (f" of {facts.asked_hz:g} Hz", Tone.PLAIN),
            ]
        )
    if facts.way == "perf":  # which stops nothing
        return items
    # A little and nothing at all are not the same.
    halted = f"{facts.halted_percent:.2f}" if facts.halted_ns else "0"
    over = budget_percent is not None and facts.halted_percent > budget_percent
    item: Item = [("halted ", Tone.DIM), (halted, Tone.WARN if over else Tone.PLAIN)]
    item.append((" %" if budget_percent is None else f" of {budget_percent:g} %", Tone.PLAIN))
    items.append(item)
    return items


def amount_items(profile: Profile) -> list[Item]:
    """How many samples, over how long."""
    return [
        [(f"{len(profile.samples):,}", Tone.STRONG), (" samples", Tone.DIM)],
        [(duration(profile.facts.covered_ns), Tone.STRONG)],
    ]


def trouble_items(facts: SourceFacts, table: Table) -> list[Item]:
    """What went wrong, zeros included: silence would not tell that nothing did."""
    items = [
        [(f"{name} ", Tone.DIM), (f"{count:,}", Tone.WARN if count else Tone.PLAIN)]
        for name, count in (("late", facts.late), ("errors", facts.errors), ("lost", facts.lost))
    ]
    if facts.endings:
        cut = facts.stacks_cut_percent
        tone = Tone.WARN if cut > _MANY_CUT else Tone.PLAIN
        items.append([("stacks cut ", Tone.DIM), (f"{cut:.1f} %", tone)])
    if facts.vcpu_times:
        steal = facts.steal_percent
        tone = Tone.WARN if steal > _MUCH_STEAL else Tone.PLAIN
        items.append([("steal ", Tone.DIM), (f"{steal:.1f} %", tone)])
    if facts.held_ns:
        items.append([("held ", Tone.DIM), (duration(facts.held_ns), Tone.WARN)])
    items.append(unresolved_item(table))
    return items


def unresolved_item(table: Table) -> Item:
    """The share of kernel samples without a symbol, and the most frequent reason."""
    counted = {r: n for r, n in table.unresolved.items() if n and not r.expected}
    percent = 100.0 * sum(counted.values()) / table.samples if table.samples else 0.0
    item: Item = [
        ("unresolved ", Tone.DIM),
        (f"{percent:.1f} %", Tone.WARN if percent > _MANY_UNRESOLVED else Tone.PLAIN),
    ]
    if counted:
        item.append((f" ({max(counted, key=lambda r: counted[r]).sentence})", Tone.DIM))
    return item


def duration(nanoseconds: int) -> str:
    """A time span as people read it: `62.3 s`, `12:04`, `1:02:03`."""
    seconds = max(nanoseconds, 0) / 1e9
    if seconds < 600:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
