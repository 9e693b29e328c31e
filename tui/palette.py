"""What the command palette finds: every action of the screen, and the symbols that it shows."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from textual.command import DiscoveryHit, Hit, Hits, Provider
from textual.content import Content

from symbols.names import printable
from tui.actions import PALETTE, Action
from tui.screens.main import MainScreen

#: Symbols that are offered; the best matches.
_MOST = 30


class ActionProvider(Provider):
    """Every action by its label and its sentence."""

    async def discover(self) -> Hits:
        """All of them, while nothing is typed."""
        for action in _actions():
            yield DiscoveryHit(Content(_said(action)), partial(self._run, action), _said(action))

    async def search(self, query: str) -> Hits:
        """Those that match."""
        matcher = self.matcher(query)
        for action in _actions():
            if (score := matcher.match(_said(action))) > 0:
                yield Hit(score, Content(_said(action)), partial(self._run, action), _said(action))

    async def _run(self, action: Action) -> None:
        screen = self.screen
        # Actions of a view have their methods on its widget, which has the focus.
        name = f"action_{action.call.partition('(')[0]}"
        places = [screen.focused, screen, self.app]
        place = next((place for place in places if hasattr(place, name)), None)
        if place is not None:
            await self.app.run_action(action.call, default_namespace=place)
        elif isinstance(screen, MainScreen):
            screen.say_elsewhere(action)


class SymbolProvider(Provider):
    """The symbols of the samples that are shown."""

    async def search(self, query: str) -> Hits:
        """The best matches. The text that is looked for is enough; case does not matter."""
        screen = self.screen
        if not isinstance(screen, MainScreen):
            return
        # Fuzzy matching of fifty thousand names would hold up every key.
        wanted = query.lower()
        names = [name for name in screen.symbols() if wanted in name.lower()]
        names.sort(key=lambda name: (not name.lower().startswith(wanted), len(name)))
        for rank, name in enumerate(names[:_MOST]):
            shown = printable(name)
            yield Hit(
                0.9 - rank / 100,
                Content(f"{shown}  symbol"),
                partial(screen.show_symbol, name),
                shown,
            )


def _actions() -> Iterable[Action]:
    return (action for group in PALETTE for action in group.actions if action.help)


def _said(action: Action) -> str:
    return f"{action.label}: {action.help}  {action.shown}"
