"""The demo on a real terminal: what appears, what keys do, and what is left behind."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gprof.guest.demo import DemoGuest, qemu_available
from gprof.recording.reader import read
from tests.guests.recordings import await_recording
from tests.terminal.terminal import Terminal, processes_below

pytestmark = [
    pytest.mark.guest,
    pytest.mark.skipif(
        qemu_available() is None,
        reason="qemu-system-x86_64 is not installed (apt-get install qemu-system-x86)",
    ),
]


@pytest.fixture
def demo() -> Iterator[DemoGuest]:
    """The bundled guest, which does not end with what looks at it."""
    with DemoGuest() as guest:
        yield guest


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("width", "height"), [(100, 30), (80, 24)])
def test_the_demo_from_beginning_to_end(width: int, height: int) -> None:
    with Terminal(width, height) as terminal:
        terminal.type("stty -a >$TMPDIR/before; python -m gprof demo; echo code=$?")
        terminal.press("Enter")
        seen = terminal.wait_for("checksum_blocks", "copy_pages", "demo.elf", "Help")
        assert len(max(seen.splitlines(), key=len)) <= width
        assert processes_below(terminal.directory)

        terminal.press("?")
        terminal.wait_for("Who calls whom", "Esc closes")
        terminal.press("Escape")
        terminal.wait(lambda screen: "checksum_blocks" in screen and "Esc closes" not in screen)

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

        terminal.press("f")
        terminal.wait_for("[f Flame]", "all  100.00 %")
        terminal.press("T")
        terminal.wait_for("[T Tree]", "Function", "kernel")
        terminal.press("s")
        terminal.wait_for("[s Symbols]", "demo.elf", "Resolved")
        terminal.press("t")
        terminal.wait_for("[t Top]", "checksum_blocks")

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


@pytest.mark.timeout(600)
def test_a_guest_is_looked_at_and_runs_on(demo: DemoGuest) -> None:
    with Terminal(100, 30) as terminal:
        guest = f"--max-halted 20 --gdb {demo.gdb_address} --guestvmlinux {demo.image}"
        terminal.type(f"cd $TMPDIR; python -m gprof top {guest}; echo code=$?")
        terminal.press("Enter")
        terminal.wait_for("checksum_blocks", "copy_pages", "LIVE", "busy")

        # Into the instructions of the hottest function, and back.
        terminal.press("Enter")
        terminal.wait_for("%r", "Back", "Next hot")
        terminal.press("Escape")
        terminal.wait_for("[t Top]", "Annotate")

        # A filter narrows what is shown, and its pill says so.
        terminal.type("/symbol:copy_pages")
        terminal.press("Enter")
        terminal.wait(lambda screen: "filter symbol:copy_pages" in screen
                      and "checksum_blocks" not in screen)  # fmt: skip

        # A period of time: everything but the newest bucket.
        terminal.press("p")
        terminal.wait_for("Keep", "All time")
        terminal.press("Left", "Space", "g")
        terminal.press("Enter")
        terminal.wait_for(" s ×", "filter symbol:copy_pages", "Annotate")  # noqa: RUF001

        # What is shown goes into a file.
        terminal.press("e")
        terminal.wait_for(".svg")
        terminal.press("C-u")
        terminal.type("shown.folded")
        terminal.press("Enter")
        terminal.wait_for("Wrote shown.folded")
        terminal.press("S")
        terminal.wait_for(".gprof")
        terminal.press("C-u")
        terminal.type("all.gprof")
        terminal.press("Enter")
        terminal.wait_for("Wrote all.gprof")

        # Back to now, and out.
        terminal.press("l")
        terminal.wait(lambda screen: " s ×" not in screen)  # noqa: RUF001
        terminal.press("q")
        terminal.wait_for("code=0", terminal.PROMPT)
        lines = (terminal.directory / "shown.folded").read_text().splitlines()
        assert lines
        assert all("copy_pages" in line for line in lines)
        saved = read(terminal.directory / "all.gprof")
        assert len(saved.samples)

        # The guest runs on: another look finds it at work.
        terminal.type(f"clear; python -m gprof record {guest} -o after.gprof; echo after=$?")
        terminal.press("Enter")
        await_recording(
            terminal.directory / "after.gprof",
            lambda after: len(set(after.samples.pc.tolist())) > 1,
        )
        terminal.press("C-c")
        terminal.wait_for("after=0")
