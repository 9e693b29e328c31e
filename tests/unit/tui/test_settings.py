"""What the screen remembers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual.pilot import Pilot

from gprof.errors import GprofError
from gprof.profile.view import Group
from tests.screens import press, with_app
from tui.app import GprofApp
from tui.choice import Order
from tui.screens.main import MainScreen
from tui.settings import Settings, _meant, read_settings, settings_path, write_settings
from tui.view import View


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "screen.json"
    settings = Settings(
        Group.MODULE, {View.SYMBOLS: Order("name", reverse=True)}, 5.0, 60.0, False, "nord"
    )
    write_settings(path, settings)
    assert read_settings(path) == settings
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{", "null", '{"group": ["x"]}', '{"orders": {"top": 3, "x": ["a", true]}}',
     '{"refresh_s": NaN}', '{"refresh_s": true, "length_s": 1e99}', "[" * 5000, "\udcff"],
)  # fmt: skip
def test_nonsense_is_the_usual(text: str, tmp_path: Path) -> None:
    path = tmp_path / "screen.json"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    assert read_settings(path) == Settings()


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            name: JSON | st.just({"top": ["self", True]})
            for name in ("group", "orders", "refresh_s", "length_s", "icicle", "theme")
        },
    )
)
def test_any_content_gives_settings(content: dict[str, Any]) -> None:
    settings = _meant(content)
    assert 0.1 <= settings.refresh_s <= 60
    assert settings.choice().group is settings.group


def test_where_they_are_kept() -> None:
    assert settings_path({}) is None
    assert settings_path({"HOME": "/h"}) == Path("/h/.config/gprof/screen.json")
    assert settings_path({"HOME": "/h", "XDG_CONFIG_HOME": "/c"}) == Path("/c/gprof/screen.json")
    # The specification wants relative paths to be ignored.
    assert settings_path({"HOME": "/h", "XDG_CONFIG_HOME": "c"}) == Path(
        "/h/.config/gprof/screen.json"
    )


def test_the_screen_remembers_from_one_run_to_the_next(tmp_path: Path) -> None:
    path = tmp_path / "screen.json"

    async def first(_: GprofApp, main: MainScreen, pilot: Pilot[GprofError]) -> None:
        await press(pilot, "R m minus right_parenthesis f v")
        assert not main.flame.icicle

    async def second(app: GprofApp, main: MainScreen, pilot: Pilot[GprofError]) -> None:
        assert main.choice.group is Group.MODULE
        assert main.choice.order == Order("", reverse=True)
        assert main.refresh_s == 2
        assert main.choice.span.length_s == 30
        assert not main.flame.icicle
        app.theme = "nord"
        await pilot.pause()

    async def third(app: GprofApp, _: MainScreen, __: Pilot[GprofError]) -> None:
        assert app.theme == "nord"

    with_app(first, settings=path, refresh_s=None)
    assert json.loads(path.read_text())["group"] == "module"
    with_app(second, settings=path, refresh_s=None)
    with_app(third, settings=path, refresh_s=None)


def test_what_cannot_be_remembered_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    async def scenario(app: GprofApp, _: MainScreen, pilot: Pilot[GprofError]) -> None:
        await press(pilot, "v f v")
        from tests.screen_text import screen_text

        assert "cannot be remembered" in screen_text(app)

    with_app(scenario, settings=tmp_path / "file" / "screen.json", refresh_s=None)
