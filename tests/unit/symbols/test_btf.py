from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from symbols.btf import Btf, btf_size
from symbols.errors import BtfError

INT, POINTER, ARRAY, STRUCT, UNION, ENUM, FWD, TYPEDEF = 1, 2, 3, 4, 5, 6, 7, 8
CONST, FUNC, VAR, DECL_TAG, ENUM64 = 10, 12, 14, 17, 19


class Blob:
    """Builds a BTF record by record, in either byte order."""

    def __init__(self, order: str = "<") -> None:
        self.order = order
        self.strings = b"\0"
        self.types = b""
        self.count = 0

    def string(self, text: str) -> int:
        if not text:
            return 0
        at = len(self.strings)
        self.strings += text.encode() + b"\0"
        return at

    def words(self, *words: int) -> bytes:
        return b"".join(struct.pack(self.order + "I", word & 0xFFFFFFFF) for word in words)

    def add(
        self, kind: int, name: str, size: int, *tail: int, count: int = 0, flag: bool = False
    ) -> int:
        info = kind << 24 | count | (flag << 31)
        self.types += self.words(self.string(name), info, size, *tail)
        self.count += 1
        return self.count

    def struct(
        self, name: str, size: int, *members: tuple[str, int, int], kind: int = STRUCT,
        flag: bool = False,
    ) -> int:  # fmt: skip
        tail = [word for text, t, at in members for word in (self.string(text), t, at)]
        return self.add(kind, name, size, *tail, count=len(members), flag=flag)

    def bytes(self, header: int = 24) -> bytes:
        types = len(self.types)
        head = struct.pack(
            self.order + "HBBIIIII", 0xEB9F, 1, 0, header, 0, types, types, len(self.strings)
        )
        return head.ljust(header, b"\0") + self.types + self.strings


def a_kernel(order: str = "<", header: int = 24) -> bytes:
    blob = Blob(order)
    number = blob.add(INT, "int", 4, 32)
    pointer = blob.add(POINTER, "", 0)
    array = blob.add(ARRAY, "", 0, number, number, 16)
    blob.add(FWD, "module", 0)
    head = blob.struct("list_head", 16, ("next", pointer, 0), ("prev", pointer, 64))
    alias = blob.add(TYPEDEF, "head_t", head)
    const = blob.add(CONST, "", alias)
    inner = blob.struct("", 8, ("low", number, 0), ("high", number, 32), kind=UNION)
    outer = blob.struct("", 16, ("", inner, 64))
    blob.struct(
        "module",
        128,
        ("state", number, 0),
        ("list", const, 64),
        ("", outer, 192),
        ("one", number, 3 << 24 | 321),
        ("array", array, 384),
        flag=True,
    )
    blob.add(FUNC, "list", 0)
    blob.add(VAR, "v", number, 1)
    blob.add(DECL_TAG, "t", number, 0)
    blob.add(ENUM, "small", 4, blob.string("A"), 5, blob.string("B"), -2, count=2, flag=True)
    blob.add(ENUM64, "wide", 8, blob.string("W"), 1, 2, blob.string("N"), -1, -1,
             count=2, flag=True)  # fmt: skip
    return blob.bytes(header)


@pytest.mark.parametrize(("order", "header"), [("<", 24), (">", 24), ("<", 32)])
def test_members_sizes_and_enumerators(order: str, header: int) -> None:
    btf = Btf.parse(a_kernel(order, header))
    assert len(btf) == 15
    assert btf.size("module") == 128
    assert btf.offset("module", "state") == 0
    assert btf.offset("module", "list") == 8
    assert btf.offset("module", "list.prev") == 16
    assert btf.offset("module", "high") == 24 + 8 + 4
    array = btf.member("module", "array")
    assert array is not None
    assert (btf.size_of(array), btf.length_of(array)) == (64, 16)
    field = btf.member("module", "one")
    assert field is not None
    assert (field.bit_offset, field.bit_size, field.offset) == (321, 3, 40)
    assert btf.enum_value("B") == -2
    assert btf.enum_value("W") == 2 << 32 | 1
    assert btf.enum_value("N") == -1


def test_what_is_missing_is_said() -> None:
    btf = Btf.parse(a_kernel())
    assert btf.member("module", "core_layout") is None
    assert btf.member("module", "state.deeper") is None
    with pytest.raises(BtfError, match="no member core_layout in module"):
        btf.offset("module", "core_layout")
    with pytest.raises(BtfError, match="no structure nothing"):
        btf.size("nothing")
    with pytest.raises(BtfError, match="no enumerator C"):
        btf.enum_value("C")


