from __future__ import annotations

import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from symbols.errors import IntrospectionError
from symbols.memory import BytesMemory
from symbols.vmcoreinfo import Vmcoreinfo, find_vmcoreinfo, vmcoreinfo_at

#: As a Debian 6.1 guest has it, shortened.
TEXT = b"""\
OSRELEASE=6.1.0-56-cloud-amd64
BUILD-ID=8cd4a1ea0e6b6be6e1a4f1d5e0ed4fc1e7f0a6d5
PAGESIZE=4096
SYMBOL(init_uts_ns)=ffffffffb1e1a880
SYMBOL(_stext)=ffffffffb0400000
SIZE(list_head)=16
OFFSET(task_struct.pid)=2416
LENGTH(zone.free_area)=11
NUMBER(phys_base)=-297795584
NUMBER(TCR_EL1_T1SZ)=0x10
KERNELOFFSET=2f400000
CRASHTIME=1700000000
SYMBOL(broken)=xyz
"""


def note(text: bytes, order: str = "<") -> bytes:
    return struct.pack(order + "III", 11, len(text), 0) + b"VMCOREINFO\0\0" + text


def test_values_have_their_types() -> None:
    info = Vmcoreinfo.parse(TEXT)
    assert info.release == "6.1.0-56-cloud-amd64"
    assert info.build_id.hex() == "8cd4a1ea0e6b6be6e1a4f1d5e0ed4fc1e7f0a6d5"
    assert info.page_size == 4096
    assert info.slide == 0x2F400000
    assert info.symbols == {"init_uts_ns": 0xFFFFFFFFB1E1A880, "_stext": 0xFFFFFFFFB0400000}
    assert info.sizes == {"list_head": 16}
    assert info.offsets == {"task_struct.pid": 2416}
    assert info.lengths == {"zone.free_area": 11}
    assert info.numbers == {"phys_base": -297795584, "TCR_EL1_T1SZ": 16}


def test_a_text_without_facts_is_refused() -> None:
    with pytest.raises(IntrospectionError, match="no VMCOREINFO"):
        Vmcoreinfo.parse(b"nothing\nof the kind\n")
    assert Vmcoreinfo.parse(b"OSRELEASE=1").slide is None


@pytest.mark.parametrize("order", ["<", ">"])
def test_note_is_read_and_found(order: str) -> None:
    stale = note(b"OSRELEASE=\nPAGESIZE=%d\n", order)  # the kernel's own format string
    memory = BytesMemory([
        (0x1000, stale.ljust(4096, b"\0")),
        (0x2000, b"VMCOREINFO\0".rjust(64)),
        (0x5000, note(TEXT, order).ljust(4096, b"\0")),
    ])  # fmt: skip
    there = vmcoreinfo_at(memory, 0x5000)
    assert there is not None
    assert there.symbols["_stext"] == 0xFFFFFFFFB0400000
    assert list(find_vmcoreinfo(memory, [(0, 0x8000)])) == [there]
    assert not list(find_vmcoreinfo(memory, [(0, 0x4000)]))
    assert vmcoreinfo_at(memory, 0x5004) is None


def test_note_cut_by_the_end_of_memory_is_none() -> None:
    assert vmcoreinfo_at(BytesMemory([(0, note(TEXT)[:100])]), 0) is None


@given(st.binary(max_size=300))
def test_any_bytes_are_refused_or_read(data: bytes) -> None:
    memory = BytesMemory([(0, note(data) + bytes(8))])
    vmcoreinfo_at(memory, 0)
    with contextlib.suppress(IntrospectionError):
        Vmcoreinfo.parse(data)
