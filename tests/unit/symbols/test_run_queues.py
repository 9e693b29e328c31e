"""Which task each cpu runs, by the scheduler's queues in a small kernel's memory."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from symbols.btf import Btf
from symbols.memory import BytesMemory
from symbols.run_queues import RunQueues
from symbols.structures import Structures
from tests.unit.symbols.btf_blob import INT, POINTER, Blob

AREA = 0xFFFF_FFFF_8100_0000  # where the data of every cpu was linked
OFFSETS, HARTS = 0xFFFF_FFFF_8200_0000, 0xFFFF_FFFF_8200_1000
BASES = (0xFFFF_8000_0100_0000, 0xFFFF_8000_0200_0000)  # of each cpu's own
TASKS = (0xFFFF_8880_0010_0000, 0xFFFF_8880_0020_0000)
CURR = 24


def types(*, queues: bool = True) -> Btf:
    blob = Blob()
    u32 = blob.add(INT, "unsigned int", 4, 32)
    pointer = blob.add(POINTER, "", 0)
    if queues:
        blob.struct("rq", 64, ("nr_running", u32, 0), ("curr", pointer, 8 * CURR))
    return Btf.parse(blob.bytes())


def memory(*harts: int) -> BytesMemory:
    offsets = [(base - AREA) % (1 << 64) for base in BASES]
    queues = [bytes(CURR) + struct.pack("<Q", task) for task in TASKS]
    return BytesMemory([
        (OFFSETS, struct.pack("<2Q", *offsets)),
        (HARTS, struct.pack(f"<{len(harts)}Q", *harts)),
        *zip(BASES, queues, strict=True),
    ])  # fmt: skip


SYMBOLS = {"runqueues": AREA, "__per_cpu_offset": OFFSETS}


def test_each_vcpu_is_the_cpu_of_its_number() -> None:
    queues = RunQueues(Structures(memory(), types()), SYMBOLS.get)
    assert [queues.current(vcpu) for vcpu in range(3)] == [*TASKS, None]


def test_riscv64_counts_its_cpus_in_the_order_in_which_they_came() -> None:
    symbols = SYMBOLS | {"__cpuid_to_hartid_map": HARTS}
    queues = RunQueues(Structures(memory(1, 0), types()), symbols.get)
    assert [queues.current(vcpu) for vcpu in range(3)] == [TASKS[1], TASKS[0], None]


def test_what_is_not_known_is_none() -> None:
    assert RunQueues(Structures(memory(), types(queues=False)), SYMBOLS.get).current(0) is None
    for missing in SYMBOLS:
        known = {name: at for name, at in SYMBOLS.items() if name != missing}
        assert RunQueues(Structures(memory(), types()), known.get).current(0) is None


@given(st.binary(max_size=64), st.integers(0, 1 << 63), st.integers(0, 1 << 16))
def test_any_memory_tells_a_task_or_none(data: bytes, at: int, vcpu: int) -> None:
    symbols = SYMBOLS | {"__cpuid_to_hartid_map": HARTS}
    structures = Structures(BytesMemory([(at, data), (HARTS, data), (OFFSETS, data)]), types())
    found = RunQueues(structures, symbols.get).current(vcpu)
    assert found is None or 0 < found < 1 << 64
