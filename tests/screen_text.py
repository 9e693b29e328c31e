"""What is on a screen, as text; and comparing it with a golden file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from textual.app import App
from textual.pilot import Pilot

UPDATE = "GPROF_UPDATE_GOLDENS"


def screen_text(app: App[Any]) -> str:
    """The characters on screen, without the spaces at line ends.

    The one place that knows Textual's private compositor.
    """
    strips = app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in strip).rstrip() for strip in strips) + "\n"


async def settled(pilot: Pilot[Any]) -> None:
    """Wait until no worker is left that could post something, and the screen stands still."""
    seen = ""
    while True:
        await pilot.pause(0)
        if len(pilot.app.workers):
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
