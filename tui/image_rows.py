"""The rows of the Symbols view: every image, how well it is known, and what lacks a symbol."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gprof.profile.alike import Alike
from gprof.profile.profile import Profile
from symbols.space import AddressSpace, ImageKind, LoadedImage, Reason
from tui.toned import Tone
from tui.widgets.column import Cell, Column, Rows

_WRAP = 1 << 64


@dataclass(frozen=True, slots=True)
class ImageRow:
    """An image, or what stands for addresses that no image holds.

    Attributes:
        guest: id of the guest.
        name: of the image, `[user]` or `[unknown]`.
        image: where it is loaded; None where there is none.
        loaded: it still is.
        match: how it is known to be the guest's own.
        weight: of the samples whose pc lies in it.
        unresolved: weight of those without a symbol.
        reasons: why they have none, the most frequent first.
    """

    guest: int
    name: str
    image: LoadedImage | None
    loaded: bool
    match: str
    weight: int
    unresolved: int
    reasons: tuple[tuple[Reason, int], ...]

    @property
    def symbols(self) -> int:
        """How many it has."""
        return len(self.image.table) if self.image and self.image.table is not None else 0


def image_rows(profile: Profile, alike: Alike) -> list[ImageRow]:
    """A row for each image of each guest, and for what lies outside of all.

    Args:
        profile: has the images.
        alike: the samples that count.
    """
    placement = alike.placement
    own = np.bincount(placement.own, alike.weight, len(placement.places))
    weights: dict[tuple[int, str, int], dict[Reason, int]] = {}
    for number in np.flatnonzero(own).tolist():
        place = placement.places[number]
        start = 0 if place.module in {"[user]", "[unknown]"} else place.image_start
        reasons = weights.setdefault((place.guest, place.module, start), {})
        reasons[place.reason] = reasons.get(place.reason, 0) + int(own[number])
    rows = []
    for guest, space in profile.spaces.items():
        still = {id(image) for image in space.loaded()}
        shown: set[tuple[str, int]] = set()
        for image in space.images:
            # A map that is read again loads what is there already.
            if (image.name, image.start) in shown:
                continue
            shown.add((image.name, image.start))
            reasons = weights.pop((guest, image.name, image.start), {})
            match = _match(profile, guest, space, image)
            rows.append(
                _row(guest, image.name, image, reasons, match=match, loaded=id(image) in still)
            )
    rows += [
        _row(guest, name, None, reasons, match="", loaded=True)
        for (guest, name, _), reasons in weights.items()
    ]
    return rows


def _row(
    guest: int,
    name: str,
    image: LoadedImage | None,
    reasons: dict[Reason, int],
    *,
    match: str,
    loaded: bool,
) -> ImageRow:
    weight = sum(reasons.values())
    lacking = sorted(
        ((reason, n) for reason, n in reasons.items() if reason is not Reason.RESOLVED),
        key=lambda one: -one[1],
    )
    unresolved = sum(n for _, n in lacking)
    return ImageRow(guest, name, image, loaded, match, weight, unresolved, tuple(lacking))


def _match(profile: Profile, guest: int, space: AddressSpace, image: LoadedImage) -> str:
    """How an image is known to be what the guest has."""
    if image.table is None or not len(image.table):
        return "no symbols"
    if image.kind is ImageKind.KERNEL:
        known = profile.guests.get(guest)
        if known is not None and known.build_id and image.build_id:
            return "build id" if known.build_id == image.build_id else "another build"
    if image.build_id:
        return "by file"
    return "by table" if space.images else ""


def image_columns(profile: Profile, scale: int) -> tuple[Column[ImageRow], ...]:
    """The columns of the Symbols view."""
    columns: list[Column[ImageRow]] = [
        Column("samples", "Samples", 9, lambda row: round(row.weight / scale),
               lambda row: row.weight, falling=True, right=True),
        Column("resolved", "Resolved", 9, _resolved, _share, right=True),
        Column("name", "Image", 0, lambda row: row.name, lambda row: row.name),
        Column("symbols", "Symbols", 9, lambda row: row.symbols or "",
               lambda row: row.symbols, falling=True, right=True, rank=1),
        Column("start", "Start", 16, lambda row: f"{row.image.start:x}" if row.image else "",
               lambda row: row.image.start if row.image else _WRAP, right=True, rank=2),
        Column("slide", "Slide", 11, _slide, lambda row: row.image.slide if row.image else 0,
               right=True, rank=3),
        Column("match", "Match", 11, _match_cell, lambda row: row.match, rank=4),
        Column("build", "Build id", 16,
               lambda row: (row.image.build_id.hex() if row.image else "", Tone.DIM), rank=5),
        Column("why", "Without a symbol", 30, _why, lambda row: row.unresolved, falling=True,
               rank=6),
    ]  # fmt: skip
    if len(profile.guests) > 1:

        def guest(row: ImageRow) -> str:
            known = profile.guests.get(row.guest)
            return known.name if known else f"guest {row.guest}"

        columns.append(Column("guest", "Guest", 12, guest, guest, rank=2))
    return tuple(columns)


def as_rows(rows: list[ImageRow]) -> Rows[ImageRow]:
    """The rows with their keys."""
    return Rows.of(rows, lambda row: (row.guest, row.name, row.image.start if row.image else -1))


def details(row: ImageRow) -> str:
    """Everything about one row, for the line below the table."""
    parts = [row.name]
    image = row.image
    if image is not None:
        parts.append(f"{image.start:#x} to {image.end - 1:#x}")
        parts.append(f"slide {image.slide % _WRAP:#x}")
        if image.build_id:
            parts.append(f"build id {image.build_id.hex()}")
        if image.path:
            parts.append(f"from {image.path}")
        if not row.loaded:
            parts.append("unloaded since")
    if row.reasons:
        parts.append("; ".join(f"{n:,} samples: {reason.sentence}" for reason, n in row.reasons))
    return "  ".join(parts)


def _share(row: ImageRow) -> float:
    return 1 - row.unresolved / row.weight if row.weight else 2.0


def _resolved(row: ImageRow) -> Cell:
    if not row.weight:
        return ""
    share = 100 * _share(row)
    return f"{share:.1f} %", Tone.WARN if row.image is not None and share < 95 else Tone.PLAIN


def _slide(row: ImageRow) -> Cell:
    if row.image is None or not row.image.slide:
        return "0" if row.image is not None else ""
    slide = row.image.slide % _WRAP
    if slide == row.image.start:
        return "start", Tone.DIM  # linked at 0, as modules are
    return f"{slide:x}" if slide < 1 << 63 else f"-{_WRAP - slide:x}"


def _match_cell(row: ImageRow) -> Cell:
    tone = {"build id": Tone.GOOD, "another build": Tone.BAD, "no symbols": Tone.WARN}
    return row.match, tone.get(row.match, Tone.PLAIN) if row.weight else Tone.DIM


def _why(row: ImageRow) -> Cell:
    return ("; ".join(reason.sentence for reason, _ in row.reasons), Tone.DIM)
