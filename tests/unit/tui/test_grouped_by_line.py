"""Top by lines of source, which come while one looks."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from textual.pilot import Pilot

from gprof.annotator import Annotator
from gprof.errors import GprofError
from gprof.profile.view import Group
from symbols.lines_of_space import SpaceLines
from symbols.source_frames import Chain, SourceFrame
from symbols.source_tree import SourceTree
from symbols.space import AddressSpace, ImageKind, LoadedImage
from tests.screen_text import assert_golden, screen_text, settled, shows
from tests.screens import GOLDENS, press, with_app
from tests.sessions import FrozenSession, frozen
from tests.waiting import PATIENCE
from tui.app import GprofApp
from tui.editor import SourcePlace
from tui.screens.annotate import AnnotateScreen
from tui.screens.main import MainScreen

OTHERS = "lib/modules/6.1.0-56-cloud-amd64/some/where.ko has no debugging information"


class Gated(SpaceLines):
    """Knows a line for each function of the kernel, once it may answer."""

    def __init__(self) -> None:
        super().__init__()
        self.may = threading.Event()

    def find(self, space: AddressSpace, pcs: Iterable[int]) -> dict[int, Chain]:
        assert self.may.wait(PATIENCE)
        return {pc: self._chain(space, pc) for pc in pcs}

    def why(self, _: LoadedImage) -> str:
        return OTHERS

    @staticmethod
    def _chain(space: AddressSpace, pc: int) -> Chain:
        at = space.symbol_at(pc)
        if at is None or at.image.kind is not ImageKind.KERNEL:
            return ()
        offset = pc - at.symbol.start
        return (SourceFrame(at.symbol.name, f"mm/{at.symbol.name[:6]}.c", 10 + (offset >> 6)),)


async def to_lines(main: MainScreen, pilot: Pilot[GprofError]) -> None:
    while main.choice.group is not Group.LINE:
        await press(pilot, "m")


def test_lines_come_while_one_looks() -> None:
    lines = Gated()

    async def scenario(app: GprofApp, main: MainScreen, pilot: Pilot[GprofError]) -> None:
        await to_lines(main, pilot)
        assert "its line is looked for" in screen_text(app)
        lines.may.set()
        await shows(app, pilot, "mm/copy_u.c:10")
        await settled(pilot)
        assert_golden(screen_text(app), GOLDENS / "top-lines-100x30.txt")
        assert "looked for" not in screen_text(app)
        main.table.move_to([row.label for row in main.table.rows.items].index(OTHERS))
        await settled(pilot)
        assert f"\n {OTHERS}\n" in screen_text(app)
        await press(pilot, "m")
        assert main.choice.group is Group.SYMBOL

    profile = frozen()
    annotator = Annotator(profile.texts, lines=lines)
    with_app(scenario, FrozenSession(profile), annotator=annotator)


def test_a_line_leads_to_its_function_and_to_its_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mm").mkdir()
    path = tmp_path / "mm" / "copy_u.c"
    path.write_text("int line;\n" * 30)
    opened: list[SourcePlace] = []
    lines = Gated()
    lines.may.set()

    def edit(_: GprofApp, place: SourcePlace) -> str:
        opened.append(place)
        return ""

    async def scenario(app: GprofApp, main: MainScreen, pilot: Pilot[GprofError]) -> None:
        await to_lines(main, pilot)
        await shows(app, pilot, "mm/copy_u.c:10")
        await settled(pilot)
        rows = [row.label for row in main.table.rows.items]
        main.table.move_to(rows.index("mm/copy_u.c:10"))
        await press(pilot, "o")
        assert opened == [SourcePlace(path, 10)]
        await press(pilot, "enter")
        assert isinstance(app.screen, AnnotateScreen)
        assert " copy_user_enhanced_fast_string " in screen_text(app)

    monkeypatch.setattr("tui.screens.main.edit", edit)
    profile = frozen()
    annotator = Annotator(profile.texts, lines=lines, tree=SourceTree([tmp_path]))
    with_app(scenario, FrozenSession(profile), annotator=annotator)


def test_what_is_exported_of_lines_are_symbols(tmp_path: Path) -> None:
    path = tmp_path / "lines.csv"
    lines = Gated()
    lines.may.set()

    async def scenario(app: GprofApp, main: MainScreen, pilot: Pilot[GprofError]) -> None:
        await to_lines(main, pilot)
        await pilot.press("e")
        main.prompt.value = str(path)
        await pilot.press("enter")
        await settled(pilot)
        assert "copy_user_enhanced_fast_string" in path.read_text()

    profile = replace(frozen(), texts={})
    with_app(scenario, FrozenSession(profile), annotator=Annotator({}, lines=lines))
