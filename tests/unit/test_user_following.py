"""Mappings of processes are read when their user space is sampled, and not more often."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from gprof import user_following
from gprof.profile.tasks import GuestTask, TaskTable
from gprof.profile.user_spaces import UserSpaces
from gprof.user_following import UserFollower, images_of
from symbols.structures import Structures
from symbols.user_mappings import UserMapping, UserMappings
from tests.unit.symbols.process_memory import Mapped, ProcessMemory
from tests.unit.symbols.test_user_mappings import with_files

PC = 0x40_1234


class Counting(UserMappings):
    """Counts what it reads."""

    def __init__(self, structures: Structures) -> None:
        super().__init__(structures)
        self.read: list[int] = []

    def of(self, mm: int) -> tuple[UserMapping, ...] | None:
        self.read.append(mm)
        return super().of(mm)


def processes(count: int) -> tuple[ProcessMemory, list[int]]:
    kernel, files = with_files(maple=True)
    busybox = files["/bin/busybox"]
    return kernel, [
        kernel.process([Mapped(0x40_1000, 0x50_0000, 1, busybox)]) for _ in range(count)
    ]


def following(
    kernel: ProcessMemory, mms: Sequence[int]
) -> tuple[UserFollower, Counting, TaskTable, UserSpaces]:
    structures = kernel.structures()
    mappings, tasks, spaces = Counting(structures), TaskTable(), UserSpaces()
    follower = UserFollower(mappings, structures.memory, tasks, spaces)
    for pid, mm in enumerate(mms, 1):
        space = follower.number(0, pid, mm)
        assert tasks.add(GuestTask(0, pid, pid, "sh", space=space)) == pid
    return follower, mappings, tasks, spaces


def test_a_process_is_read_when_it_is_sampled() -> None:
    kernel, mms = processes(2)
    follower, mappings, _, spaces = following(kernel, mms)
    follower.saw([])
    assert mappings.read == []
    follower.saw([(1, PC), (1, PC + 8), (0, PC), (99, PC)])
    follower.saw([(1, PC), (1, PC + 0x2000)])  # what it has is known
    assert mappings.read == mms[:1]
    assert spaces.holds(1, PC)
    assert not spaces.holds(2, PC)
    image = spaces.layouts[1].images[0]
    assert (image.name, image.path, image.start) == ("busybox", "/bin/busybox", 0x40_0000)


def test_a_place_that_nothing_explains_is_looked_up_once() -> None:
    kernel, mms = processes(1)
    follower, mappings, *_ = following(kernel, mms)
    for _ in range(3):
        follower.saw([(1, 0x7F00_0000_1234)])
    assert mappings.read == mms
    follower.saw([(1, 0x7F00_0000_2234)])  # it may have mapped more since
    assert mappings.read == mms * 2


def test_very_many_processes_are_read_a_few_at_a_time() -> None:
    kernel, mms = processes(40)
    follower, mappings, *_ = following(kernel, mms)
    follower.saw((pid, PC) for pid in range(1, 41))
    assert len(mappings.read) == 16
    follower.saw([])
    follower.saw([])
    assert sorted(mappings.read) == sorted(mms)


def test_through_packets_the_guest_is_left_alone_in_between(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kernel, mms = processes(3)
    follower, mappings, *_ = following(kernel, mms)
    monkeypatch.setattr(user_following, "StubMemory", type(kernel.structures().memory))
    costs = iter(range(0, 10**12, 10**9))  # each reading stops it for a second
    monkeypatch.setattr(user_following, "_cost_ns", lambda _: next(costs))
    follower.saw([(1, PC), (2, PC), (3, PC)])
    follower.saw([])
    assert mappings.read == mms[2:]


def test_a_reset_forgets_what_waits() -> None:
    kernel, mms = processes(40)
    follower, mappings, *_ = following(kernel, mms)
    follower.saw((pid, PC) for pid in range(1, 41))
    follower.forget()
    follower.saw([])
    assert len(mappings.read) == 16


def test_offsets_are_those_of_the_file_where_there_is_room() -> None:
    images = images_of([
        UserMapping(0x40_1000, 0x50_0000, 0x1000, "/bin/busybox"),
        UserMapping(0x50_0000, 0x50_1000, 0x10_0000, "/bin/busybox"),
        UserMapping(0x7F00_0000_0000, 0x7F00_0000_1000, 0, "[vdso]"),
        UserMapping(0x7F00_0000_3000, 0x7F00_0000_4000, 1 << 63, "/lib/x"),
    ])  # fmt: skip
    assert [(image.start, image.end, image.path) for image in images] == [
        (0x40_0000, 0x50_0000, "/bin/busybox"),
        (0x50_0000, 0x50_1000, "/bin/busybox"),
        (0x7F00_0000_0000, 0x7F00_0000_1000, ""),
        (0x7F00_0000_3000, 0x7F00_0000_4000, "/lib/x"),
    ]
