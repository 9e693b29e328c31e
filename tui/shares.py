"""Cells shared out in proportion."""

from __future__ import annotations

from collections.abc import Sequence


def shared_out(parts: Sequence[int], cells: int) -> list[int]:
    """`cells` shared out in proportion to `parts`, by largest remainder: they sum to `cells`."""
    total = sum(parts)
    if total <= 0:
        return [0] * len(parts)
    shares = [part * cells // total for part in parts]
    by_remainder = sorted(range(len(parts)), key=lambda i: -(parts[i] * cells % total))
    for i in by_remainder[: cells - sum(shares)]:
        shares[i] += 1
    return shares
