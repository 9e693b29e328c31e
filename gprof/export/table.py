"""A profile as a table: text for people, JSON and CSV for programs."""

from __future__ import annotations

import csv
import json
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from io import StringIO
from typing import Any, BinaryIO

from gprof.errors import UsageError
from gprof.export.heading import heading
from gprof.profile.filter import EVERYTHING, Filter
from gprof.profile.profile import Guest, Profile
from gprof.profile.view import TASK_GROUPS, Group, Row, SortKey, Table, tabulate
from gprof.sampling.source import Mode, SourceFacts
from symbols.names import printable
from symbols.space import Reason

#: What would give a name to addresses that have none; `{file}` is the value of the option.
_REMEDIES = {
    Reason.NO_KERNEL_SYMBOLS: "give --guestvmlinux {file} or --guestkallsyms {file}",
    Reason.NO_IMAGE: "give --guestmodules {file}, if modules are loaded there",
    Reason.NO_SYMBOLS: "give --guestkallsyms {file}, which names the symbols of modules too",
    Reason.BETWEEN_SYMBOLS: "a vmlinux with its full symbol table may name them",
    Reason.USER_SPACE: "user space is counted, not named",
    Reason.STARTING: "sample for longer: its symbols are looked for until they are found",
    Reason.FIRMWARE: "--symbols takes its ELF file, or the log of EDK2 and the folder of its build",
    Reason.BEFORE_KERNEL: (
        "--symbols takes its ELF file, or the log of EDK2 and the folder of its build"
    ),
    Reason.FIRMWARE_IMAGE: "give its ELF file, or the folder that EDK2 was built in, to --symbols",
    Reason.GENERATED: "socket filters and seccomp's programs have no names in the kernel either",
    Reason.USER_PROGRAM: "--guestmount DIR with the guest's files, when recording, names them",
}
_USER = frozenset({Reason.USER_SPACE, Reason.USER_PROGRAM})
_OF_HOST = "gprof names guests; `perf report` names what the host does"

_NARROWEST = 12
#: Columns of a terminal that has room for the task of a row too.
_WITH_TASKS = 100


def sort_keys(text: str) -> tuple[SortKey, ...]:
    """The keys in a list with commas, such as `total,symbol`.

    Raises:
        UsageError: one of them is no key.
    """
    keys = []
    for word in text.split(","):
        try:
            keys.append(SortKey(word.strip().lower()))
        except ValueError:
            raise UsageError(
                f"there is no sort key {printable(word)!r}",
                f"The keys are {', '.join(SortKey)}.",
            ) from None
    return tuple(keys)


@dataclass(frozen=True, slots=True)
class _Choice:
    """What every form of the table shows.

    Attributes:
        chosen: which samples count.
        group: what a row stands for.
        sort: the first key orders, the next ones order what is equal in it.
    """

    chosen: Filter = EVERYTHING
    group: Group = Group.SYMBOL
    sort: tuple[SortKey, ...] = (SortKey.SELF,)

    def table(self, profile: Profile) -> Table:
        """The rows in order."""
        table = tabulate(profile, self.chosen, self.group)
        for key in reversed(self.sort):
            table = table.sorted(key)
        return table


