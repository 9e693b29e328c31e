"""Looking at a session: the screen on a terminal, plain tables anywhere else."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING

from gprof.annotator import Annotator
from gprof.cli.ending import ending_gently
from gprof.cli.source_options import annotator_of
from gprof.cli.terminal import can_draw
from gprof.live import Live, Session
from symbols.memory import Memory
from symbols.source_tree import SourceTree

if TYPE_CHECKING:
    from tui.exit_rows import ExitSource


def look(
    session: Session,
    code: Mapping[int, Memory],
    *,
    plain: bool,
    budget_percent: float | None = None,
    leave_at_end: bool = False,
    exits: ExitSource | None = None,
    tree: SourceTree | None = None,
) -> None:
    """Show a session until it or the person ends it.

    Args:
        session: what to look at; started here where it is live.
        code: instructions by guest id.
        plain: print tables even on a terminal.
        budget_percent: the most that the guest may be halted.
        leave_at_end: leave the screen when the session ends.
        exits: where VM exits are counted, for the screen.
        tree: the text of source files.

    Raises:
        GprofError: how the session failed.
    """
    live = session if isinstance(session, Live) else None
    if plain or not can_draw(sys.stdout, sys.stdin):
        _print(session, live, budget_percent)
    else:
        annotator = annotator_of(code, tree)
        try:
            _show(
                session,
                live,
                annotator,
                code,
                budget_percent,
                leave_at_end=leave_at_end,
                exits=exits,
            )
        finally:
            annotator.close()
    if session.failure is not None:
        raise session.failure


def _print(session: Session, live: Live | None, budget_percent: float | None) -> None:
    from tui.plain import print_plain

    if live is None:
        print_plain(session, sys.stdout, budget_percent=budget_percent)
        return
    with ending_gently(live):
        live.start()
        try:
            print_plain(session, sys.stdout, budget_percent=budget_percent)
        finally:
            live.stop()
            live.wait()


def _show(
    session: Session,
    live: Live | None,
    annotator: Annotator,
    code: Mapping[int, Memory],
    budget_percent: float | None,
    *,
    leave_at_end: bool,
    exits: ExitSource | None,
) -> None:
    from tui.app import make_app
    from tui.settings import settings_path

    app = make_app(
        session,
        annotator=annotator,
        budget_percent=budget_percent,
        exits=exits,
        code=code,
        settings=settings_path(os.environ),
    )
    if live is None:
        app.run()
        return
    with ending_gently(live) as asked:
        live.start()

        def leave() -> None:
            live.wait()
            if leave_at_end or asked.is_set():
                app.call_from_thread(app.exit)

        threading.Thread(target=leave, daemon=True).start()
        try:
            app.run()
        finally:
            live.stop()
            live.wait()
