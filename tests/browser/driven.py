"""A page opened in a browser without a window, with a script of ours in it that acts and tells."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")
needs_browser = [
    pytest.mark.skipif(not BROWSER, reason="chromium is not installed"),
    pytest.mark.timeout(600),
]

#: Our script says things with `say`; they come back in their order.
_SAY = "const log = []; const say = (text) => log.push(text);\n"
_TELL = "\ndocument.documentElement.setAttribute('data-said', JSON.stringify(log).slice(1, -1));"


def script(actions: str) -> str:
    """Actions as they go into a page; what goes wrong in them is said too."""
    return f"{{{_SAY}try {{{actions}\n}} catch (error) {{ say('failed: ' + error); }}{_TELL}}}"


def dom(page: Path, size: str = "1000,600", place: str = "") -> str:
    """The document after its scripts ran, as text; `place` is what follows # in its address."""
    assert BROWSER
    # One folder for all tests of a run: making a new one takes longer than a page.
    return subprocess.run(
        [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", f"--window-size={size}",
         "--no-first-run", "--disable-background-networking", "--disable-component-update",
         "--disable-extensions", "--disable-sync", "--disable-default-apps",
         f"--user-data-dir={page.parent.parent / 'browser'}", "--dump-dom", page.as_uri() + place],
        capture_output=True, text=True, check=True, timeout=300,
    ).stdout  # fmt: skip


def said(page: Path, place: str = "") -> list[str]:
    """What our script in a page said."""
    dump = dom(page, place=place)
    found = re.search(r'data-said="([^"]*)"', dump)
    assert found, dump[-2000:]
    text = html.unescape(found[1])
    return [str(word) for word in json.loads(f"[{text}]")]
