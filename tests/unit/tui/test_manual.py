"""The manual's page on the screen."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from tests.screen_text import UPDATE
from tui.manual import with_keys

PAGE = Path(__file__).parents[3] / "docs" / "screen.md"


def test_the_manual_has_every_key() -> None:
    page = PAGE.read_text("utf-8")
    if os.environ.get(UPDATE):
        PAGE.write_text(with_keys(page), "utf-8", newline="\n")
        return
    assert page == with_keys(page), f"{UPDATE}=1 makes the list of keys anew"


def test_the_pictures_of_the_manual_are_there() -> None:
    pictures = re.findall(r"\]\(([^)]+\.svg)\)", PAGE.read_text("utf-8"))
    assert len(pictures) >= 5
    for picture in pictures:
        assert (PAGE.parent / picture).is_file()


def test_a_page_without_a_place_for_keys_is_refused() -> None:
    with pytest.raises(ValueError, match="no place"):
        with_keys("# Page\n")
