"""The debug log of an EDK2 firmware, a real one among others, whole and while it grows."""

from __future__ import annotations

import re
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from symbols.build_folder import BuildFolder
from symbols.edk2_log import FirmwareModule, LogReader, fixed_modules
from symbols.extra_images import open_extras
from symbols.firmware_log import FirmwareLog
from symbols.space import AddressSpace

FIXTURES = Path(__file__).resolve().parents[3] / "fixtures" / "edk2"
LOG = (FIXTURES / "debug.log").read_bytes()


def modules(text: bytes) -> tuple[FirmwareModule, ...]:
    reader = LogReader()
    reader.feed(text)
    return reader.modules


def test_a_real_log() -> None:
    found = modules(LOG)
    # Some found nothing to do, and others came to where they had been.
    assert {module.start for module in found} == {
        int(address, 16) for address in re.findall(rb" at 0x(\w+) EntryPoint=", LOG)
    }
    by_name = {module.name: module for module in found}
    assert by_name["Metronome"] == FirmwareModule("Metronome", 0x1EFDC000, 0x1EFDD280)
    # It runs where it was loaded by PEI, whose words name it.
    assert by_name["DxeCore"].entry
    # Some run in the temporary memory, and once more where they were moved to.
    assert [module.name for module in found].count("PcdPeim") == 2
    assert "" not in by_name


def test_a_real_module_by_its_real_file() -> None:
    """`nm` says that its InternalAcpiDelay is at 0x10e1."""
    images = open_extras([str(FIXTURES / "debug.log"), str(FIXTURES)]).images
    space = AddressSpace([image.loaded for image in images])
    for address, name in ((0x1EFDD280, "_ModuleEntryPoint"), (0x1EFDD0E1, "InternalAcpiDelay")):
        at = space.symbol_at(address)
        assert at is not None
        assert (at.symbol.name, at.symbol.start) == (name, address)
        assert at.image.name == "Metronome"
    (metronome,) = [image for image in images if image.loaded.table is not None]
    assert metronome.code is not None
    assert metronome.loaded.slide == 0x1EFDC000
    assert metronome.loaded.start == 0x1EFDC240
    # Of others only the range is known, up to the next one.
    bare = space.image_at(0x1F6E4000)
    assert bare is not None
    assert (bare.name, bare.table) == ("FvbServicesRuntimeDxe", None)


def test_a_log_that_grows(tmp_path: Path) -> None:
    path = tmp_path / "debug.log"
    path.touch()
    log = FirmwareLog(path, [BuildFolder(FIXTURES)])
    assert not log.grown()
    half = LOG.index(b"Metronome") - 3
    with path.open("ab") as file:
        file.write(LOG[:half])
        file.flush()
        assert log.grown()
        assert not log.grown()
        before = log.images
        assert before
        assert "Metronome" not in {image.loaded.name for image in before}
        file.write(LOG[half : half + 5])  # not the whole line yet
        file.flush()
        assert not log.grown()
        file.write(LOG[half + 5 :])
        file.flush()
        assert log.grown()
    names = [image.loaded.name for image in log.images]
    assert "Metronome" in names
    assert len(names) == len(modules(LOG))
    # What was there before is the same, but for the ends of those whose next one was not known.
    assert {image.loaded.start for image in before} <= {image.loaded.start for image in log.images}
    with path.open("ab") as file:
        file.write(b"SecCoreStartupWithStack(0xFFFCC000, 0x820000)\r\n")
    assert log.grown()  # the firmware has started again
    assert log.images == ()
    path.write_bytes(LOG[:half])
    assert log.grown()  # and QEMU, with a new log
    assert len(log.images) == len(before)
    path.unlink()
    assert not log.grown()


def test_an_empty_log_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "debug.log"
    path.touch()
    extras = open_extras([str(path)])
    assert extras
    assert extras.images == ()
    path.write_bytes(LOG)
    assert extras.logs[0].grown()
    assert extras.images


def test_the_lines_of_aarch64_are_one_module() -> None:
    """ArmPkg's DebugPeCoffExtraActionLib tells of the file, the core of the rest."""
    text = (
        b"UEFI firmware (version 2022.11 built at 00:00:00 on Jan  1 2026)\r\n"
        b"add-symbol-file /b/DEBUG_GCC5/AARCH64/Core/DEBUG/DxeCore.dll 0x5F6C1000\r\n"
        b"Loading DXE CORE at 0x0005F6C0000 EntryPoint=0x0005F6C1000\r\n"
        b"add-symbol-file /b/DEBUG_GCC5/AARCH64/Shell/DEBUG/Shell.dll 0x5C000240\r\n"
        b"Loading driver at 0x0005C000000 EntryPoint=0x0005C000300 Shell.efi\r\n"
        b"add-symbol-file /b/DEBUG_GCC5/AARCH64/Other/DEBUG/Other.dll 0x5D000240\r\n"
    )
    path = "/b/DEBUG_GCC5/AARCH64/Shell/DEBUG/Shell.dll"
    core, shell, other = modules(text)
    assert (core.name, core.address, core.entry) == ("DxeCore", 0x5F6C0000, 0x5F6C1000)
    assert core.path.endswith("DxeCore.dll")
    assert shell == FirmwareModule("Shell", 0x5C000000, 0x5C000300, 0x5C000240, path)
    assert (other.name, other.start, other.entry) == ("Other", 0x5D000240, 0)
    gone = modules(text + b"remove-symbol-file /b/x/Shell.dll 0x5c000240\r\n")
    assert [module.name for module in gone] == ["DxeCore", "Other"]


def test_of_two_at_one_place_the_last_counts() -> None:
    text = (
        b"Loading PEIM at 0x1000 EntryPoint=0x1100 A.efi\n"
        b"Loading driver at 0x1000 EntryPoint=0x1200 B.efi\n"
    )
    assert [module.name for module in modules(text)] == ["B"]


LINES = st.sampled_from([
    b"Loading driver at 0x1000 EntryPoint=0x1100 A.efi\r\n", b"SecCoreStartupWithStack(\n",
    b"add-symbol-file /x/A.dll 0x1040\n", b"Loading DXE CORE at 0x0 EntryPoint=0x0\n",
    b"remove-symbol-file /x/A.dll 0x1040\n", b"Loading PEIM at 0xFFFFFFFFFFFFFFFF EntryPoint=0x1",
    b"B (Fixed Flash Address, BaseAddress=0x00fffcc094, EntryPoint=0x00fffd3ab4, Type=PE)\n",
])  # fmt: skip


@given(st.lists(LINES | st.binary(max_size=40), max_size=12), st.data())
def test_it_does_not_matter_how_a_log_grows(parts: list[bytes], data: st.DataObject) -> None:
    text = b"".join(parts) + b"\n"
    whole, piecewise = LogReader(), LogReader()
    whole.feed(text)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=5)))
    for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True):
        piecewise.feed(text[start:end])
    assert whole.modules == piecewise.modules
    assert all(module.name.isprintable() for module in whole.modules)
    assert all(module.name for module in fixed_modules(text))
