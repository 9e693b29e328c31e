"""What the person at the screen chose to see."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from gprof.errors import UsageError
from gprof.profile.view import Filter, Group
from gprof.sampling.source import Mode


@dataclass(frozen=True, slots=True)
class Choice:
    """Filter, grouping and order of the table.

    Attributes:
        group: what one row stands for.
        hidden: modes that are left out; idle at first, so that percentages are of real work.
        vcpu: the one vcpu to look at, or None for all.
        guest: the id of the one guest to look at, or None for all.
        text: the filter as it was typed.
        pattern: what it means; None lets everything through.
        sort: key of the column that orders the rows.
        reverse: against that column's usual direction.
    """

    group: Group = Group.SYMBOL
    hidden: frozenset[Mode] = frozenset({Mode.IDLE})
    vcpu: int | None = None
    text: str = ""
    pattern: re.Pattern[str] | None = None
    sort: str = "self"
    reverse: bool = False
    guest: int | None = None

    def filter(self) -> Filter:
        """The samples that count."""
        return Filter(
            pattern=self.pattern,
            modes=frozenset(Mode) - self.hidden if self.hidden else None,
            vcpus=None if self.vcpu is None else frozenset({self.vcpu}),
            guests=None if self.guest is None else frozenset({self.guest}),
        )

    def filtered(self, text: str) -> Choice:
        """The same with another filter text.

        Raises:
            UsageError: the text is no regular expression.
        """
        return replace(self, text=text, pattern=pattern_of(text))

    def toggled(self, mode: Mode) -> Choice:
        """The same with a mode hidden or shown again."""
        return replace(self, hidden=self.hidden ^ {mode})

    def sorted_by(self, key: str) -> Choice:
        """The same sorted by a column; by the same column once more turns the order around."""
        if key == self.sort:
            return replace(self, reverse=not self.reverse)
        return replace(self, sort=key, reverse=False)


def pattern_of(text: str) -> re.Pattern[str] | None:
    """What a typed filter means: `text` as it stands, `/expression/`, or nothing.

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
