"""Whether a guest runs, by what its monitor reports.

QEMU reports every stop and every continuation with the time of its clock (qapi/run-state.json of
QEMU 7.2): also those that a debugger causes, and that is every sample through the gdbstub.
"""

from __future__ import annotations

import contextlib
import time
from collections import deque

from gprof.errors import TargetError
from gprof.guest.monitor import CommandRefused, Event, Monitor

#: How often it is asked how things are: events tell of a migration only where that is switched
#: on, and libvirt passes events on only from some moment after we have asked for them.
_ASK_EVERY_S = 1.0
#: States of `query-migrate` in which a guest is on its way (qapi/migration.json).
_MIGRATING = frozenset({
    "setup", "active", "postcopy-active", "postcopy-paused", "postcopy-recover",
    "postcopy-recover-setup", "pre-switchover", "device", "wait-unplug", "cancelling",
})  # fmt: skip
_REMEMBERED = 200
#: An event is read no later than this after it was sent.
_LATEST_REPORT_NS = 500_000_000
_ENOUGH = 10
_ENOUGH_TO_JUDGE = 100
#: How long after a shutdown it is told that the guest runs on. QEMU answers nothing while it ends;
#: but where libvirt starts the guest anew, the reset is reported a moment later.
_SHUT_DOWN_FOR_S = 1.0

STOPPED = (
    "Somebody else has stopped the guest: gprof waits, and does not resume it. "
    "`cont` in QEMU's monitor does."
)
#: Why a guest stands, by the status of `query-status`.
_WHY = {
    "paused": STOPPED,
    "prelaunch": "The guest was not started yet: gprof waits, and does not start it. "
    "`cont` in QEMU's monitor does.",
    "inmigrate": "The guest has not arrived yet: gprof waits for the end of its migration.",
    "finish-migrate": "The guest stands still for the end of its migration: gprof waits.",
    "postmigrate": "The guest was migrated and runs elsewhere; it stands still here, and gprof "
    "waits.",
    "shutdown": "The guest has shut down, and its QEMU stays: gprof waits.",
    "guest-panicked": "The guest's kernel has panicked, and QEMU has stopped it: gprof waits.",
    "io-error": "QEMU has stopped the guest because of an I/O error of a disk: gprof waits.",
    "suspended": "The guest sleeps: gprof waits until somebody wakes it.",
}
RESET = "The guest was reset."
RAN_ON = (
    "The guest has shut down and runs on: QEMU stops no guest that a debugger has stopped just "
    "then, as for a sample through the stub, and that one has let it go. `stop` in QEMU's monitor "
    "has it stand, `quit` ends it; sampling through the monitor alone has no such moments."
)
MIGRATING = "The guest is being migrated: gprof waits until that is over."


