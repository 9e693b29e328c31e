"""Images that use the same memory one after the other."""

from __future__ import annotations

import lzma
import random
import time
from dataclasses import replace
from pathlib import Path

import pytest

from gprof.present_images import PresentImages
from gprof.sampling.source import Mode, SampleBatch
from symbols.extra_image import ExtraImage
from symbols.extra_images import ExtraImages, open_extras
from symbols.firmware_log import FirmwareLog
from symbols.memory import BytesMemory, Memory
from symbols.space import AddressSpace, ImageKind, LoadedImage

START, SIZE = 0x10_0000, 0x1000
FIXTURES = Path(__file__).resolve().parents[2] / "fixtures" / "edk2"
#: Where a driver of that firmware waits.
METRONOME = 0x1EFD_D0E1
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
        self.present = PresentImages(ExtraImages(fixed=images))
        self.space = AddressSpace([one.loaded for one in images])
        self.reads = 0

    def look(
        self, holds: bytes, time: int, pc: int = START + 9, mode: Mode = Mode.KERNEL
    ) -> object:
        def memory() -> Memory:
            self.reads += 1
            return BytesMemory([(START, holds)] if holds else [])

        batch = SampleBatch.of([pc], time=time, mode=mode)
        return self.present.look(batch, memory, self.space)

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
    guest.space.load(LoadedImage("m", ImageKind.MODULE, START + SIZE, START + 2 * SIZE))
    guest.look(FIRMWARE, 10, pc=START + SIZE)
    guest.look(FIRMWARE, 10, mode=Mode.USER)
    guest.look(FIRMWARE, 10, mode=Mode.USER, pc=START + 2 * SIZE)
    assert guest.reads == 0


def test_a_space_without_them_stays_as_it_is() -> None:
    guest = Guest()
    guest.look(bytes(SIZE), 10)
    other = AddressSpace([LoadedImage("m", ImageKind.MODULE, START, START + SIZE)], starting=True)
    assert guest.present.in_space(other) is other


class Log(FirmwareLog):
    """A log that says what a test has it say."""

    def __init__(self) -> None:
        super().__init__(Path("debug.log"))
        self.more: tuple[ExtraImage, ...] = ()

    def grown(self) -> bool:
        before, self.images = self.images, self.more
        return before != self.images


def test_what_a_firmware_says_it_has_loaded() -> None:
    log = Log()
    present, space = PresentImages(ExtraImages(logs=(log,))), AddressSpace()

    def look() -> int | None:
        return present.look(SampleBatch.empty(), lambda: BytesMemory([]), space)

    assert look() is None
    first, second = image("pei", FIRMWARE), image("dxe", LOADER)
    log.more = (first,)
    assert look() == 0  # nothing was there before
    assert present.in_space(space).image_at(START) is first.loaded
    log.more = (first, second)
    before = time.monotonic_ns()
    since = look()
    assert since is not None  # what was there is not any more
    assert 0 < since <= before
    assert present.in_space(space).image_at(START) is second.loaded
    assert look() is None
    # Of the last one it was not known where it ends.
    shorter = replace(second, loaded=replace(second.loaded, end=START + SIZE - 16))
    log.more = (first, shorter)
    assert look() == 0
    assert present.in_space(space).image_at(START) is shorter.loaded
    log.more = ()  # it has started anew
    assert look()
    assert not present.in_space(present.in_space(space)).images


def test_an_image_that_moved_itself_is_found_where_it_runs() -> None:
    code, high = random.Random(1).randbytes(SIZE), 0x700_0000
    loaded = LoadedImage("u-boot", ImageKind.FIRMWARE, START, START + SIZE)
    present = PresentImages(ExtraImages(fixed=(ExtraImage(loaded, BytesMemory([(START, code)])),)))
    space, memory = AddressSpace([loaded]), BytesMemory([(high, code), (START, code)])
    nowhere = SampleBatch.of([high + SIZE + 4], time=1, mode=Mode.FIRMWARE)
    assert present.look(nowhere, lambda: memory, space) is None
    here = SampleBatch.of([high + 0x200], time=2, mode=Mode.FIRMWARE)
    assert present.look(here, lambda: memory, space) == 0
    found = present.in_space(space)
    at = found.image_at(high + 0x200)
    assert at is not None
    assert (at.name, at.start, at.end) == ("u-boot", high, high + SIZE)
    assert found.image_at(START) is loaded
    # After a reset it moves to the same place again, or memory has something else there.
    present.forget()
    assert present.in_space(space).image_at(high + 0x200) is at
    memory = BytesMemory([(high, bytes(SIZE))])
    assert present.look(here, lambda: memory, space) == 0
    assert present.in_space(space).image_at(high + 0x200) is None


def test_a_uefi_firmware_is_asked_where_nobody_knows_what_runs() -> None:
    text = lzma.decompress((FIXTURES / "memory.txt.xz").read_bytes()).decode()
    lines = [line.split() for line in text.splitlines()]
    memory = BytesMemory([(int(address, 16), bytes.fromhex(data)) for address, data in lines])
    space, asked = AddressSpace(starting=True), 0

    def reading() -> Memory:
        nonlocal asked
        asked += 1
        return memory

    paged = SampleBatch.of([METRONOME], time=2, mode=Mode.KERNEL)
    # Where a read may meet a device, the list is not looked for.
    assert PresentImages(open_extras([str(FIXTURES)])).look(paged, reading, space) is None
    present = PresentImages(open_extras([str(FIXTURES)]), seeks_lists=True)
    # SeaBIOS has no paging, and no list.
    bare = SampleBatch.of([METRONOME], time=1, mode=Mode.FIRMWARE)
    assert present.look(bare, reading, space) is None
    assert asked == 0
    assert present.look(paged, reading, space) == 0
    found = present.in_space(space)
    at = found.symbol_at(METRONOME)
    assert at is not None
    assert (at.symbol.name, at.image.name) == ("InternalAcpiDelay", "Metronome")
    # Its name is known now.
    assert present.look(SampleBatch.empty(), reading, found) is None
    assert asked == 1
    # After a reset it has loaded nothing yet.
    present.forget()
    assert not present.in_space(found).images
