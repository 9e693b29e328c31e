"""Filters as they are typed: what a line of text means, and which samples it lets through.

schedule            a symbol or a module with this text in it
/^ext4_|^jbd2_/     the same by a regular expression
module:virtio       only modules; also symbol: task: guest: mode:
vcpu:0,2-3          only these vcpus
!mode:user          everything else
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from gprof.errors import UsageError
from gprof.profile.filter import Filter, FramePattern, Part
from gprof.profile.profile import Profile
from gprof.profile.tasks import UNKNOWN_TASK
from gprof.sampling.source import Mode


class Field(StrEnum):
    """What of a sample a condition looks at."""

    ANY = "any"
    SYMBOL = "symbol"
    MODULE = "module"
    TASK = "task"
    VCPU = "vcpu"
    GUEST = "guest"
    MODE = "mode"


@dataclass(frozen=True, slots=True)
class Condition:
    """One filter; shown as one pill.

    Attributes:
        text: as it was typed.
        field: what it looks at.
        pattern: what that must have; None where `numbers` say it.
        numbers: the vcpus, where the field is VCPU.
        absent: samples that have it do not count.
    """

    text: str
    field: Field
    pattern: re.Pattern[str] | None = None
    numbers: frozenset[int] = frozenset()
    absent: bool = False


def condition_of(text: str) -> Condition | None:
    """What a typed line means; None where it lets everything through.

    Raises:
        UsageError: it has no regular expression where one should be, or no vcpus.
    """
    rest = text.strip()
    absent = rest.startswith("!")
    rest = rest.removeprefix("!").lstrip()
    word, colon, after = rest.partition(":")
    field = Field.ANY
    # `a::b` is a name, and no field.
    if colon and not after.startswith(":") and word in set(Field) - {Field.ANY}:
        field, rest = Field(word), after.strip()
    if field is Field.VCPU:
        return Condition(text, field, numbers=_vcpus(rest), absent=absent) if rest else None
    pattern = pattern_of(rest)
    return None if pattern is None else Condition(text, field, pattern, absent=absent)


def pattern_of(text: str) -> re.Pattern[str] | None:
    """What typed text is found by: `text` as it stands, `/expression/`, or nothing.

    Text without a capital letter is found in any case. The closing slash may be missing, so
    that an expression works while it is being typed.

    Raises:
        UsageError: it is no regular expression.
    """
    if text.startswith("/"):
        expression = text[1:].removesuffix("/")
        if not expression:
            return None
        try:
            return re.compile(expression)
        except (re.error, OverflowError, RecursionError) as error:
            raise UsageError(
                f"/{expression}/ is no regular expression: {error}",
                "Mend it, or leave the first slash away to look for the text itself.",
            ) from error
    if not text:
        return None
    return re.compile(re.escape(text), 0 if text != text.lower() else re.IGNORECASE)


def narrowed(chosen: Filter, conditions: Iterable[Condition], profile: Profile) -> Filter:
    """A filter with conditions added; all of them must hold.

    Args:
        chosen: what counts without them.
        conditions: as they were typed.
        profile: has the names of guests, and the vcpus that there are.
    """
    frames = list(chosen.frames)
    sets: dict[str, frozenset[int]] = {}
    for name in ("modes", "vcpus", "guests", "task_ids"):
        if (given := getattr(chosen, name)) is not None:
            sets[name] = frozenset(given)
    for condition in conditions:
        if condition.pattern is not None and condition.field in _PARTS:
            part = _PARTS[condition.field]
            frames.append(FramePattern(condition.pattern, part, condition.absent))
            continue
        name, named = _named(condition.field, profile)
        found = {number for number, text in named.items() if _holds(condition, number, text)}
        sets[name] = sets.get(name, frozenset(named)) & found
    modes = sets.get("modes")
    return Filter(
        pattern=chosen.pattern,
        modes=None if modes is None else frozenset(map(Mode, modes)),
        vcpus=sets.get("vcpus"),
        guests=sets.get("guests"),
        tasks=chosen.tasks,
        task_ids=sets.get("task_ids"),
        since_ns=chosen.since_ns,
        until_ns=chosen.until_ns,
        frames=tuple(frames),
    )


_PARTS = {Field.ANY: Part.ANY, Field.SYMBOL: Part.SYMBOL, Field.MODULE: Part.MODULE}


def _named(field: Field, profile: Profile) -> tuple[str, Mapping[int, str]]:
    """The column of the filter that a field narrows, and its values by their names."""
    if field is Field.MODE:
        return "modes", {int(mode): mode.label for mode in Mode}
    if field is Field.GUEST:
        return "guests", {number: guest.name for number, guest in profile.guests.items()}
    if field is Field.TASK:
        tasks = map(profile.tasks.__getitem__, range(len(profile.tasks)))
        return "task_ids", {n: task.label if task else UNKNOWN_TASK for n, task in enumerate(tasks)}
    present = np.flatnonzero(np.bincount(profile.samples.vcpu)).tolist()
    return "vcpus", {vcpu: str(vcpu) for vcpu in present}


def _holds(condition: Condition, number: int, text: str) -> bool:
    found = (
        number in condition.numbers
        if condition.pattern is None
        else condition.pattern.search(text) is not None
    )
    return found != condition.absent


def _vcpus(text: str) -> frozenset[int]:
    """`0,2-3`, perhaps not yet typed to its end."""
    found: set[int] = set()
    for part in text.removesuffix(",").split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (last and not last.isdecimal()):
            raise UsageError(
                f"vcpu:{text} names no vcpus", "Write them as in vcpu:0,2-3, counted from 0."
            )
        end = int(last) if dash and last else int(first)
        if end > 4095:
            raise UsageError(f"there is no vcpu {end}", "Write them as in vcpu:0,2-3.")
        found |= set(range(int(first), end + 1))
    return frozenset(found)