class RunState:
    """Follows a guest's stops. Not for several threads, but its monitor is.

    Attributes:
        monitor: who reports.
        running: whether the vcpus run, after all that was reported until now.
        migrating: whether the guest is being migrated, as of the last second.
        status: as `query-status` named it last.
        stopped_ns: how long the guest has stood since this began, in stops that are over and
            were not disowned.
        resets: how often it was reset.
        reset_ns: when it was reset last, by CLOCK_MONOTONIC; 0 where it was not.
        shut_down: it was told that the guest shuts down, and it does not run on.
        ran_on: how often the guest ran on after it had shut down: QEMU, which was to keep it,
            does nothing where a debugger has stopped it already (`do_vm_stop` in softmmu/cpus.c
            of QEMU 7.2).
    """

    def __init__(self, monitor: Monitor) -> None:
        self.monitor = monitor
        self.running = True
        self.migrating = False
        self.status = ""
        self.stopped_ns = 0
        self.resets = 0
        self.reset_ns = 0
        self.shut_down = False
        self.ran_on = 0
        self._shut_down_s = 0.0
        self._stood_shut_down = False
        self._stopped_at_us = -1
        self._disowned = self._panicked = False
        self._recent: deque[int] = deque(maxlen=_REMEMBERED)
        self._asking_due = 0.0
        self._switched_on = False
        self.ask()

    def watch_migration(self) -> None:
        """Have QEMU report each step of a migration, until `unwatch_migration`.

        Whoever resumes the guest must know of one at once: a small guest has left within
        milliseconds, and a continue that comes then lets it run in two places.

        Raises:
            TargetError: QEMU ended.
        """
        try:
            known = self.monitor.execute("query-migrate-capabilities")
            if {"capability": "events", "state": False} in known:
                self._set_migration_events(on=True)
                self._switched_on = True
        except (CommandRefused, TypeError):
            return  # one goes on already, or this QEMU does not migrate: asking must do

    def unwatch_migration(self) -> None:
        """Leave the reports of migration as they were."""
        if self._switched_on:
            self._switched_on = False
            with contextlib.suppress(TargetError):  # QEMU has gone, or is migrating just now
                self._set_migration_events(on=False)

    def _set_migration_events(self, *, on: bool) -> None:
        wanted = [{"capability": "events", "state": on}]
        self.monitor.execute("migrate-set-capabilities", capabilities=wanted)

    def ask(self) -> None:
        """Learn the state now, not as it was when the last event was read.

        QEMU carries out what reached it before: an own stop that is already over is none then.

        Raises:
            TargetError: QEMU ended, or answers nonsense.
        """
        asked_s = time.monotonic()
        said = self.monitor.execute("query-status")
        self._take_in(self.monitor.events())
        if isinstance(said, dict):
            self.running = said.get("running") is True
            self.status = str(said.get("status", ""))
            self._doubt_shutdown(asked_s)
        self._ask_migration()

    def _doubt_shutdown(self, asked_s: float) -> None:
        """See whether the guest runs on, by the answer to a question that was asked at a time."""
        if self.status == "shutdown":
            self._stood_shut_down = True
        elif self.shut_down and self.running and asked_s >= self._shut_down_s + _SHUT_DOWN_FOR_S:
            self.shut_down = False
            if not self._stood_shut_down:  # else somebody has brought it back, by a snapshot
                self.ran_on += 1

    def follow(self) -> None:
        """Take in what was reported since the last time; costs nothing where nothing was.

        Raises:
            TargetGone: QEMU ended.
        """
        self._take_in(self.monitor.events())
        if time.monotonic() >= self._asking_due:
            self.ask()

    def disown(self) -> None:
        """Somebody else made the stop that goes on now: it does not count."""
        self._disowned = not self.running

    def why(self) -> str:
        """Why no samples can be taken, in a sentence."""
        if self.migrating and self.status != "postmigrate":
            return MIGRATING
        if self._panicked and not self.running:
            return _WHY["guest-panicked"]  # whoever has stopped it again since
        return _WHY.get(self.status, f"The guest stands still ({self.status}): gprof waits.")

    def forget_costs(self) -> None:
        """Let `cost_ns` be of stops from now on: connecting makes longer ones than sampling."""
        self._recent.clear()

    @property
    def cost_known(self) -> bool:
        """Whether enough stops were seen for `cost_ns`."""
        return len(self._recent) >= _ENOUGH

    @property
    def cost_ns(self) -> float:
        """Mean length of the last stops; 0 before the first is over."""
        return sum(self._recent) / len(self._recent) if self._recent else 0.0

    @property
    def cost_certain(self) -> bool:
        """Whether so many stops were seen that a burst of long ones is told from the rule."""
        return len(self._recent) >= _ENOUGH_TO_JUDGE

    @property
    def latency_ns(self) -> int | None:
        """What one stop in a hundred exceeds, of the last ones; None before `cost_certain`."""
        if not self.cost_certain:
            return None
        return sorted(self._recent)[len(self._recent) * 99 // 100]

    def _ask_migration(self) -> None:
        self._asking_due = time.monotonic() + _ASK_EVERY_S
        said = self.monitor.execute("query-migrate")
        self.migrating = isinstance(said, dict) and said.get("status") in _MIGRATING

    def _take_in(self, events: list[Event]) -> None:
        for event in events:
            if event.name == "STOP":
                self.running = False
                self._stopped_at_us = event.time_us
            elif event.name == "RESUME":
                self.running = True
                self._close(event.time_us)
            elif event.name == "SUSPEND":
                self.running = False  # without a STOP; when it wakes, its status tells
            elif event.name == "RESET":
                # QEMU's clock is the time of day, and may be another host's.
                ago = time.time_ns() - 1000 * event.time_us
                self.reset_ns = time.monotonic_ns() - min(max(ago, 0), _LATEST_REPORT_NS)
                self.resets += 1
                self._panicked = self.shut_down = False
            elif event.name == "GUEST_PANICKED":
                self._panicked = True
            elif event.name == "SHUTDOWN":
                self.shut_down = True
                self._stood_shut_down = False
                self._shut_down_s = time.monotonic()
            elif event.name == "MIGRATION":
                self.migrating = event.data.get("status") in _MIGRATING

    def _close(self, now_us: int) -> None:
        begun, self._stopped_at_us = self._stopped_at_us, -1
        disowned, self._disowned = self._disowned, False
        # The clock of QEMU's host may have been set in between.
        if begun >= 0 and now_us >= begun and not disowned:
            self.stopped_ns += (now_us - begun) * 1000
            self._recent.append((now_us - begun) * 1000)
