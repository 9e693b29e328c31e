"""What worker threads tell the screens. Frozen: nothing that is shown changes afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.message import Message

from gprof.errors import GprofError
from tui.editor import SourcePlace
from tui.picture import Picture

if TYPE_CHECKING:  # it brings a disassembler
    from gprof.profile.listing import Listing


class PictureTaken(Message):
    """A worker looked at the session."""

    def __init__(self, picture: Picture) -> None:
        super().__init__()
        self.picture = picture

    def can_replace(self, message: Message) -> bool:
        """Only the newest picture matters: a slow terminal must not queue them."""
        return isinstance(message, PictureTaken)


class ListingMade(Message):
    """A worker disassembled a symbol."""

    def __init__(self, listing: Listing) -> None:
        super().__init__()
        self.listing = listing


class ListingFailed(Message):
    """A symbol could not be disassembled."""

    def __init__(self, error: GprofError) -> None:
        super().__init__()
        self.error = error


class FileWritten(Message):
    """A worker wrote a file."""

    def __init__(self, sentence: str) -> None:
        super().__init__()
        self.sentence = sentence


class ActionFailed(Message):
    """What a worker was asked for could not be done."""

    def __init__(self, error: GprofError) -> None:
        super().__init__()
        self.error = error


class SourceFound(Message):
    """A worker found the source line of a symbol."""

    def __init__(self, place: SourcePlace) -> None:
        super().__init__()
        self.place = place


class LinesFound(Message):
    """More lines of source are known."""

    def can_replace(self, message: Message) -> bool:
        """One look is enough for all that was found until then."""
        return isinstance(message, LinesFound)
