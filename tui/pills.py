"""What a view leaves out or narrows, as pills that can be removed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from tui.choice import Choice
from tui.facts import duration
from tui.picture import Picture
from tui.span import Horizon


@dataclass(frozen=True, slots=True)
class Pill:
    """One of them.

    Attributes:
        text: what it says.
        without: the choice with it removed.
        typed: it was typed as a filter, or picked: Esc removes it.
    """

    text: str
    without: Choice
    typed: bool = True


def pills(picture: Picture) -> Iterator[Pill]:
    """Of a picture, oldest first: modes and their shares, guest, vcpu, time, filters."""
    choice = picture.choice
    for mode in sorted(choice.hidden):
        share = f"{mode.label} {picture.share(mode):.0f} % hidden"
        yield Pill(share, choice.toggled(mode), typed=False)
    span = choice.span
    if span.picked is None and span.horizon is not Horizon.EVERYTHING:
        length = duration(int(span.length_s * 1e9))
        text = f"last {length}" if span.horizon is Horizon.WINDOW else f"half-life {length}"
        everything = replace(span, horizon=Horizon.EVERYTHING)
        yield Pill(text, replace(choice, span=everything), typed=False)
    if choice.guest is not None:
        guest = picture.live.guests.get(choice.guest)
        name = guest.name if guest else f"guest {choice.guest}"
        yield Pill(f"{name} only", replace(choice, guest=None))
    if choice.vcpu is not None:
        yield Pill(f"vcpu {choice.vcpu} only", replace(choice, vcpu=None))
    if span.picked is not None:
        yield Pill(
            picked_text(span.picked, picture.timeline.start_ns),
            replace(choice, span=replace(span, picked=None)),
        )
    for condition in choice.conditions:
        yield Pill(f"filter {condition.text}", choice.without(condition))
    if choice.draft is not None:
        yield Pill(f"filter {choice.draft.text}", replace(choice, draft=None))


def picked_text(picked: tuple[int, int], start_ns: int) -> str:
    """A range of time as people read it, counted from the first sample."""
    first, end = (max(time - start_ns, 0) / 1e9 for time in picked)
    digits = 1 if end - first >= 0.5 else 2
    return f"{first:.{digits}f} to {end:.{digits}f} s"