def test_a_name_may_be_the_end_of_another() -> None:
    blob = Blob()
    number = blob.add(INT, "int", 4, 32)
    blob.struct("outer_list", 4, ("x", number, 0))
    # The second structure's name is the tail of the first's, as a linker merges strings.
    at = blob.strings.index(b"list")
    blob.types += blob.words(at, STRUCT << 24 | 1, 8, blob.strings.index(b"x"), number, 32)
    btf = Btf.parse(blob.bytes())
    assert btf.size("list") == 8
    assert btf.offset("list", "x") == 4


def test_types_that_go_round_in_circles_end() -> None:
    blob = Blob()
    blob.add(TYPEDEF, "a", 2)
    blob.add(TYPEDEF, "b", 1)
    blob.struct("s", 8, ("", 3, 0), ("m", 1, 0))
    array = blob.add(ARRAY, "", 0, 4, 4, 2)
    blob.struct("t", 8, ("m", array, 0))
    btf = Btf.parse(blob.bytes())
    assert btf.member("s", "absent") is None
    for structure in ("s", "t"):
        member = btf.member(structure, "m")
        assert member is not None
        with pytest.raises(BtfError, match="without a size"):
            btf.size_of(member)


def test_size_is_known_from_the_head() -> None:
    data = a_kernel()
    assert btf_size(data[:24]) == len(data)
    assert btf_size(b"\x7fELF" + bytes(20)) is None
    assert btf_size(data[:20]) is None


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_in_words(data: bytes) -> None:
    for text in (data, a_kernel()[:24] + data):
        try:
            btf = Btf.parse(text)
        except BtfError:
            continue
        btf.member("module", "list")


@settings(max_examples=200)
@given(st.data())
def test_damaged_types_are_refused_or_answer(data: st.DataObject) -> None:
    blob = bytearray(a_kernel())
    for _ in range(data.draw(st.integers(1, 4))):
        blob[data.draw(st.integers(0, len(blob) - 1))] = data.draw(st.integers(0, 255))
    try:
        btf = Btf.parse(bytes(blob))
        btf.offset("module", "high")
        member = btf.member("module", "array")
        if member is not None:
            btf.size_of(member)
        btf.enum_value("N")
    except BtfError:
        pass


SOURCE = """
#include <stddef.h>
#include <stdio.h>
typedef struct { int p, q; } pair_t;
struct subject {
    char c; const pair_t pair; union { long l; struct { short s, t; }; };
    unsigned a : 3, b : 7; pair_t many[5]; void *pointer;
};
enum { FIRST = -3, SECOND = 70000 };
struct subject it; enum { THIRD = 9 } third;
#define SHOW(m) printf(#m " %zu %zu\\n", offsetof(struct subject, m), sizeof it.m)
int main(void) {
    SHOW(c); SHOW(pair); SHOW(pair.q); SHOW(l); SHOW(t); SHOW(many); SHOW(pointer);
    printf("size %zu\\n", sizeof it);
}
"""


def test_agrees_with_the_compiler(tmp_path: Path) -> None:
    if shutil.which("gcc") is None or shutil.which("objcopy") is None:
        pytest.skip("gcc and objcopy are not installed")
    (tmp_path / "s.c").write_text(SOURCE)
    made = subprocess.run(
        ["gcc", "-gbtf", "-O0", "-o", "s", "s.c"], cwd=tmp_path, capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip(f"this gcc writes no BTF: {made.stderr.decode()[:200]}")
    subprocess.run(["objcopy", "--dump-section", ".BTF=btf", "s", "copy"], cwd=tmp_path, check=True)
    btf = Btf.parse((tmp_path / "btf").read_bytes())
    said = subprocess.run([tmp_path / "s"], capture_output=True, check=True, text=True).stdout
    for line in said.splitlines()[:-1]:
        name, offset, size = line.split()
        member = btf.member("subject", name)
        assert member is not None
        assert (name, member.offset, btf.size_of(member)) == (name, int(offset), int(size))
    assert btf.size("subject") == int(said.split()[-1])
    field = btf.member("subject", "b")
    assert field is not None
    assert field.bit_size == 7
    assert btf.enum_value("THIRD") == 9
