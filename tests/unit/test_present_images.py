"""Images that use the same memory one after the other."""

from __future__ import annotations

import pytest

from gprof.present_images import PresentImages
from gprof.sampling.source import Mode, SampleBatch
from symbols.extra_images import ExtraImage
from symbols.memory import BytesMemory, Memory
from symbols.space import AddressSpace, ImageKind, LoadedImage

START, SIZE = 0x10_0000, 0x1000
FIRMWARE, LOADER = bytes([1]) * SIZE, bytes([2]) * SIZE


def image(name: str, code: bytes) -> ExtraImage:
    loaded = LoadedImage(name, ImageKind.FIRMWARE, START, START + SIZE)
    return ExtraImage(loaded, BytesMemory([(START, code)]))


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gprof.present_images._AGAIN_NS", 0)


class Guest:
    """Its memory, and what is believed of it."""

    def __init__(self) -> None:
        images = (image("firmware", FIRMWARE), image("loader", LOADER))
        self.present = PresentImages(images)
        self.space = AddressSpace([one.loaded for one in images])
        self.reads = 0

    def look(
        self, holds: bytes, time: int, pc: int = START + 9, mode: Mode = Mode.KERNEL
    ) -> object:
        def memory() -> Memory:
            self.reads += 1
            return BytesMemory([(START, holds)] if holds else [])

        return self.present.look(SampleBatch.of([pc], time=time, mode=mode), memory)

    @property
    def there(self) -> str:
        at = self.present.in_space(self.space).image_at(START)
        return at.name if at is not None else ""


def test_one_gives_way_to_the_other() -> None:
    guest = Guest()
    assert guest.there == "loader"  # nothing is known: the last one wins
    assert guest.look(FIRMWARE, 10) == 0  # so it was from the beginning
    assert guest.there == "firmware"
    assert guest.look(FIRMWARE, 20) is None
    assert guest.look(LOADER, 30) == 30
    assert guest.there == "loader"
    assert guest.look(bytes(SIZE), 40) == 40
    assert guest.there == ""
    assert guest.look(FIRMWARE, 50) == 50
    assert guest.there == "firmware"


def test_memory_that_cannot_be_read_changes_nothing() -> None:
    guest = Guest()
    assert guest.look(b"", 10) is None
    assert guest.there == "loader"


def test_nothing_is_read_for_samples_elsewhere() -> None:
    guest = Guest()
    guest.look(FIRMWARE, 10, pc=START + SIZE)
    guest.look(FIRMWARE, 10, mode=Mode.USER)
    assert guest.reads == 0


def test_a_space_without_them_stays_as_it_is() -> None:
    guest = Guest()
    guest.look(bytes(SIZE), 10)
    other = AddressSpace([LoadedImage("m", ImageKind.MODULE, START, START + SIZE)], starting=True)
    assert guest.present.in_space(other) is other
