"""What is on a screen, as text; and comparing it with a golden file."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from textual.app import App
from textual.pilot import Pilot

from tests.waiting import PATIENCE, Deadline

UPDATE = "GPROF_UPDATE_GOLDENS"


def screen_text(app: App[Any]) -> str:
    """The characters on screen, without the spaces at line ends.

    The one place that knows Textual's private compositor.
    """
    strips = app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in strip).rstrip() for strip in strips) + "\n"


async def eventually(pilot: Pilot[Any], condition: Callable[[], object], what: str) -> None:
    """Wait for something that comes in its own time."""
    deadline = Deadline(what, lambda: f"The screen shows\n{screen_text(pilot.app)}")
    while not condition():
        deadline.check()
        await pilot.pause(0.01)


async def shows(app: App[Any], pilot: Pilot[Any], text: str) -> None:
    """Wait until a text is on the screen."""
    await eventually(pilot, lambda: text in screen_text(app), repr(text))


async def settled(pilot: Pilot[Any]) -> None:
    """Wait until no worker is left that could post something, and the screen stands still."""
    seen = ""
    deadline = Deadline("a screen that stands still", lambda: seen)
    while True:
        deadline.check()
        await pilot.pause(0)
        if len(pilot.app.workers):
            async with asyncio.timeout(PATIENCE):
                await pilot.app.workers.wait_for_complete()
            continue
        await pilot.pause()  # parts that lay themselves out late, such as the footer
        if seen == (seen := screen_text(pilot.app)):
            return


def assert_golden(text: str, path: Path) -> None:
    """Compare a text with its golden file; with GPROF_UPDATE_GOLDENS set, write the file."""
    if os.environ.get(UPDATE):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, "utf-8", newline="\n")
        return
    if not path.exists():
        pytest.fail(f"{path.name} is missing; {UPDATE}=1 writes it")
    assert text == path.read_text("utf-8"), f"{UPDATE}=1 rewrites {path.name}"