@dataclass(frozen=True, slots=True)
class TextTable(_Choice):
    """A table for people; lines that are no rows begin with `#`.

    Attributes:
        width: columns of the terminal, to which names are cut; None leaves them whole.
        ascii_only: escape what is not ASCII.
        limit: rows at most; what is left out is counted. None shows all.
    """

    width: int | None = None
    ascii_only: bool = False
    limit: int | None = None

    def write(self, profile: Profile, out: BinaryIO) -> None:
        """See `Exporter.write`."""
        out.write(self.text(profile).encode())

    def text(self, profile: Profile) -> str:
        """The whole table."""
        table = self.table(profile)
        lines = [f"# {line}".rstrip() for line in heading(profile, table.samples)]
        lines += ["#", *self._rows(table, profile.guests, tasks=len(profile.tasks) > 1)]
        lines += [f"# {line}".rstrip() for line in _without_symbol(table, profile.guests)]
        if self.ascii_only:
            lines = [line.encode("ascii", "backslashreplace").decode() for line in lines]
        return "\n".join(lines) + "\n"

    def _rows(self, table: Table, guests: Mapping[int, Guest], *, tasks: bool) -> list[str]:
        if not table.rows:
            others = "; --group comm tells the tasks that there are" if self.chosen.tasks else ""
            return [f"# no samples{others}"]
        shown = table.rows[: self.limit]
        count = "Samples" if table.weight == table.samples else "Weight"
        digits = max(len(count), *(len(str(row.self_weight)) for row in shown), 0)
        columns = [[self.group.value.capitalize(), *(self._safe(row.label) for row in shown)]]
        if self.group is Group.SYMBOL:
            columns.append(["Module", *(self._safe(row.module) for row in shown)])
        if self.group in {Group.SYMBOL, Group.MODULE}:
            columns.append(["Mode", *(row.mode.label for row in shown)])
            if tasks and (self.width is None or self.width >= _WITH_TASKS):
                columns.append(["Task", *(self._safe(_task(row)) for row in shown)])
        if self.group in TASK_GROUPS:
            modes = (row.mode for row in shown)
            columns.append(
                ["Mode", *("several" if mode is Mode.UNKNOWN else mode.label for mode in modes)]
            )
        if len(guests) > 1 and self.group is not Group.GUEST:
            columns.append(["Guest", *(self._safe(guest_name(guests, row)) for row in shown)])
        widths = [max(map(_cells, column)) for column in columns]
        if self.width is not None:
            # The name takes what the others leave of the line, two columns between all.
            most = max(_NARROWEST, self.width // 4)
            widths[1:] = [min(width, most) for width in widths[1:]]
            fixed = len("  Self%  Total%") + 2 + digits + sum(2 + width for width in widths[1:])
            widths[0] = min(widths[0], max(_NARROWEST, self.width - fixed - 2))
        lines = []
        for number, cells in enumerate(zip(*columns, strict=True)):
            if number:
                row = shown[number - 1]
                line = f"{table.percent(row.self_weight):7.2f}  "
                line += f"{table.percent(row.total_weight):6.2f}  {row.self_weight:>{digits}}"
            else:
                line = f"# Self%  Total%  {count:>{digits}}"
            for cell, width in zip(cells, widths, strict=True):
                line += "  " + self._fit(cell, width)
            lines.append(line.rstrip())
        if len(shown) < len(table.rows):
            lines.append(f"# {len(table.rows) - len(shown)} more rows are not shown")
        return lines

    def _safe(self, text: str) -> str:
        text = printable(text)
        return text.encode("ascii", "backslashreplace").decode() if self.ascii_only else text

    def _fit(self, text: str, width: int) -> str:
        return _fit(text, width, ".." if self.ascii_only else "…")


@dataclass(frozen=True, slots=True)
class JsonTable(_Choice):
    """One JSON object, as `report --json` prints it. Columns may be added, never renamed."""

    def write(self, profile: Profile, out: BinaryIO) -> None:
        """See `Exporter.write`."""
        out.write((json.dumps(self.content(profile), allow_nan=False) + "\n").encode())

    def content(self, profile: Profile) -> dict[str, Any]:
        """The object."""
        table, facts = self.table(profile), profile.facts
        return {
            "samples": table.samples,
            "duration_s": facts.covered_ns / 1e9,
            "guests": [_guest(guest) for _, guest in sorted(profile.guests.items())],
            "halted_percent": round(facts.halted_percent, 6),
            "host": _vcpu_times(facts),
            "rate": {"asked": facts.asked_hz, "reached": facts.reached_hz},
            "stacks": {"by": printable(facts.unwound_by), "endings": _plain(facts.endings)},
            "unresolved": {reason.name.lower(): n for reason, n in table.unresolved.items()},
            "rows": [self._row(table, row, profile.guests) for row in table.rows],
        }

    def _row(self, table: Table, row: Row, guests: Mapping[int, Guest]) -> dict[str, Any]:
        content: dict[str, Any] = {
            "symbol": row.symbol,
            "module": row.module,
            "mode": row.mode.label,
            "self": row.self_weight,
            "self_percent": round(table.percent(row.self_weight), 6),
            "total": row.total_weight,
            "total_percent": round(table.percent(row.total_weight), 6),
            "address": f"{row.address:#x}",
            "guest": guest_name(guests, row),
            "task": row.task.name if row.task is not None else None,
            "pid": _number(row.task.pid if row.task is not None else -1),
            "tgid": _number(row.task.tgid if row.task is not None else -1),
        }
        if self.group is not Group.SYMBOL:
            content["name"] = row.label
        return content


@dataclass(frozen=True, slots=True)
class CsvTable(_Choice):
    """Comma-separated values (RFC 4180, but lines end with a line feed alone), with a heading."""

    def write(self, profile: Profile, out: BinaryIO) -> None:
        """See `Exporter.write`."""
        table = self.table(profile)
        text = StringIO()
        lines = csv.writer(text, lineterminator="\n")
        lines.writerow(
            [
                "self_percent",
                "total_percent",
                "self",
                "total",
                "symbol",
                "module",
                "mode",
                "guest",
                "vcpu",
                "address",
                "task",
                "pid",
                "tgid",
            ]
        )
        for row in table.rows:
            lines.writerow(
                [
                    f"{table.percent(row.self_weight):.4f}",
                    f"{table.percent(row.total_weight):.4f}",
                    row.self_weight,
                    row.total_weight,
                    no_formula(row.label),
                    no_formula(row.module),
                    row.mode.label,
                    row.guest if row.guest >= 0 else "",
                    row.vcpu if row.vcpu >= 0 else "",
                    f"{row.address:#x}",
                    no_formula(row.task.name) if row.task is not None else "",
                    row.task.pid if row.task is not None and row.task.pid >= 0 else "",
                    row.task.tgid if row.task is not None and row.task.tgid >= 0 else "",
                ]
            )
        out.write(text.getvalue().encode())


def _vcpu_times(facts: SourceFacts) -> dict[str, Any] | None:
    """What the host gave the vcpus, as JSON; None where that is not known."""
    if not facts.vcpu_times:
        return None
    return {
        "ran_percent": round(facts.ran_percent, 6),
        "steal_percent": round(facts.steal_percent, 6),
        "vcpus": [
            {"vcpu": vcpu, "ran_s": time.ran_ns / 1e9, "waited_s": time.waited_ns / 1e9}
            for vcpu, time in sorted(facts.vcpu_times.items())
        ],
    }


def _task(row: Row) -> str:
    """What all samples of a row ran; empty where that is not one task, or unknown."""
    return row.task.label if row.task is not None else ""


def _number(value: int) -> int | None:
    return value if value >= 0 else None


def guest_name(guests: Mapping[int, Guest], row: Row) -> str:
    """What the guest of a row is called; empty where the row holds several."""
    return guests[row.guest].name if row.guest in guests else ""


def _without_symbol(table: Table, guests: Mapping[int, Guest]) -> list[str]:
    """What has no symbol, why, and what would give it one; guest by guest where there are several.

    User space is one line in any case: there is nothing to do about it.
    """
    if not table.unresolved:
        return []
    found: list[tuple[int, Reason, Guest | None]] = []
    for (number, reason), n in table.unresolved_of.items():
        if len(guests) > 1 and reason not in _USER:
            found.append((n, reason, guests.get(number)))
    alone = {reason for _, reason, _ in found}
    found += [(n, reason, None) for reason, n in table.unresolved.items() if reason not in alone]
    lines = ["", "Samples without a symbol:"]
    for n, reason, guest in sorted(found, key=lambda one: (-one[0], one[1])):
        whose = f"{printable(guest.name)}: " if guest else ""
        line = f"{100 * n / table.samples:7.2f} %  {n:>7}  {whose}{reason.sentence}"
        lines.append(f"{line}; {remedy(reason, guest)}")
    return lines


def remedy(reason: Reason, guest: Guest | None = None) -> str:
    """What would give a name to addresses that have none.

    Args:
        reason: why they have none.
        guest: whose they are, where there are several.
    """
    if guest is not None and guest.pid < 0 and reason not in _USER:
        return _OF_HOST
    return _REMEDIES[reason].format(file=f"{guest.pid}=FILE" if guest and guest.pid else "FILE")


def _guest(guest: Guest) -> dict[str, Any]:
    return {
        "id": guest.id,
        "name": printable(guest.name),
        "architecture": printable(guest.architecture),
        "vcpus": list(guest.vcpus),
        "kernel": printable(guest.kernel),
        "build_id": guest.build_id.hex(),
        "pid": guest.pid,
    }


def _plain(counts: Mapping[str, int]) -> dict[str, int]:
    return {printable(name): count for name, count in counts.items()}


def _cells(text: str) -> int:
    """How many columns of a terminal a text takes."""
    if text.isascii():
        return len(text)
    return sum(
        0
        if unicodedata.category(c) in {"Mn", "Me"}
        else 2
        if unicodedata.east_asian_width(c) in {"W", "F"}
        else 1
        for c in text
    )


def _fit(text: str, width: int, mark: str = "…") -> str:
    """A text padded or cut to a number of columns."""
    if _cells(text) > width:
        while _cells(text) > width - len(mark):
            text = text[: max(width - len(mark), 0)] if len(text) > width else text[:-1]
        text += mark
    return text + " " * (width - _cells(text))


def no_formula(text: str) -> str:
    """A text that no spreadsheet takes for a formula."""
    text = printable(text)
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text
