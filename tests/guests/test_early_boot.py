"""A guest that is recorded from its first instruction on."""

from __future__ import annotations

import signal
from pathlib import Path

import numpy as np

from gprof.profile.view import tabulate
from gprof.recording.reader import read
from gprof.sampling.source import Mode
from symbols.kallsyms import Kallsyms
from tests.command_line import end, started
from tests.guests.boots import await_names, check_boot, what_the_guest_says
from tests.guests.conftest import Bootable
from tests.guests.recordings import await_more, await_note
from tests.guests.resetting import WaitingGuest
from tests.monitor import Monitor


def test_every_phase_of_a_boot_has_a_name(bootable: Bootable, tmp_path: Path) -> None:
    by_stub, by_monitor = tmp_path / "stub.gprof", tmp_path / "monitor.gprof"
    with WaitingGuest(*bootable, vcpus=1, patience=400) as guest:
        stub = ("--gdb", guest.gdb_address, "--call-graph", "none")
        monitor = ("--qmp", guest.qmp_address, "--guestvmlinux", guest.vmlinux)
        with (
            started("record", *stub, "-o", by_stub) as first,
            started("record", *monitor, "-o", by_monitor) as second,
            Monitor(guest.other_address) as other,
        ):
            for path in (by_stub, by_monitor):
                await_note(path, "gprof waits")
            other.execute("cont")
            guest.await_boot()
            await_more(by_stub, by_monitor, samples=200)
            truth, initial = what_the_guest_says(guest), Kallsyms.open(guest.kallsyms).initial
            await_names(truth, by_stub, by_monitor)
            assert end(first, signal.SIGINT)[0] == 0
            assert end(second, signal.SIGINT)[0] == 0
    for path in (by_stub, by_monitor):
        profile = read(path)
        samples = profile.samples
        check_boot(profile, truth, np.ones(len(samples), bool))
        # Code that is thrown away after booting has names too.
        assert (initial.lookup(samples.pc[samples.mode == Mode.KERNEL]) >= 0).any()
        table = tabulate(profile)
        before = sum(r.self_weight for r in table.rows if r.label in {"[firmware]", "[boot]"})
        assert before > 0
        nameless = sum(n for reason, n in table.unresolved.items() if not reason.expected)
        assert nameless <= 0.05 * table.samples
        assert any("was found" in note for note in profile.facts.notes)
