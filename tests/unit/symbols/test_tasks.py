from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from symbols.btf import Btf
from symbols.errors import BtfError
from symbols.memory import BytesMemory
from symbols.structures import Structures
from symbols.tasks import CurrentPlaces, Task, Tasks, current_task
from tests.unit.symbols.btf_blob import ARRAY, INT, Blob
from tests.unit.symbols.kernel_memory import KernelMemory

KTHREAD = 0x0020_0000


def put_task(
    kernel: KernelMemory,
    pid: int,
    comm: bytes,
    *,
    tgid: int | None = None,
    flags: int = 0,
    mm: int = 0,
) -> int:
    data = bytearray(512)
    struct.pack_into("<I", data, 44, flags)
    struct.pack_into("<Q", data, 200, mm)
    struct.pack_into("<II", data, 300, pid, pid if tgid is None else tgid)
    data[400:416] = comm.ljust(16, b"\0")
    return kernel.put(bytes(data))


def test_tasks_are_read() -> None:
    kernel = KernelMemory()
    shell = put_task(kernel, 77, b"sh", tgid=70, mm=0xFFFF_8880_0000_1000)
    worker = put_task(kernel, 9, b"kworker/0:1", flags=KTHREAD)
    idle = put_task(kernel, 0, b"swapper/1", flags=KTHREAD)
    tasks = Tasks(kernel.structures())
    assert tasks.at(shell) == Task(
        shell, 77, 70, "sh", kernel_thread=False, mm=0xFFFF_8880_0000_1000
    )
    assert tasks.at(worker) == Task(worker, 9, 9, "kworker/0:1", kernel_thread=True)
    found = tasks.at(idle)
    assert found is not None
    assert found.idle
    assert tasks.pieces == ((44, 400 + 16 - 44),)
    assert tasks.read([shell, 0xFFFF_8880_0000_0000, idle]) == [tasks.at(shell), None, found]


def test_hostile_names_are_safe_to_show() -> None:
    kernel = KernelMemory()
    found = Tasks(kernel.structures()).of(1 << 63, [_bytes(kernel, b"a\x1b[2J\xff")])
    assert found is not None
    assert found.comm == "a\\x1b[2J\\xff"


def _bytes(kernel: KernelMemory, comm: bytes, pid: int = 5) -> bytes:
    address = put_task(kernel, pid, comm)
    return bytes(kernel.pieces[address][44:416])


@pytest.mark.parametrize(
    ("pid", "comm"), [(5, b""), (5, b"sixteen bytes!!!"), (1 << 23, b"sh"), (0xFFFFFFFF, b"sh")]
)
def test_what_is_no_task_is_none(pid: int, comm: bytes) -> None:
    kernel = KernelMemory()
    address = put_task(kernel, pid, comm)
    tasks = Tasks(kernel.structures())
    assert tasks.at(address) is None
    assert tasks.at(0xFFFF_8880_0000_0000) is None
    assert tasks.of(address, [b"short"]) is None
    assert tasks.of(address, [None]) is None


def test_members_far_apart_are_read_in_pieces() -> None:
    blob = Blob()
    u32, u64 = blob.add(INT, "int", 4, 32), blob.add(INT, "long", 8, 64)
    comm = blob.add(ARRAY, "", 0, blob.add(INT, "char", 1, 8), u32, 16)
    members = (("flags", u32, 44), ("mm", u64, 2272), ("pid", u32, 2416), ("tgid", u32, 2420),
               ("comm", comm, 2976))  # fmt: skip
    blob.struct("task_struct", 9728, *((name, of, 8 * at) for name, of, at in members))
    data = bytearray(9728)
    struct.pack_into("<II16s", data, 2416, 5, 5, b"")
    data[2976:2992] = b"sh".ljust(16, b"\0")
    tasks = Tasks(Structures(BytesMemory([(1 << 63, bytes(data))]), Btf.parse(blob.bytes())))
    assert tasks.pieces == ((44, 4), (2272, 152), (2976, 16))
    assert tasks.at(1 << 63) == Task(1 << 63, 5, 5, "sh", kernel_thread=False)


def test_types_without_tasks_say_so() -> None:
    blob = Blob()
    blob.add(INT, "int", 4, 32)
    with pytest.raises(BtfError, match="how tasks are kept"):
        Tasks(Structures(BytesMemory([]), Btf.parse(blob.bytes())))


TASK = 0xFFFF_8880_0123_4500
AREA = 0xFFFF_8880_3FC0_0000


