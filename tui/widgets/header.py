"""The lines at the top: who is sampled, how, what it costs, what went wrong, what is left out."""

from __future__ import annotations

from rich.cells import cell_len

from tui.facts import (
    amount_items,
    cost_items,
    guest_items,
    source_items,
    trouble_items,
)
from tui.glyphs import BLOCKS, Glyphs
from tui.picture import Picture, State
from tui.toned import Piece, Tone, fit, joined, lay, width_of
from tui.widgets.lines import Lines
from tui.widgets.vcpu_bars import vcpu_lines

_BADGES = {
    State.LIVE: Tone.BADGE_LIVE,
    State.PAUSED: Tone.BADGE_PAUSED,
    State.HELD: Tone.BADGE_PAUSED,
    State.ENDED: Tone.BADGE_ENDED,
}
#: The target may be a long path; it leaves the guest's name its place.
_TARGET_SHARE = 0.5


class Header(Lines):
    """Draws the header of a picture, as high as the terminal allows.

    Args:
        glyphs: the marks to draw with.
        budget_percent: how much the guest may be halted; None where there is no limit.
        id: of the widget.
    """

    def __init__(
        self,
        glyphs: Glyphs = BLOCKS,
        budget_percent: float | None = None,
        *,
        id: str | None = None,  # noqa: A002 - Textual's own name
    ) -> None:
        super().__init__(id=id)
        self._glyphs = glyphs
        self._budget = budget_percent
        self._picture: Picture | None = None

    def show_picture(self, picture: Picture) -> None:
        """Draw another picture."""
        self._picture = picture
        self._draw()

    def on_resize(self) -> None:
        """Draw for another width or height."""
        self._draw()

    def _draw(self) -> None:
        if self._picture is not None:
            size = self.app.size
            self.show(
                header_lines(
                    self._picture,
                    width=self.size.width,
                    height=size.height,
                    glyphs=self._glyphs,
                    budget_percent=self._budget,
                )
            )


def header_lines(
    picture: Picture, *, width: int, height: int, glyphs: Glyphs, budget_percent: float | None
) -> list[list[Piece]]:
    """The header of a picture on a terminal of `width` by `height` cells."""
    facts, ellipsis = picture.live.facts, glyphs.ellipsis
    badge = Tone.BADGE_BAD if picture.failure is not None else _BADGES[picture.state]
    state: list[Piece] = [(f" {picture.state} ", badge)]
    source = joined(source_items(facts))
    room = int(width * _TARGET_SHARE) - width_of(state) - 2
    if width_of(source) > room:
        (way, tone), (target, plain) = source
        source = [(way, tone), (fit(target, max(room - cell_len(way), 0), ellipsis), plain)]
    lines = [
        lay(joined(guest_items(picture.live)), joined([source, state]), width, ellipsis),
        lay(
            joined(cost_items(facts, budget_percent)),
            joined(amount_items(picture.live)),
            width,
            ellipsis,
        ),
        lay(joined(trouble_items(facts, picture.table)), [], width, ellipsis),
    ]
    lines += vcpu_lines(picture.vcpus, width, max(1, (height - 18) // 6), glyphs)
    return lines
