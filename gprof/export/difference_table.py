"""Two profiles compared, as text for people and JSON for programs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, BinaryIO

from gprof.export.caption import subtitle_of, title_of
from gprof.profile.difference import Change, Difference, DifferenceRow, Verdict
from gprof.profile.profile import Profile
from symbols.names import printable

_MARKS = {
    Verdict.NEW: "new",
    Verdict.VANISHED: "gone",
    Verdict.MORE: "",
    Verdict.LESS: "",
    Verdict.NOISE: "~",
}


@dataclass(frozen=True, slots=True)
class DifferenceText:
    """A table; lines that are no rows begin with `#`.

    Attributes:
        by_total: show shares of stacks instead of those of leaves.
        all_rows: also those whose change is within the noise of sampling.
        limit: rows at most; what is left out is counted. None shows all.
    """

    by_total: bool = False
    all_rows: bool = False
    limit: int | None = None

    def write(self, found: Difference, before: Profile, after: Profile, out: BinaryIO) -> None:
        """Write all of it."""
        out.write(self.text(found, before, after).encode())

    def text(self, found: Difference, before: Profile, after: Profile) -> str:
        """The whole table."""
        confidence = f"{100 * found.scale.confidence:g} %"
        lines = [
            f"# {when}  {title_of(profile).removeprefix('gprof: ')}; {subtitle_of(profile, weight)}"
            for when, profile, weight in (
                ("before", before, found.scale.before),
                ("after ", after, found.scale.after),
            )
        ]
        rows = sorted(found.rows, key=lambda row: self._change(row).rank)
        certain = [row for row in rows if self._change(row).verdict is not Verdict.NOISE]
        shown = rows if self.all_rows else certain
        of_what = "with the function on the stack" if self.by_total else "in the function itself"
        lines.append(
            f"# shares of samples {of_what}; the true change lies between Low and High, "
            f"{confidence} sure"
        )
        lines.append("#")
        if shown:
            lines += self._rows(shown[: self.limit])
        if self.limit is not None and len(shown) > self.limit:
            lines.append(f"# {len(shown) - self.limit} more rows are not shown")
        hidden = len(rows) - len(certain)
        if hidden and self.all_rows:
            lines.append(f"# ~ {hidden} changes are within the noise of sampling")
        elif hidden:
            lines.append(
                f"# {hidden} functions changed by no more than the noise of sampling; "
                "--all shows them"
            )
        return "\n".join(lines) + "\n"

    def _rows(self, rows: list[DifferenceRow]) -> list[str]:
        width = max(len("Symbol"), *(len(printable(row.name)) for row in rows))
        head = f"# {'Before%':>7} {'After%':>8} {'Change':>8} {'Low':>8} {'High':>8}        "
        lines = [f"{head}{'Symbol':{width}}  Module"]
        for row in rows:
            change = self._change(row)
            numbers = f"{100 * change.share_before:9.2f} {100 * change.share_after:8.2f}"
            for value in (change.change, change.low, change.high):
                numbers += f" {100 * value:+8.2f}"
            name = f"{printable(row.name):{width}}  {printable(row.module)}"
            lines.append(f"{numbers}  {_MARKS[change.verdict]:4}  {name}".rstrip())
        return lines

    def _change(self, row: DifferenceRow) -> Change:
        return row.total if self.by_total else row.own


@dataclass(frozen=True, slots=True)
class DifferenceJson:
    """One JSON object with every row; shares and changes are parts of 1."""

    def write(self, found: Difference, out: BinaryIO) -> None:
        """Write all of it."""
        content = {
            "before": {"weight": found.scale.before},
            "after": {"weight": found.scale.after},
            "confidence": found.scale.confidence,
            "rows": [
                {
                    "symbol": printable(row.name),
                    "module": printable(row.module),
                    "self": _change(row.own),
                    "total": _change(row.total),
                }
                for row in found.rows
            ],
        }
        out.write(json.dumps(content, indent=1).encode() + b"\n")


def _change(change: Change) -> dict[str, Any]:
    return {
        "before": change.before,
        "after": change.after,
        "share_before": round(change.share_before, 9),
        "share_after": round(change.share_after, 9),
        "change": round(change.change, 9),
        "low": round(change.low, 9),
        "high": round(change.high, 9),
        "verdict": change.verdict.value,
    }