@pytest.mark.parametrize(
    ("name", "registers", "user", "places"),
    [
        ("x86_64", {"gs_base": AREA, "k_gs_base": 0}, False, CurrentPlaces(per_cpu=0x1FBC0)),
        ("x86_64", {"gs_base": 0x7F00, "k_gs_base": AREA}, True, CurrentPlaces(per_cpu=0x1FBC0)),
        ("x86_64", {"gs_base": 0x7F00, "k_gs_base": AREA}, False, CurrentPlaces(per_cpu=0x1FBC0)),
        (
            "aarch64",
            {"SP_EL0": 0x7FFF0, "TPIDR_EL1": AREA},
            True,
            CurrentPlaces(entry_task=0x1FBC0),
        ),
        (
            "aarch64",
            {"SP_EL0": 0x7FFF0, "TPIDR_EL1": AREA},
            False,
            CurrentPlaces(entry_task=0x1FBC0),
        ),
        ("aarch64", {"SP_EL0": TASK}, False, CurrentPlaces()),
        ("s390x", {"prefix": AREA}, True, CurrentPlaces(lowcore=0x1FBC0)),
        ("riscv64", {"tp": TASK, "sscratch": 0}, False, CurrentPlaces()),
        ("riscv64", {"tp": 0x7F00, "sscratch": TASK}, True, CurrentPlaces()),
    ],
)
def test_current_task_by_architecture(
    name: str, registers: dict[str, int], user: bool, places: CurrentPlaces
) -> None:
    memory = BytesMemory([(AREA + 0x1FBC0, TASK.to_bytes(8, "little"))])
    assert current_task(name, registers, memory, places, user=user) == TASK
    assert current_task(name, registers, BytesMemory([]), CurrentPlaces(), user=user) in {
        None,
        TASK,
    }


def test_what_a_program_makes_of_its_own_base_does_not_matter() -> None:
    memory = BytesMemory([(AREA + 0x1FBC0, TASK.to_bytes(8, "little"))])
    registers = {"gs_base": 0xFFFF_FFFF_FFFF_0000, "k_gs_base": AREA}
    places = CurrentPlaces(per_cpu=0x1FBC0)
    assert current_task("x86_64", registers, memory, places, user=True) == TASK


def test_sums_wrap_around() -> None:
    # Since Linux 6.15 gs holds the distance from the symbols to the area of a cpu.
    symbol = 0xFFFF_FFFF_8300_0040
    memory = BytesMemory([(AREA, TASK.to_bytes(8, "little"))])
    registers = {"gs_base": (AREA - symbol) % (1 << 64) | 1 << 63}
    base = registers["gs_base"]
    places = CurrentPlaces(per_cpu=(AREA - base) % (1 << 64))
    assert current_task("x86_64", registers, memory, places, user=False) == TASK


def test_s390x_lowcore_is_at_zero_in_the_kernel_only() -> None:
    memory = BytesMemory([(0x340, (0x8A00).to_bytes(8, "big"))])
    places = CurrentPlaces(lowcore=0x340, little_endian=False)
    assert current_task("s390x", {}, memory, places, user=False) == 0x8A00
    assert current_task("s390x", {}, memory, places, user=True) is None


def test_places_come_from_symbols_and_types() -> None:
    blob = Blob()
    number = blob.add(INT, "int", 8, 64)
    blob.struct("pcpu_hot", 64, ("current_task", number, 128))
    blob.struct("lowcore", 8192, ("current_task", number, 0x340 * 8))
    btf = Btf.parse(blob.bytes())
    symbols = {"pcpu_hot": 0x2000, "__entry_task": 0x3000}
    assert CurrentPlaces.of(symbols.get, btf) == CurrentPlaces(0x2010, 0x3000, 0x340)
    assert CurrentPlaces.of({"current_task": 0x1FBC0}.get, None) == CurrentPlaces(per_cpu=0x1FBC0)


@given(st.binary(min_size=372, max_size=372))
def test_any_bytes_are_a_task_or_none(data: bytes) -> None:
    found = Tasks(KernelMemory().structures()).of(TASK, [data])
    assert found is None or (found.pid <= 1 << 22 and found.comm.isprintable())


@given(
    st.sampled_from(["x86_64", "aarch64", "s390x", "riscv64", "vax"]),
    st.dictionaries(
        st.sampled_from(["gs_base", "k_gs_base", "SP_EL0", "TPIDR_EL1", "prefix", "tp"]),
        st.integers(0, (1 << 64) - 1),
    ),
    st.booleans(),
)
def test_any_registers_give_a_pointer_or_none(
    name: str, registers: dict[str, int], user: bool
) -> None:
    memory = BytesMemory([(0, bytes(4096))])
    places = CurrentPlaces(0x1FBC0, 0x3000, 0x340)
    found = current_task(name, registers, memory, places, user=user)
    assert found is None or 0 < found < 1 << 64
