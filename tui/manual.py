"""The manual's list of keys, made from the table of actions."""

from __future__ import annotations

from itertools import groupby

from tui.actions import documented

#: The manual has the list between these lines.
BEGIN = "<!-- keys: made from tui/actions.py; GPROF_UPDATE_GOLDENS=1 pytest tests/unit/tui -->"
END = "<!-- end of keys -->"


def key_tables() -> str:
    """A table in Markdown for each group of actions."""
    lines: list[str] = []
    for title, actions in groupby(documented(), key=lambda line: line[0]):
        lines += ["", f"### {title}", "", "| key | |", "|---|---|"]
        lines += [f"| {_keys(shown)} | {_text(sentence)} |" for _, shown, sentence in actions]
    return "\n".join([*lines, ""])


def with_keys(page: str) -> str:
    """A page with its list of keys made anew.

    Raises:
        ValueError: it has no place for them.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError("the page has no place for keys")
    return f"{before}{BEGIN}\n{key_tables()}\n{END}{after}"


def _keys(shown: str) -> str:
    return " ".join(f"`{key}`" for key in shown.split())


def _text(sentence: str) -> str:
    return sentence.replace("|", "\\|").replace("<", "&lt;")
