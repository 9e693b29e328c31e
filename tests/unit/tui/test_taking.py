"""Exporting what is shown, saving a recording, copying, and opening the source."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from textual.pilot import Pilot

from gprof.annotator import Annotator
from gprof.errors import GprofError, UsageError
from gprof.export.formats import FORMATS
from gprof.profile.listing import Listing
from gprof.profile.profile import Profile
from gprof.profile.view import Row
from gprof.recording.reader import read
from symbols.disassembly import Syntax
from symbols.errors import SymbolsError
from tests.screen_text import screen_text, settled
from tests.screens import press, with_app
from tests.sessions import FrozenSession, frozen
from tui.app import GprofApp
from tui.editor import SourcePlace, editor_command
from tui.screens.main import MainScreen


async def enter(pilot: Pilot[GprofError], key: str, text: str) -> None:
    """Open the line with a key, replace what it proposes, and press Enter."""
    await pilot.press(key)
    await settled(pilot)
    await pilot.press("ctrl+u", "ctrl+k")
    main = pilot.app.screen
    assert isinstance(main, MainScreen)
    main.prompt.value = text
    await pilot.press("enter")
    await settled(pilot)


def stacked() -> FrozenSession:
    return FrozenSession(frozen(stacks=True))


def test_what_is_shown_is_exported(tmp_path: Path) -> None:
    path = tmp_path / "some.folded"

    async def scenario(app: GprofApp, main: MainScreen, pilot: Pilot[GprofError]) -> None:
        await pilot.press("slash", *"symbol:vfs_write", "enter")
        await settled(pilot)
        await enter(pilot, "e", str(path))
        assert main.picture is not None
        lines = path.read_text().splitlines()
        assert sum(int(line.rpartition(" ")[2]) for line in lines) == main.picture.table.weight
        assert all("vfs_write" in line for line in lines)
        assert "Wrote " in screen_text(app)
        assert main.focused is main.table

    with_app(scenario, stacked(), size=(160, 30))


@pytest.mark.parametrize("form", sorted(FORMATS))
def test_every_format_is_written(form: str, tmp_path: Path) -> None:
    path = tmp_path / f"out{FORMATS[form].endings[0]}"

    async def scenario(app: GprofApp, _: MainScreen, pilot: Pilot[GprofError]) -> None:
        await enter(pilot, "e", str(path))
        assert f": {form} (" in screen_text(app)

    with_app(scenario, stacked(), size=(200, 30))
    assert path.stat().st_size > 100


def test_what_cannot_be_written_is_explained(tmp_path: Path) -> None:
    (tmp_path / "there.svg").write_text("")

    async def scenario(app: GprofApp, _: MainScreen, pilot: Pilot[GprofError]) -> None:
        for name, words in (
            ("there.svg", "exists already"), ("x.doc", "does not say in which format"),
            ("no/x.svg", "x.svg"),
        ):  # fmt: skip
            await enter(pilot, "e", str(tmp_path / name))
            assert words in screen_text(app)
        await press(pilot, "e escape")
        assert "file name" not in screen_text(app)

    with_app(scenario, stacked(), size=(300, 30))
    assert (tmp_path / "there.svg").read_text() == ""


def test_decay_is_told_in_what_is_written(tmp_path: Path) -> None:
    async def scenario(app: GprofApp, _: MainScreen, pilot: Pilot[GprofError]) -> None:
        await press(pilot, "w w")
        await enter(pilot, "e", str(tmp_path / "a.csv"))
        assert "weights in 1/1024 of a sample" in screen_text(app)

    with_app(scenario, stacked(), size=(200, 30))


def test_a_session_is_saved_as_a_recording(tmp_path: Path) -> None:
    path = tmp_path / "now.gprof"
    session = stacked()

    async def scenario(app: GprofApp, _: MainScreen, pilot: Pilot[GprofError]) -> None:
        await press(pilot, "K")  # what is hidden is saved all the same
        await enter(pilot, "S", str(path))
        assert "2,000 samples" in screen_text(app)

    with_app(scenario, session, size=(160, 30), code=session.profile.texts)
    again = read(path)
    assert len(again.samples) == 2000
    assert len(again.stacks) == len(session.profile.stacks)
    assert again.texts


def test_names_and_addresses_are_copied() -> None:
    async def scenario(app: GprofApp, _: MainScreen, pilot: Pilot[GprofError]) -> None:
        await press(pilot, "y")
        assert app.clipboard == "[user]"
        await press(pilot, "Y")
        assert "There is no address under the cursor." in screen_text(app)
        await press(pilot, "down Y")
        assert app.clipboard.startswith("0xffffffff")
        await press(pilot, "T y")
        assert app.clipboard == "entry_SYSCALL_64_after_hwframe"
        await press(pilot, "f down down y")
        assert app.clipboard == "do_syscall_64"
        await press(pilot, "s y")
        assert app.clipboard == "[kernel]"

    with_app(scenario, stacked())


def test_hostile_names_are_copied_harmlessly() -> None:
    from tests.profiles import hostile

    async def scenario(app: GprofApp, main: MainScreen, pilot: Pilot[GprofError]) -> None:
        for _ in range(len(main.table.rows)):
            await pilot.press("y", "down")
            assert app.clipboard.isprintable()

    with_app(scenario, FrozenSession(hostile()))


def test_instructions_of_every_view() -> None:
    asked: list[str] = []

    class Refusing(Annotator):
        def at_address(
            self,
            profile: Profile,
            guest: int,
            address: int,
            *,
            era: int | None = None,
            syntax: Syntax = "att",
        ) -> Listing:
            at = profile.space(guest).symbol_at(address)
            assert at is not None
            asked.append(at.symbol.name)
            raise SymbolsError("no code", "none")

    async def scenario(app: GprofApp, _: MainScreen, pilot: Pilot[GprofError]) -> None:
        for keys in ("t down enter", "T enter", "f down a"):
            await press(pilot, keys)
            assert "no code" in screen_text(app)
            await press(pilot, "escape")
        await press(pilot, "f g a")
        assert "Only a symbol has instructions" in screen_text(app)

    with_app(scenario, stacked(), annotator=Refusing({}))
    assert asked == [
        "copy_user_enhanced_fast_string",
        "entry_SYSCALL_64_after_hwframe",
        "entry_SYSCALL_64_after_hwframe",
    ]


def test_the_source_is_opened_in_the_editor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "read_write.c"
    source.write_text("int x;\n")

    def find(row: Row, _: Profile) -> SourcePlace:
        if row.symbol != "copy_user_enhanced_fast_string":
            raise SymbolsError(f"no line of {row.symbol} is known", "Give a vmlinux.")
        return SourcePlace(source, 7)

    async def scenario(app: GprofApp, _: MainScreen, pilot: Pilot[GprofError]) -> None:
        await press(pilot, "o")
        assert "Only a symbol has a source line" in screen_text(app)
        await press(pilot, "down o")
        # A test's terminal cannot be lent to a program.
        assert "The editor cannot be started here" in screen_text(app)
        await press(pilot, "down o")
        assert "no line of clear_page_erms is known Give a vmlinux." in screen_text(app)

    monkeypatch.setenv("EDITOR", "true")
    with_app(scenario, stacked(), source=find, size=(160, 30))


def test_without_lines_there_is_nothing_to_open() -> None:
    async def scenario(app: GprofApp, _: MainScreen, pilot: Pilot[GprofError]) -> None:
        await press(pilot, "down o")
        assert "source lines of this guest are not known" in screen_text(app)

    with_app(scenario)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"EDITOR": "vim"}, lambda p: ["vim", "+12", p]),
        ({"EDITOR": "vim", "VISUAL": "emacs -nw"}, lambda p: ["emacs", "-nw", "+12", p]),
        ({"EDITOR": "x/code -w"}, lambda p: ["x/code", "-w", "--goto", f"{p}:12"]),
        ({"EDITOR": "hx"}, lambda p: ["hx", f"{p}:12"]),
    ],
)  # fmt: skip
def test_editors(
    environment: dict[str, str], expected: Callable[[str], list[str]], tmp_path: Path
) -> None:
    path = tmp_path / "a file.c"
    path.write_text("")
    assert editor_command(environment, SourcePlace(path, 12)) == expected(str(path))


def test_editors_that_cannot_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "-x"
    path.write_text("")
    with pytest.raises(UsageError, match="no editor"):
        editor_command({"EDITOR": "'"}, SourcePlace(path, 1))
    with pytest.raises(UsageError, match="not on this machine"):
        editor_command({"EDITOR": "vi"}, SourcePlace(tmp_path / "gone.c", 1))
    monkeypatch.chdir(tmp_path)
    # A file's name is no option.
    assert editor_command({"EDITOR": "vi"}, SourcePlace(Path("-x"), 0)) == [
        "vi",
        str(path),
    ]
