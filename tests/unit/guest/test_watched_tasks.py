"""Pointers to tasks, read in memory that is not the guest's to watch."""

from __future__ import annotations

import pytest

from gprof.guest import watched_tasks
from gprof.guest.watched_tasks import WatchedTasks
from symbols.memory import BytesMemory, Memory
from symbols.paging import Mapped
from symbols.tasks import CurrentPlaces

DIRECT = 0xFFFF_8880_0000_0000
OFFSETS = DIRECT + 0x2000
BASES = (DIRECT + 0x10_0000, DIRECT + 0x20_0000)
PER_CPU = 0x1FBC0
TASKS = (DIRECT + 0x5000, DIRECT + 0x9000)


class DirectMap:
    """Page tables that map all memory from one address on."""

    def walk(self, physical: Memory, address: int) -> Mapped | None:
        at = address - DIRECT
        return Mapped(at, 4096 - at % 4096) if 0 <= at < 1 << 32 else None


def words(*values: int) -> bytes:
    return b"".join(value.to_bytes(8, "little") for value in values)


def memories(bases: tuple[int, ...] = BASES) -> tuple[BytesMemory, BytesMemory]:
    """The kernel's memory, and that of the machine."""
    pieces = [(OFFSETS, words(*bases))]
    for base, task in zip(bases, TASKS, strict=True):
        if base >= DIRECT:
            pieces.append((base + PER_CPU, words(task)))
    return BytesMemory(pieces), BytesMemory((at - DIRECT, data) for at, data in pieces)


def watched(
    architecture: str = "x86_64",
    places: CurrentPlaces = CurrentPlaces(per_cpu=PER_CPU, per_cpu_offsets=OFFSETS),  # noqa: B008 - frozen
    bases: tuple[int, ...] = BASES,
) -> WatchedTasks:
    return WatchedTasks(architecture, places, (0, 1), *memories(bases))


def test_the_task_of_each_vcpu_is_read() -> None:
    tasks = watched()
    assert tasks.must_learn()
    assert tasks.read() == {}
    tasks.learn([DirectMap()])
    assert not tasks.must_learn()
    assert tasks.read() == dict(enumerate(TASKS))


def test_aarch64_has_it_beside_its_entry() -> None:
    places = CurrentPlaces(entry_task=PER_CPU, per_cpu_offsets=OFFSETS)
    tasks = watched("aarch64", places)
    tasks.learn([DirectMap()])
    assert tasks.read() == dict(enumerate(TASKS))


def test_s390x_has_it_in_its_lowcores() -> None:
    places = CurrentPlaces(lowcore=PER_CPU, per_cpu_offsets=OFFSETS)
    tasks = watched("s390x", places)
    tasks.learn([DirectMap()])
    assert tasks.read() == dict(enumerate(TASKS))


def test_a_base_says_which_cpu_a_vcpu_is() -> None:
    tasks = watched()
    tasks.learn([DirectMap()])
    tasks.seen_base(0, 0x7F00)  # of a program
    tasks.seen_base(0, BASES[1])
    tasks.seen_base(1, BASES[0])
    assert tasks.read() == {0: TASKS[1], 1: TASKS[0]}


@pytest.mark.parametrize(
    "places",
    [
        CurrentPlaces(),
        CurrentPlaces(per_cpu=PER_CPU),
        CurrentPlaces(per_cpu=PER_CPU, per_cpu_offsets=DIRECT + 0x7000),
    ],
)
def test_a_kernel_that_makes_no_sense_has_no_tasks(
    places: CurrentPlaces, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks = watched(places=places)
    tasks.learn([DirectMap()])
    assert tasks.read() == {}
    monkeypatch.setattr(watched_tasks, "_RETRY_S", 0.0)
    tasks.learn([])
    assert tasks.read() == {}
    assert tasks.must_learn()


def test_after_a_reset_everything_is_learnt_anew() -> None:
    tasks = watched(bases=(BASES[0], 0))
    tasks.learn([DirectMap()])
    assert tasks.read() == {0: TASKS[0]}
    tasks.forget()
    assert tasks.read() == {}
