"""The list of tasks in a small kernel's memory, and where a task that sleeps has its registers."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from symbols.btf import Btf
from symbols.errors import IntrospectionError
from symbols.memory import BytesMemory
from symbols.structures import Structures
from symbols.task_list import list_tasks, moved
from symbols.unwinding.sleeping import knows_sleepers, sleeping_registers
from symbols.unwinding.stack import Registers
from tests.unit.symbols.btf_blob import ARRAY, INT, POINTER, Blob

FIRST = 0xFFFF_FFFF_8260_0000  # init_task
TASKS = 0xFFFF_8880_0010_0000
SIZE = 512
STACK = 0xFFFF_C900_0001_0000


@dataclass(frozen=True)
class Row:
    """A task to be put into memory."""

    pid: int
    comm: str
    state: int = 1
    exit_state: int = 0
    on_cpu: int = 0
    cpu: int = 0
    threads: tuple[int, ...] = ()


def types(state: str = "__state") -> bytes:
    blob = Blob()
    u32 = blob.add(INT, "unsigned int", 4, 32)
    u64 = blob.add(INT, "unsigned long", 8, 64)
    char = blob.add(INT, "char", 1, 8)
    pointer = blob.add(POINTER, "", 0)
    comm = blob.add(ARRAY, "", 0, char, u32, 16)

    def struct_(title: str, size: int, /, **members: tuple[int, int]) -> int:
        return blob.struct(title, size, *((n, t, 8 * at) for n, (t, at) in members.items()))

    head = struct_("list_head", 16, next=(pointer, 0), prev=(pointer, 8))
    saved = blob.add(ARRAY, "", 0, u64, u32, 12)
    context = struct_("cpu_context", 104, fp=(u64, 80), sp=(u64, 88), pc=(u64, 96))
    thread = struct_(
        "thread_struct", 128, sp=(u64, 0), ra=(u64, 8), s=(saved, 16), cpu_context=(context, 16),
        ksp=(u64, 8),
    )  # fmt: skip
    struct_("inactive_task_frame", 56, r15=(u64, 0), r14=(u64, 8), r13=(u64, 16), r12=(u64, 24),
            bx=(u64, 32), bp=(u64, 40), ret_addr=(u64, 48))  # fmt: skip
    struct_("signal_struct", 64, thread_head=(head, 16))
    members = {
        state: (u32, 0), "flags": (u32, 4), "on_cpu": (u32, 8), "cpu": (u32, 12),
        "tasks": (head, 16), "thread_node": (head, 32), "signal": (pointer, 48),
        "exit_state": (u32, 56), "pid": (u32, 60), "tgid": (u32, 64), "comm": (comm, 68),
        "nvcsw": (u64, 88), "nivcsw": (u64, 96), "thread": (thread, 104), "mm": (pointer, 504),
    }  # fmt: skip
    struct_("task_struct", SIZE, **members)
    return blob.bytes()


def put_tasks(rows: Sequence[Row], **threads: bytes) -> dict[int, bytearray]:
    """Pieces of memory with a ring of processes from `FIRST` on, each with its threads."""
    pieces = {FIRST: bytearray(SIZE)}
    places = [TASKS + SIZE * 16 * i for i in range(len(rows))]
    ring = [FIRST, *places, FIRST]
    struct.pack_into("<Q", pieces[FIRST], 16, ring[1] + 16)
    for i, (row, place) in enumerate(zip(rows, places, strict=True)):
        pids = (row.pid, *row.threads)
        signal = place + SIZE * 15
        nodes = [place + SIZE * k + 32 for k in range(len(pids))]
        pieces[signal] = bytearray(64)
        struct.pack_into("<Q", pieces[signal], 16, nodes[0])
        for k, pid in enumerate(pids):
            data = bytearray(SIZE)
            struct.pack_into("<IIII", data, 0, row.state, 0, row.on_cpu, row.cpu)
            struct.pack_into("<Q", data, 16, ring[i + 2] + 16)
            struct.pack_into("<Q", data, 32, nodes[k + 1] if k + 1 < len(pids) else signal + 16)
            struct.pack_into("<QIII", data, 48, signal, row.exit_state, pid, row.pid)
            data[68:84] = row.comm.encode().ljust(16, b"\0")
            data[104:232] = threads.get(row.comm, bytes(128))
            pieces[place + SIZE * k] = data
    return pieces


def structures(pieces: dict[int, bytearray], state: str = "__state") -> Structures:
    memory = BytesMemory((at, bytes(data)) for at, data in pieces.items())
    return Structures(memory, Btf.parse(types(state)))


def test_processes_and_threads_are_listed_in_the_kernels_order() -> None:
    rows = [Row(1, "init", threads=(7, 9)), Row(2, "kthreadd", cpu=1), Row(30, "dd", 0, 0, 1, 1)]
    for state in ("__state", "state"):
        found = list_tasks(structures(put_tasks(rows), state), FIRST)
        assert found.complete
        told = [(one.task.pid, one.task.tgid, one.task.comm) for one in found.tasks]
        assert told == [
            (1, 1, "init"), (7, 1, "init"), (9, 1, "init"), (2, 2, "kthreadd"), (30, 30, "dd")
        ]  # fmt: skip
        assert [one.state for one in found.tasks] == ["S", "S", "S", "S", "R"]
        assert [one.on_cpu for one in found.tasks] == [False] * 4 + [True]
        assert found.tasks[3].cpu == 1


@pytest.mark.parametrize(
    ("state", "exit_state", "letter"),
    [
        (0, 0, "R"), (1, 0, "S"), (2, 0, "D"), (0x402, 0, "I"), (0x102, 0, "D"), (4, 0, "T"),
        (8, 0, "t"), (0x80, 0x20, "Z"), (0x80, 0x10, "X"), (0x40, 0, "P"), (0x2001, 0, "S"),
    ],
)  # fmt: skip
def test_states_have_the_letters_of_ps(state: int, exit_state: int, letter: str) -> None:
    (one,) = list_tasks(structures(put_tasks([Row(1, "a", state, exit_state)])), FIRST).tasks
    assert one.state == letter
    assert one.meaning


def test_a_list_that_leads_elsewhere_is_cut() -> None:
    rows = [Row(pid, "task") for pid in range(1, 6)]
    lost = put_tasks(rows)
    del lost[TASKS + SIZE * 16 * 3]
    found = list_tasks(structures(lost), FIRST)
    assert (len(found.tasks), found.complete) == (3, False)

    ring = put_tasks(rows)
    struct.pack_into("<Q", ring[TASKS + SIZE * 16 * 3], 16, TASKS + 16)  # back to the first
    found = list_tasks(structures(ring), FIRST)
    assert (len(found.tasks), found.complete) == (4, False)

    threads = put_tasks([Row(1, "a", threads=(2, 3))])
    struct.pack_into("<Q", threads[TASKS + SIZE], 32, 0x1000)
    found = list_tasks(structures(threads), FIRST)
    assert ([one.task.pid for one in found.tasks], found.complete) == ([1, 2], False)


def test_no_list_at_all_is_told() -> None:
    with pytest.raises(IntrospectionError, match="cannot be read"):
        list_tasks(structures({}), FIRST)
    blob = Blob()
    blob.add(INT, "int", 4, 32)
    nothing = Structures(BytesMemory([]), Btf.parse(blob.bytes()))
    with pytest.raises(IntrospectionError, match="where tasks are cannot be told"):
        list_tasks(nothing, FIRST)


def test_tasks_that_have_run_since_are_known() -> None:
    rows = [Row(pid, "task") for pid in (1, 2, 3, 4)]
    pieces = put_tasks(rows)
    known = structures(pieces)
    listed = list_tasks(known, FIRST)
    assert moved(known.memory, known, listed) == set()
    struct.pack_into("<Q", pieces[TASKS + SIZE * 16], 96, 5)  # preempted
    del pieces[TASKS + SIZE * 32]  # gone
    assert moved(structures(pieces).memory, known, listed) == {
        TASKS + SIZE * 16, TASKS + SIZE * 32
    }  # fmt: skip


def asleep(architecture: str, thread: bytes, stack: bytes) -> Registers | None:
    pieces = put_tasks([Row(1, "task")], task=thread.ljust(128, b"\0"))
    pieces[STACK] = bytearray(stack)
    found = structures(pieces)
    assert knows_sleepers(architecture, found) == ""
    return sleeping_registers(architecture, found, list_tasks(found, FIRST).tasks[0].record)


def test_registers_of_a_task_that_sleeps() -> None:
    frame = struct.pack("<7Q", 15, 14, 13, 12, 3, 0xB9, 0xFFFF_FFFF_8100_0010)
    assert asleep("x86_64", struct.pack("<Q", STACK), frame) == Registers(
        0xFFFF_FFFF_8100_0010, STACK + 56, 0xB9, {"r13": 13}
    )
    context = bytes(16 + 80) + struct.pack("<3Q", 0xF9, STACK, 0xFFFF_8000_0800_0010)
    found = asleep("aarch64", context, b"")
    assert found is not None
    assert (found.pc, found.sp, found.fp) == (0xFFFF_8000_0800_0010, STACK, 0xF9)
    found = asleep("riscv64", struct.pack("<3Q", STACK, 0x8000_0010, 0xF9), b"")
    assert found is not None
    assert (found.pc, found.sp, found.fp) == (0x8000_0010, STACK, 0xF9)
    saved = bytes(136) + struct.pack("<2Q", 0x10_0010, STACK + 512)
    found = asleep("s390x", struct.pack("<2Q", 0, STACK), saved)
    assert found is not None
    assert (found.pc, found.sp) == (0x10_0010, STACK + 512)


def test_a_stack_that_cannot_be_read_gives_no_registers() -> None:
    assert asleep("x86_64", struct.pack("<Q", 0x1000), b"") is None
    known = structures(put_tasks([Row(1, "task")]))
    record = list_tasks(known, FIRST).tasks[0].record
    assert sleeping_registers("vax", known, record) is None
    assert "vax" in knows_sleepers("vax", known)
    blob = Blob()
    blob.add(INT, "int", 4, 32)
    nothing = Structures(BytesMemory([]), Btf.parse(blob.bytes()))
    assert "no member" in knows_sleepers("x86_64", nothing)


@given(st.binary(max_size=64), st.integers(0, 4 * SIZE), st.sampled_from([0, 1, 2]))
def test_whatever_stands_there_the_walk_ends(noise: bytes, at: int, which: int) -> None:
    pieces = put_tasks([Row(1, "a", threads=(2,)), Row(3, "b"), Row(4, "c")])
    place = TASKS + SIZE * 16 * which
    data = pieces[place]
    at %= SIZE
    data[at : at + len(noise)] = noise[: SIZE - at]
    try:
        found = list_tasks(structures(pieces), FIRST)
    except IntrospectionError:
        return
    assert len(found.tasks) <= 8
    assert all(one.task.comm.isprintable() for one in found.tasks)
