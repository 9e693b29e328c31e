"""What is made of a monitor's events."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gprof.guest import run_state
from gprof.guest.address import Address
from gprof.guest.qmp import Qmp
from gprof.guest.run_state import MIGRATING, STOPPED, RunState
from tests.qmp_model import QmpModel
from tests.waiting import wait_until


@pytest.fixture
def model(tmp_path: Path) -> Iterator[QmpModel]:
    model = QmpModel(tmp_path / "qmp")
    yield model
    model.close()


@pytest.fixture
def state(model: QmpModel) -> Iterator[RunState]:
    client = Qmp(Address.parse(str(model.path)))
    yield RunState(client)
    client.close()


def follow_until(state: RunState, condition: Callable[[], object]) -> None:
    """Take in what is reported until something is so."""

    def so() -> object:
        state.follow()
        return condition()

    wait_until(so, "events", seen=lambda: vars(state), pause=0.001)


def test_stops_are_added_up_by_qemus_own_clock(model: QmpModel, state: RunState) -> None:
    for n in range(20):
        model.stop(time_us=n * 10_000)
        model.resume(time_us=n * 10_000 + 80 + n)
        state.ask()
    assert state.running
    assert state.stopped_ns == sum(range(80, 100)) * 1000
    assert (state.cost_known, state.cost_ns) == (True, 89_500)
    state.forget_costs()
    assert (state.cost_known, state.cost_ns) == (False, 0)


def test_a_stop_of_somebody_else_does_not_count(model: QmpModel, state: RunState) -> None:
    model.stop(time_us=1_000)
    state.ask()
    assert (state.running, state.why()) == (False, STOPPED)
    state.disown()
    model.resume(time_us=9_000_000)
    state.ask()
    assert (state.running, state.status) == (True, "running")
    assert state.stopped_ns == 0
    model.stop(time_us=10_000_000)
    model.resume(time_us=10_000_100)
    state.ask()
    assert state.stopped_ns == 100_000


def test_a_clock_that_was_set_back_adds_nothing(model: QmpModel, state: RunState) -> None:
    model.stop(time_us=5_000_000)
    model.resume(time_us=1_000_000)
    model.resume(time_us=2_000_000)
    state.ask()
    assert state.stopped_ns == 0


def test_resets_and_shutdowns_are_seen(model: QmpModel, state: RunState) -> None:
    model.report("RESET", guest=True)
    model.report("RESET", guest=False)
    model.report("SHUTDOWN", guest=True)
    state.ask()
    assert state.resets == 2
    assert state.shut_down


@pytest.fixture
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """No time has to pass until a guest that has shut down and runs is one that runs on."""
    monkeypatch.setattr(run_state, "_SHUT_DOWN_FOR_S", 0.0)


def shut_down(model: QmpModel, state: RunState) -> None:
    model.report("SHUTDOWN", guest=True)
    state.ask()
    assert state.shut_down


@pytest.mark.usefixtures("_at_once")
def test_a_guest_that_runs_on_has_not_shut_down(model: QmpModel, state: RunState) -> None:
    for times in (1, 2):
        shut_down(model, state)
        for _ in range(3):
            state.ask()
        assert (state.shut_down, state.ran_on) == (False, times)


def test_for_a_moment_nobody_knows(model: QmpModel, state: RunState) -> None:
    shut_down(model, state)
    state._shut_down_s = math.inf  # however slow this test is
    state.ask()
    assert (state.running, state.shut_down, state.ran_on) == (True, True, 0)


@pytest.mark.usefixtures("_at_once")
def test_a_sample_of_a_guest_that_has_shut_down_decides_nothing(
    model: QmpModel, state: RunState
) -> None:
    model.stop()
    shut_down(model, state)
    state.ask()
    assert (state.shut_down, state.ran_on) == (True, 0)


@pytest.mark.usefixtures("_at_once")
def test_a_guest_that_is_started_anew_does_not_run_on(model: QmpModel, state: RunState) -> None:
    shut_down(model, state)
    model.report("RESET", guest=False)
    state.ask()
    assert (state.shut_down, state.ran_on) == (False, 0)


@pytest.mark.usefixtures("_at_once")
def test_a_snapshot_brings_back_a_guest_that_stood(model: QmpModel, state: RunState) -> None:
    model.stop("shutdown")
    shut_down(model, state)
    model.resume()
    state.ask()
    assert (state.shut_down, state.ran_on) == (False, 0)


@pytest.mark.parametrize(
    ("status", "said"),
    [("paused", "Somebody else"), ("prelaunch", "not started"), ("postmigrate", "runs elsewhere"),
     ("shutdown", "shut down"), ("guest-panicked", "panicked"), ("io-error", "I/O error"),
     ("watchdog", "(watchdog)")],
)  # fmt: skip
def test_why_a_guest_stands(model: QmpModel, state: RunState, status: str, said: str) -> None:
    model.stop(status)
    state.ask()
    assert said in state.why()
    assert "gprof waits" in state.why()


def test_a_migration_is_asked_for_since_events_do_not_tell(
    model: QmpModel, state: RunState
) -> None:
    model.migration = "active"
    asked = model.seen.count("query-migrate")
    state._asking_due = math.inf
    state.follow()
    assert model.seen.count("query-migrate") == asked  # once a second is enough
    state._asking_due = 0.0
    state.follow()
    assert (state.migrating, state.why()) == (True, MIGRATING)
    model.migration = "completed"
    model.stop("postmigrate")
    state.ask()
    assert "runs elsewhere" in state.why()


@pytest.mark.parametrize("before", [False, True])
def test_migrations_are_reported_and_that_is_left_as_it_was(
    model: QmpModel, state: RunState, before: bool
) -> None:
    model.reports_migration = before
    state.watch_migration()
    assert model.reports_migration is True
    model.migration = "setup"  # should a second have passed, it is asked for as well
    model.report("MIGRATION", status="setup")
    state.monitor.execute("query-status")
    state.follow()
    seen = [state.migrating]
    model.migration = "completed"
    model.report("MIGRATION", status="completed")
    state.monitor.execute("query-status")
    state.follow()
    assert [*seen, state.migrating] == [True, False]
    state.unwatch_migration()
    assert model.reports_migration is before


def test_a_qemu_that_does_not_migrate_is_no_failure(model: QmpModel, state: RunState) -> None:
    model.commands["query-migrate-capabilities"] = {"something": "else"}
    state.watch_migration()
    state.unwatch_migration()
    assert "migrate-set-capabilities" not in model.seen


def test_a_guest_that_falls_asleep_runs_no_more(model: QmpModel, state: RunState) -> None:
    with model._lock:
        model.status = "suspended"
        model.report("SUSPEND")
    follow_until(state, lambda: not state.running)
    state.ask()
    assert "sleeps" in state.why()
    model.status = "running"
    model.report("WAKEUP")
    state.ask()
    assert state.running


def test_a_panic_is_told_whoever_stopped_it_since(model: QmpModel, state: RunState) -> None:
    model.report("GUEST_PANICKED", action="pause")
    model.stop("paused")
    follow_until(state, lambda: not state.running)
    state.ask()
    assert "panicked" in state.why()
    model.report("RESET", guest=True)
    state.ask()
    follow_until(state, lambda: state.resets)
    assert "Somebody else" in state.why()
