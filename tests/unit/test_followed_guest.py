"""A guest whose kernel appears, moves, changes and loads modules while it is sampled."""

from __future__ import annotations

import functools
import time
from dataclasses import replace
from pathlib import Path

import pytest

from gprof import followed_guest as module
from gprof import kernel_search
from gprof.attach import Attached
from gprof.guest.architectures import BY_NAME
from gprof.kernel_signs import KernelSigns, Seen
from gprof.sampling.source import Mode
from gprof.sources import Sources
from symbols.kallsyms import Kallsyms
from symbols.memory import BytesMemory, Memory, MemoryFault
from symbols.slide import Method, Slide, Verified
from tests.unit.guesthouse import (
    BIOS,
    FIRST,
    LZO,
    SECOND,
    UNPACKER,
    ZRAM,
    Guesthouse,
    function,
    has_eras,
    kernel,
    running,
)
from tests.unit.symbols.elf_files import ALLOC, EXECUTE, ElfFile, Sec, Sym
from tests.unit.symbols.kernel_memory import AREA, HEAD


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing waits for its time; only what samples give reason for is done."""
    for name in ("_FIRST_NS", "_LAST_NS", "_PAUSE"):
        monkeypatch.setattr(kernel_search, name, 0)
    monkeypatch.setattr(module, "_LOOK_AGAIN_NS", 0)


def test_a_kernel_is_found_as_soon_as_it_runs_and_names_what_came_before() -> None:
    guest = Guesthouse()
    with guest.followed():
        guest.give(BIOS, mode=Mode.FIRMWARE)
        guest.give(UNPACKER)
        guest.give(function(FIRST, 7))
        assert guest.space.starting
        guest.boots(FIRST)
        guest.await_(lambda: not guest.space.starting, function(FIRST, 8))
        names = guest.names()
    assert names.pop("function_number_8") >= 1
    assert names == {"[firmware]": 1, "[boot]": 1, "function_number_7": 1}
    assert len(guest.space.eras) == 1
    assert guest.following.attached.guest.kernel == "6.6.1"
    assert guest.source.notes[0].startswith("The guest has not come to its kernel yet")
    assert guest.source.notes[1].startswith("The kernel of Linux 6.6.1 was found")


def test_nothing_is_searched_before_a_kernel_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    guest = Guesthouse()
    modes = []
    again = Attached.again

    def counted(attached: Attached, given: Sources | None = None) -> Attached:
        modes.append(guest.machine.mode)
        return again(attached, given)

    monkeypatch.setattr(Attached, "again", counted)
    with guest.followed():
        for _ in range(20):
            guest.give(BIOS, mode=Mode.FIRMWARE)
            guest.give(UNPACKER)
        guest.boots(FIRST)
        guest.await_(lambda: not guest.space.starting, function(FIRST, 1))
    assert set(modes) == {Mode.KERNEL}


@pytest.mark.parametrize("monitored", [True, False])
def test_a_reset_begins_an_era_of_its_own(monitored: bool) -> None:
    guest = running(Guesthouse(monitored=monitored), FIRST)
    with guest.followed():
        guest.give(*[function(FIRST, 7)] * 5)
        guest.machine.now = BytesMemory([(HEAD, b"\xff" * 4096), (FIRST, b"\xff" * (8 << 20))])
        if monitored:
            guest.machine.run_state.reset_ns = time.monotonic_ns()
        guest.await_(lambda: guest.space.starting, BIOS, mode=Mode.FIRMWARE)
        guest.give(function(SECOND, 7))
        guest.boots(SECOND, LZO)
        guest.await_(lambda: not guest.space.starting, function(SECOND, 9))
        # An address of the new boot that was another function in the old one.
        guest.give(function(FIRST, 1000), LZO.start + 0x18)
        names = guest.names()
    assert len(guest.space.eras) == 2
    assert names["function_number_7"] == 6
    assert names["function_number_9"] >= 1
    assert names["lzo_pack"] == 1
    assert "function_number_1000" not in names
    assert "zram_open" not in names


def test_the_firmware_of_a_running_guest_is_no_reason_to_lose_its_kernel() -> None:
    guest = running(Guesthouse(), FIRST)
    with guest.followed():
        for _ in range(50):
            guest.give(BIOS, function(FIRST, 7), mode=Mode.FIRMWARE)
            time.sleep(0.002)
    assert len(guest.space.eras) == 1
    assert not guest.space.starting


def test_firmware_that_runs_beside_the_kernel_is_no_reason_to_look(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    guest = running(Guesthouse(), FIRST)
    guest.attached = replace(
        guest.attached, guest=replace(guest.attached.guest, architecture="riscv64")
    )
    looked: list[KernelSigns] = []
    look = KernelSigns.look

    def counted(signs: KernelSigns, memory: Memory) -> Seen:
        looked.append(signs)
        return look(signs, memory)

    monkeypatch.setattr(KernelSigns, "look", counted)
    with guest.followed():
        for _ in range(20):
            guest.give(BIOS, mode=Mode.FIRMWARE)
            time.sleep(0.002)
        # This is one, and comes behind all of the firmware.
        guest.await_(lambda: bool(looked), function(FIRST, 7) - (1 << 30))
    assert len(looked) == 1


def test_a_kernel_that_is_out_of_sight_is_not_lost() -> None:
    guest = running(Guesthouse(), FIRST)
    guest.machine.now = BytesMemory([])
    with guest.followed():
        for _ in range(50):
            guest.give(function(FIRST, 7))
            time.sleep(0.002)
    assert len(guest.space.eras) == 1


def test_a_program_without_an_operating_system_starts_no_other_kernel(tmp_path: Path) -> None:
    path = tmp_path / "program"
    text = Sec(".text", bytes(0x1000), address=0x10_0000, flags=ALLOC | EXECUTE)
    path.write_bytes(ElfFile([text], [Sym("main", 0x10_0000, 0x100)]).build())
    guest = Guesthouse(monitored=True, given=Sources.open(path, None, None))
    sources = guest.attached.sources
    slide = Slide(0, Method.LINK_ADDRESS, (Method.LINK_ADDRESS,), Verified.NOTHING)
    space = sources.space(slide, BY_NAME["x86_64"])
    guest.attached = replace(guest.attached, slide=slide, space=space)
    with guest.followed():
        # A reset is seen when all samples from before it have been looked at.
        for eras in range(2, 10):
            guest.give(BIOS, mode=Mode.FIRMWARE)
            guest.machine.run_state.reset_ns = time.monotonic_ns()
            guest.await_(functools.partial(has_eras, guest, eras), BIOS, mode=Mode.FIRMWARE)
        guest.give(0x10_0004)
        names = guest.names()
    assert names["main"] == 1
    assert guest.source.notes == []


def test_modules_come_and_go() -> None:
    guest = running(Guesthouse(), FIRST, ZRAM)
    with guest.followed():
        guest.give(ZRAM.start + 0x18)
        guest.machine.now = kernel(FIRST, (LZO, ZRAM))
        guest.await_(lambda: len(guest.space.eras) == 2, LZO.start + 0x18)
        both = guest.names()
        guest.machine.now = kernel(FIRST, (LZO,))
        # Only a new address is a reason to look.
        unknown = iter(range(AREA + 0x100_0000, AREA + 0x200_0000, 0x1000))

        def new_address() -> bool:
            guest.give(next(unknown))
            return len(guest.space.eras) == 3

        guest.await_(new_address)
        guest.give(ZRAM.start + 0x18)
        names = guest.names()
    assert both["zram_open"] == 1
    assert both["lzo_pack"] >= 1
    assert names["zram_open"] == 1
    assert names["[generated]"] >= 2  # beside modules there is nothing else
    eras = guest.space.eras
    assert [[i.name for i in era.loaded() if i.name != "[kernel]"] for era in eras] == [
        ["zram"], ["zram", "lzo"], ["lzo"],
    ]  # fmt: skip
    # What stayed was not read again.
    assert eras[1].image_at(LZO.start) is eras[2].image_at(LZO.start)


def test_modules_that_nothing_told_of_are_found_once_there_are_some(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("_LOOK_STOPPING_NS", "_LOOK_FREE_NS", "_MODULES_PAUSE"):
        monkeypatch.setattr(module, name, 0)
    start = (HEAD >> 21 << 21) - (10 << 20)  # its data is in reach
    guest = Guesthouse()
    guest.machine.now = kernel(start, (), data=False)
    guest.machine.pc, guest.machine.mode = start + 0x1000, Mode.KERNEL
    guest.attached = guest.attached.again()
    assert guest.attached.guest.kernel == "6.6.1"
    assert guest.attached.seeks_modules
    with guest.followed():
        guest.give(ZRAM.start + 0x18)
        guest.machine.now = kernel(start, (ZRAM,), data=False)
        guest.await_(lambda: "zram_open" in guest.names(), function(start, 7))
        eras = len(guest.space.eras)
        # From then on its head tells.
        guest.machine.now = kernel(start, (), data=False)
        guest.await_(lambda: len(guest.space.eras) == 2, function(start, 7))
    assert guest.names()["zram_open"] == 1
    assert eras == 1


def test_modules_of_a_kernel_without_types_are_looked_for_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("_LOOK_STOPPING_NS", "_LOOK_FREE_NS", "_MODULES_PAUSE"):
        monkeypatch.setattr(module, name, 0)
    guest = Guesthouse()
    guest.machine.now = kernel(FIRST, described=False)
    guest.machine.pc, guest.machine.mode = FIRST + 0x1000, Mode.KERNEL
    guest.attached = guest.attached.again()
    assert guest.attached.introspected.problems
    assert guest.attached.seeks_modules
    with guest.followed():
        guest.machine.now = kernel(FIRST)
        guest.await_(lambda: "zram_open" in guest.names(), ZRAM.start + 0x18)
    assert not guest.following.attached.seeks_modules


def test_a_module_that_is_being_loaded_gets_its_names_when_it_has_them() -> None:
    guest = running(Guesthouse(), FIRST, ZRAM)
    with guest.followed():
        guest.machine.now = kernel(FIRST, (replace(LZO, state=1, symbols=()), ZRAM))
        guest.await_(lambda: "[lzo]+0x0" in guest.names(), LZO.start + 0x18)
        guest.machine.now = kernel(FIRST, (LZO, ZRAM))
        # The list itself is as it was, and no address is a reason to look.
        guest.await_(lambda: "lzo_pack" in guest.names(), LZO.start + 0x18)
        names = guest.names()
    assert "[lzo]+0x0" not in names


def test_files_of_another_kernel_give_way_to_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_search, "_MISMATCH_NS", 0)
    text = "".join(f"{FIRST + n * 64:x} t other_{n}\n" for n in range(1, 100))
    text += f"{FIRST + (9 << 20):x} D linux_banner\n"
    given = Sources(kallsyms=Kallsyms.parse(text.encode()))
    guest = Guesthouse(given=given)
    with guest.followed():
        guest.boots(SECOND)
        guest.await_(lambda: not guest.space.starting, function(SECOND, 8))
        names = guest.names()
    assert set(names) == {"function_number_8"}
    assert "read from its memory" in guest.source.notes[-1]


def test_a_guest_that_goes_away_is_left_to_who_samples_it() -> None:
    guest = running(Guesthouse(), FIRST)
    guest.machine.gone = True
    with guest.followed():
        for _ in range(20):
            guest.give(BIOS, mode=Mode.FIRMWARE)
            time.sleep(0.002)
        guest.machine.gone = False
        guest.machine.now = kernel(FIRST, (LZO, ZRAM))
        guest.await_(lambda: len(guest.space.eras) == 2, LZO.start + 0x18)
    assert guest.names()["lzo_pack"] >= 1


def test_code_is_read_where_the_kernel_is_now() -> None:
    guest = running(Guesthouse(), FIRST)
    with guest.followed():
        code = guest.following.code
        assert code[0].read(FIRST, 16) == bytes(16)
        guest.machine.now = BytesMemory([(FIRST, b"\x90" * 16)])
        assert code[0].read(FIRST, 16) == b"\x90" * 16
        with pytest.raises(MemoryFault):
            code[0].read(SECOND, 16)
    assert list(code) == [0]
    with pytest.raises(KeyError):
        code[1]
