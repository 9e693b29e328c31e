"""A firmware that was recorded without any file, named later by the files of its build."""

from __future__ import annotations

from pathlib import Path

from gprof.given_symbols import GivenSymbols
from gprof.profile.profile import Guest, Profile
from gprof.profile.stacks import StackTable
from gprof.profile.view import tabulate
from gprof.recorded_names import renamed
from gprof.sampling.source import Mode, SampleBatch, SourceFacts
from symbols.space import AddressSpace, ImageKind, LoadedImage

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures" / "edk2"
FACTS = SourceFacts("test", "nothing")


def test_a_driver_of_which_only_the_range_was_recorded() -> None:
    driver = LoadedImage("Metronome", ImageKind.FIRMWARE, 0x1EFDC000, 0x1EFE0000)
    boot = LoadedImage("grubx64", ImageKind.FIRMWARE, 0x1E000000, 0x1E010000)
    profile = Profile(
        SampleBatch.of([0x1EFDD0E1, 0x1E000010], mode=Mode.KERNEL),
        FACTS,
        {0: Guest(0, "test", "x86_64", (0,))},
        {0: AddressSpace([driver, boot], starting=True)},
        StackTable(),
    )
    before = {(row.label, row.module) for row in tabulate(profile).rows}
    assert before == {("[Metronome]+0x1000", "Metronome"), ("[grubx64]+0x0", "grubx64")}
    given = GivenSymbols.of(named=[str(FIXTURES / "debug.log"), str(FIXTURES)])
    found, _ = renamed(profile, given)
    after = {(row.label, row.module) for row in tabulate(found).rows}
    assert after == {("InternalAcpiDelay", "Metronome"), ("[grubx64]+0x0", "grubx64")}
