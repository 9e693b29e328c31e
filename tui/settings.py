"""What the screen remembers from one run to the next."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gprof.profile.view import Group
from tui.choice import Choice, Order
from tui.span import LENGTHS, Span
from tui.view import View

_LARGEST = 1 << 16


@dataclass(frozen=True, slots=True)
class Settings:
    """Preferences; nothing of what was looked at.

    Attributes:
        group: what a row of Top stands for.
        orders: of each view's table.
        refresh_s: seconds between two looks.
        length_s: of the window and the half-life.
        icicle: Flame has its root above.
        theme: its name; empty for ours.
    """

    group: Group = Group.SYMBOL
    orders: Mapping[View, Order] = field(default_factory=dict)
    refresh_s: float = 1.0
    length_s: float = Span().length_s
    icicle: bool = True
    theme: str = ""

    def choice(self) -> Choice:
        """What is shown at first."""
        return Choice(group=self.group, orders=self.orders, span=Span(length_s=self.length_s))


def settings_path(environment: Mapping[str, str]) -> Path | None:
    """Where they are kept, by the XDG Base Directory Specification 0.8; None without a home.

    The specification wants a relative path to be ignored.
    """
    given = environment.get("XDG_CONFIG_HOME", "")
    if given.startswith("/"):
        return Path(given) / "gprof" / "screen.json"
    home = environment.get("HOME", "")
    return Path(home) / ".config" / "gprof" / "screen.json" if home.startswith("/") else None


def read_settings(path: Path) -> Settings:
    """What a file says; the usual where it is missing, or says what cannot be meant."""
    try:
        with path.open("rb") as file:
            content = json.loads(file.read(_LARGEST))
    except (OSError, ValueError, RecursionError):
        return Settings()
    return _meant(content) if isinstance(content, dict) else Settings()


def write_settings(path: Path, settings: Settings) -> None:
    """Keep them; whole or not at all.

    Raises:
        OSError: the system refuses.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "group": settings.group,
        "orders": {view: [o.key, o.reverse] for view, o in settings.orders.items()},
        "refresh_s": settings.refresh_s,
        "length_s": settings.length_s,
        "icicle": settings.icicle,
        "theme": settings.theme,
    }
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_text(json.dumps(content, indent=1) + "\n", "utf-8")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _meant(content: dict[str, Any]) -> Settings:
    group, orders = content.get("group"), content.get("orders")
    refresh, length = content.get("refresh_s"), content.get("length_s")
    icicle, theme = content.get("icicle"), content.get("theme")
    usual = Settings()
    return Settings(
        group=Group(group) if isinstance(group, str) and group in set(Group) else usual.group,
        orders=_orders(orders) if isinstance(orders, dict) else {},
        refresh_s=_number(refresh, 0.1, 60) or usual.refresh_s,
        length_s=_number(length, LENGTHS[0], LENGTHS[-1]) or usual.length_s,
        icicle=icicle if isinstance(icicle, bool) else usual.icicle,
        theme=theme if isinstance(theme, str) else usual.theme,
    )


def _orders(content: dict[str, Any]) -> dict[View, Order]:
    found = {}
    for view, order in content.items():
        match order:
            case [str(key), bool(reverse)] if view in set(View):
                found[View(view)] = Order(key, reverse)
    return found


def _number(value: object, least: float, most: float) -> float | None:
    """A number within bounds; None for everything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if least <= value <= most else None
