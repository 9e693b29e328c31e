"""The demo on a real terminal: what appears, what keys do, and what is left behind."""

from __future__ import annotations

import pytest

from gprof.guest.demo import qemu_available
from tests.terminal.terminal import Terminal, processes_below

pytestmark = [
    pytest.mark.guest,
    pytest.mark.skipif(
        qemu_available() is None,
        reason="qemu-system-x86_64 is not installed (apt-get install qemu-system-x86)",
    ),
]


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("width", "height"), [(100, 30), (80, 24)])
def test_the_demo_from_beginning_to_end(width: int, height: int) -> None:
    with Terminal(width, height) as terminal:
        terminal.type("stty -a >$TMPDIR/before; python -m gprof demo; echo code=$?")
        terminal.press("Enter")
        seen = terminal.wait_for("checksum_blocks", "copy_pages", "demo.elf", "Help")
        assert len(max(seen.splitlines(), key=len)) <= width
        assert processes_below(terminal.directory)

        terminal.press("?")
        terminal.wait_for("What is shown", "Order")
        terminal.press("Escape")
        terminal.wait(lambda screen: "checksum_blocks" in screen and "What is shown" not in screen)

        terminal.type("/copy")
        terminal.press("Enter")
        terminal.wait(lambda screen: "copy_pages" in screen and "checksum_blocks" not in screen)
        terminal.wait_for("Annotate")
        terminal.press("Escape")
        terminal.wait_for("checksum_blocks", "copy_pages")

        terminal.press("g")
        terminal.wait(lambda screen: any("▸" in x and "checksum" in x for x in screen.split("\n")))
        terminal.press("Enter")
        terminal.wait_for("checksum_blocks", "%r", "Back")
        terminal.press("Escape")
        terminal.wait_for("copy_pages", "Annotate")

        terminal.press("Space")
        terminal.wait_for("PAUSED")
        terminal.press("Space")
        terminal.wait(lambda screen: "PAUSED" not in screen)

        terminal.press("q")
        terminal.wait_for("code=0", terminal.PROMPT)
        assert terminal.state("alternate_on") == "0"
        assert terminal.state("cursor_flag") == "1"
        assert terminal.state("mouse_any_flag") == "0"
        terminal.type("clear; stty -a | cmp - $TMPDIR/before && echo un''changed")
        terminal.press("Enter")
        terminal.wait_for("unchanged")
        # The shell that ends QEMU for us does so at once, but in its own time.
        terminal.wait(lambda _: not processes_below(terminal.directory))
        assert not list(terminal.directory.glob("gprof-*"))
