"""Frame pointers and back chains, on stacks made by hand and on anything at all."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from symbols.memory import BytesMemory
from symbols.unwinding.backchain import S390xFrames, ppc64, s390x
from symbols.unwinding.frame_pointer import (
    FramePointerUnwinder,
    LinkPrologue,
    X86Prologue,
    strip_signature,
)
from symbols.unwinding.riscv64 import Made, RiscV64Unwinder, RiscVFrames
from symbols.unwinding.roots import Roots
from symbols.unwinding.stack import MOST_FRAMES, CapturedWords, Ending, Registers, Unwinder

CODE = 0xFFFF_8000_0800_0000
TEXT = ((CODE, CODE + 0x10000),)
STACK = 0xFFFF_8000_1000_0000
USER_ENTRY = (CODE + 0x5000, CODE + 0x5100)
IDLE_ENTRY = (CODE + 0x6000, CODE + 0x6100)
ROOTS = Roots(idle=(IDLE_ENTRY,), user=(USER_ENTRY,))


def words(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}Q", *values)


def start_of(pc: int) -> int | None:
    """Functions of 256 bytes."""
    return pc & ~0xFF if CODE <= pc < TEXT[0][1] else None


#: Functions that have made their frames before anything else.
FRAMES = S390xFrames(
    start_of,
    BytesMemory([(CODE, bytes.fromhex("ebbff0700024e3f0ff40ff71").ljust(256, b"\7") * 256)]),
)


def unwound(
    unwinder: Unwinder, registers: Registers, stack: bytes, *, big_endian: bool = False
) -> tuple[tuple[int, ...], Ending]:
    found = unwinder.unwind(registers, CapturedWords([(STACK, stack)], big_endian=big_endian))
    return found.pcs, found.ending


def x86(code: bytes = b"") -> FramePointerUnwinder:
    prologue = X86Prologue(start_of, BytesMemory([(CODE, code.ljust(0x1000, b"\x90"))]))
    return FramePointerUnwinder(text=TEXT, roots=ROOTS, prologue=prologue, encoded=True)


def test_frames_are_followed_to_the_empty_one() -> None:
    stack = words(STACK + 24, CODE + 0x205, 0xA, STACK + 40, CODE + 0x305, 0, CODE + 0x405)
    pcs, ending = unwound(x86(), Registers(CODE + 0x150, STACK, STACK), stack)
    assert pcs == (CODE + 0x150, CODE + 0x205, CODE + 0x305, CODE + 0x405)
    assert ending is Ending.START


@pytest.mark.parametrize(
    ("code", "into", "below"),
    [
        (b"\x55\x48\x89\xe5", 0, ()),  # push %rbp is next
        (b"\x55\x48\x89\xe5", 1, (STACK + 64,)),  # it is done, mov %rsp, %rbp is next
        (b"\xf3\x0f\x1e\xfa\x55\x48\x89\xe5", 0, ()),
        (b"\xf3\x0f\x1e\xfa\x55\x48\x89\xe5", 4, ()),
        (b"\xf3\x0f\x1e\xfa\x55\x48\x89\xe5", 5, (STACK + 64,)),
        (b"\x55\x48\x89\xe5\x90\x5d\xc3", 6, ()),  # ret is next
    ],
)
def test_no_caller_is_lost_at_the_ends_of_a_function(
    code: bytes, into: int, below: tuple[int, ...]
) -> None:
    stack = words(*below, CODE + 0x205).ljust(64, b"\0") + words(0, CODE + 0x305)
    pcs, ending = unwound(x86(code), Registers(CODE + into, STACK, STACK + 64), stack)
    assert pcs == (CODE + into, CODE + 0x205, CODE + 0x305)
    assert ending is Ending.START


def test_a_marked_frame_pointer_leads_through_saved_registers() -> None:
    saved = [0] * 21
    saved[4], saved[16], saved[17] = STACK + 200, CODE + 0x300, 0x10
    stack = words(STACK + 16 | 1, CODE + 0x205, *saved).ljust(200, b"\0") + words(0, CODE + 0x405)
    found = x86().unwind(Registers(CODE + 0x150, STACK, STACK), CapturedWords([(STACK, stack)]))
    assert found.pcs == (CODE + 0x150, CODE + 0x205, CODE + 0x300, CODE + 0x405)
    assert found.exact == (2,)
    saved[17] = 0x33
    stack = words(STACK + 16 | 1, CODE + 0x205, *saved)
    pcs, ending = unwound(x86(), Registers(CODE + 0x150, STACK, STACK), stack)
    assert pcs[-1] == CODE + 0x300
    assert ending is Ending.USER


STP = 0xA9BE7BFD  # stp x29, x30, [sp, #-32]!
LDP = 0xA8C27BFD  # ldp x29, x30, [sp], #32
NOP, RET, PACIASP = 0xD503201F, 0xD65F03C0, 0xD503233F


@pytest.mark.parametrize(
    ("code", "into", "by_link"),
    [
        ([PACIASP, STP, NOP], 0, True),
        ([PACIASP, STP, NOP], 4, True),
        ([PACIASP, STP, NOP], 8, False),
        ([NOP, NOP, NOP], 8, True),  # calls nothing: never saves it
        ([STP, NOP, LDP, RET], 8, False),
        ([STP, NOP, LDP, RET], 12, True),
    ],
)
def test_aarch64_takes_the_link_register_while_it_is_not_saved(
    code: list[int], into: int, by_link: bool
) -> None:
    text = struct.pack(f"<{len(code)}I", *code).ljust(0x400, b"\0")
    unwinder = FramePointerUnwinder(
        text=TEXT,
        roots=ROOTS,
        prologue=LinkPrologue(start_of, BytesMemory([(CODE, text)]), strip_signature),
        strip=strip_signature,
    )
    signed = CODE + 0x205 & 0x0080_FFFF_FFFF_FFFF | 0xAB00_0000_0000_0000
    stack = words(STACK + 16, CODE + 0x305 & 0x00FF_FFFF_FFFF_FFFF, 0, CODE + 0x5010)
    registers = Registers(CODE + into, STACK, STACK, {"link": signed})
    pcs, ending = unwound(unwinder, registers, stack)
    link = (CODE + 0x205,) if by_link else ()
    assert pcs == (CODE + into, *link, CODE + 0x305, CODE + 0x5010)
    assert ending is Ending.USER  # by the function that it ends in


def test_aarch64_takes_no_link_register_where_user_space_enters() -> None:
    entry = USER_ENTRY[0]
    unwinder = FramePointerUnwinder(
        text=TEXT,
        roots=ROOTS,
        prologue=LinkPrologue(lambda _: entry, BytesMemory([(entry, bytes(64))]), strip_signature),
        strip=strip_signature,
    )
    registers = Registers(entry + 8, STACK, 0x7FF0_1234_5670, {"link": CODE + 0x204})
    assert unwound(unwinder, registers, b"") == ((entry + 8,), Ending.USER)


#: addi sp,sp,-32; sd s0,16(sp); sd ra,24(sp); addi s0,sp,32
#: ld ra,24(sp); ret
RISCV = {
    "sp": "01 11", "s0": "22 e8", "ra": "06 ec", "fp": "00 10", "load": "e2 60", "ret": "82 80",
}  # fmt: skip
RISCV_WIDE = {
    "sp": "13 01 01 fe", "s0": "23 38 81 00", "ra": "23 3c 11 00", "fp": "13 04 01 02",
    "load": "83 30 81 01", "ret": "67 80 00 00",
}  # fmt: skip


@pytest.mark.parametrize("form", [RISCV, RISCV_WIDE])
@pytest.mark.parametrize(
    ("before", "made"),
    [
        ("", Made.NOTHING),
        ("sp s0 ra", Made.NOTHING),
        ("sp ra s0 fp", Made.WHOLE),
        ("sp s0 fp", Made.WITHOUT_LINK),
        ("sp ra s0 fp load", Made.NOTHING),
        ("sp ra s0 fp load sp", Made.NOTHING),
        ("sp ra s0 fp load ret", Made.WHOLE),
    ],
)
def test_riscv_code_tells_what_a_frame_holds(form: dict[str, str], before: str, made: Made) -> None:
    code = bytes.fromhex("".join(form[one] for one in before.split()))
    frames = RiscVFrames(lambda pc: CODE, BytesMemory([(CODE, code + bytes(8))]))
    assert frames.made(CODE + len(code)) is made


def riscv(*functions: tuple[int, str]) -> RiscV64Unwinder:
    """An unwinder of code in which these functions begin so, and others with a whole frame."""
    pieces = dict.fromkeys(range(CODE, CODE + 0x8000, 256), "011106ec22e80010")
    pieces |= dict(functions)
    code = BytesMemory([(at, bytes.fromhex(one).ljust(256, b"\1")) for at, one in pieces.items()])
    entry = (CODE + 0x3000, CODE + 0x3100)
    return RiscV64Unwinder(RiscVFrames(start_of, code), TEXT, ROOTS, (entry,))


def test_riscv_has_its_words_below_the_frame_pointer() -> None:
    stack = words(STACK + 48, CODE + 0x205, 7, 7, 0, CODE + 0x6010)
    pcs, ending = unwound(riscv(), Registers(CODE + 0x150, STACK, STACK + 16), stack)
    assert pcs == (CODE + 0x150, CODE + 0x205, CODE + 0x6010)
    assert ending is Ending.IDLE


def test_riscv_leaves_have_their_caller_in_a_register() -> None:
    link = {"link": CODE + 0x205}
    # One that calls nothing has saved the frame pointer alone; at its start none has.
    stack = words(0x3, STACK + 32, 0, CODE + 0x6010)
    leaf = riscv((CODE + 0x100, "011122e80010"))
    assert unwound(leaf, Registers(CODE + 0x150, STACK, STACK + 16, link), stack)[0] == (
        CODE + 0x150, CODE + 0x205, CODE + 0x6010,
    )  # fmt: skip
    stack = words(0, 0, 0, CODE + 0x6010)
    pcs, _ = unwound(riscv(), Registers(CODE + 0x100, STACK, STACK + 32, link), stack)
    assert pcs == (CODE + 0x100, CODE + 0x205, CODE + 0x6010)


@pytest.mark.parametrize(("status", "ending"), [(0x0, Ending.USER), (0x100, Ending.IDLE)])
def test_riscv_goes_through_an_exception(status: int, ending: Ending) -> None:
    frames = bytearray(1024)

    def put(at: int, value: int) -> None:
        struct.pack_into("<Q", frames, at, value)

    put(16, 0)
    put(24, CODE + 0x3010)  # of the handler; behind it the registers it was called with
    put(32, CODE + 0x200)  # interrupted at its first instruction
    put(32 + 8, CODE + 0x6010)
    put(32 + 16, STACK + 512)
    put(32 + 256, status)
    found = riscv().unwind(
        Registers(CODE + 0x150, STACK, STACK + 32), CapturedWords([(STACK, bytes(frames))])
    )
    kernel = (CODE + 0x6010,) if status else ()
    assert found.pcs == (CODE + 0x150, CODE + 0x3010, CODE + 0x200, *kernel)
    assert (found.ending, found.exact) == (ending, (2,))


def test_s390x_goes_through_an_interruption_to_user_space() -> None:
    frame = bytearray(1024)

    def put(at: int, value: int) -> None:
        struct.pack_into(">Q", frame, at, value)

    put(152, STACK + 200)  # the caller's frame
    put(200 + 136, CODE + 0x205)
    put(200 + 168, 0x0404_0001_8000_0000)  # status word of interrupted kernel code: mask, address
    put(200 + 176, CODE + 0x300)
    put(200 + 184 + 8 * 15, STACK + 512)  # its %r15
    put(512 + 168, 0x0705_0001_8000_0000)  # user space
    put(512 + 176, 0x1000)
    found = s390x(TEXT, ROOTS, FRAMES).unwind(
        Registers(CODE + 0x150, STACK, STACK),
        CapturedWords([(STACK, bytes(frame))], big_endian=True),
    )
    assert found.pcs == (CODE + 0x150, CODE + 0x205, CODE + 0x300, 0x1000)
    assert (found.ending, found.exact) == (Ending.USER, (2, 3))


#: stmg %r11,%r15,112(%r15); lay %r15,-192(%r15)
SAVE, LAY = "ebbff0700024", "e3f0ff40ff71"


@pytest.mark.parametrize(
    ("before", "without"),
    [
        ("", 0),
        ("c00400000000" + SAVE, 0),  # jgnop; it has not called, and may not
        ("e3f0f0900024" + LAY, 192),  # stg %r15,144(%r15)
        (SAVE + LAY, None),
        ("e3e0f0880024" + LAY, None),  # stg %r14,136(%r15)
        ("e3e0f0980024" + LAY, 192),  # stg %r14,152(%r15) is the chain
        (SAVE + "a7fbff58", None),  # aghi %r15,-168
        ("a7fbff58", 168),
        ("c2f8ffffff00", 256),  # agfi %r15,-256
        (SAVE + LAY + "eb6ff1080004", 0),  # lmg %r6,%r15,264(%r15), before `br %r14`
        (SAVE + LAY + "eb6ff108000407fe", None),  # and what lies behind it
        ("e320f0a00071", 0),  # lay %r2,160(%r15)
    ],
)
def test_s390x_code_tells_what_a_frame_holds(before: str, without: int | None) -> None:
    code = bytes.fromhex(before)
    frames = S390xFrames(lambda pc: CODE, BytesMemory([(CODE, code + bytes(8))]))
    assert frames.without_link(CODE + len(code)) == without


def test_s390x_leaves_with_and_without_a_frame_have_callers() -> None:
    chain = bytearray(1024)
    struct.pack_into(">Q", chain, 512 + 152, STACK + 800)
    struct.pack_into(">Q", chain, 800 + 136, CODE + 0x405)
    code = BytesMemory([(CODE, bytes.fromhex("a7fbff58") + bytes(4096))])
    unwinder = s390x(TEXT, ROOTS, S390xFrames(lambda pc: CODE, code))
    word = CapturedWords([(STACK, bytes(chain))], big_endian=True)
    for into, sp in ((0, 512), (4, 512 - 168)):
        found = unwinder.unwind(
            Registers(CODE + into, STACK + sp, STACK + sp, {"link": CODE + 0x205}), word
        )
        assert found.pcs[:3] == (CODE + into, CODE + 0x205, CODE + 0x405)


def test_code_that_enters_the_kernel_is_entered_from_user_space() -> None:
    at = ROOTS.user[0][0]
    nothing = CapturedWords([])
    for unwinder in (s390x(TEXT, ROOTS, FRAMES), FramePointerUnwinder(text=TEXT, roots=ROOTS)):
        found = unwinder.unwind(Registers(at, 0x7FFF_0000, 0x7FFF_0000), nothing)
        assert (found.pcs, found.ending) == ((at,), Ending.USER)


def test_ppc64_ends_at_the_empty_chain() -> None:
    stack = words(STACK + 32, 0, 0, 0, STACK + 64, 0, CODE + 0x205, 0, 0, 0, CODE + 0x6010)
    pcs, ending = unwound(ppc64(TEXT, ROOTS), Registers(CODE + 0x150, STACK, STACK), stack)
    assert pcs == (CODE + 0x150, CODE + 0x205, CODE + 0x6010)
    assert ending is Ending.IDLE


VALUES = st.one_of(
    st.integers(STACK - 8, STACK + 600),
    st.integers(STACK // 8, STACK // 8 + 70).map(lambda n: 8 * n),
    st.integers(CODE, CODE + 0x7000),
    st.sampled_from([0, STACK | 1, STACK + 64 | 1]),
    st.integers(0, 2**64 - 1),
)
UNWINDERS: list[Unwinder] = [
    x86(b"\x55\x48\x89\xe5"),
    FramePointerUnwinder(
        text=TEXT,
        roots=ROOTS,
        prologue=LinkPrologue(start_of, BytesMemory([(CODE, bytes(4096))]), strip_signature),
        strip=strip_signature,
    ),
    riscv((CODE + 0x100, "011122e80010")),
    s390x(TEXT, ROOTS, FRAMES),
    ppc64(TEXT, ROOTS),
]


@settings(max_examples=300)
@given(
    st.sampled_from(UNWINDERS),
    st.tuples(VALUES, VALUES, VALUES),
    st.none() | VALUES,
    st.lists(VALUES, max_size=70),
)
def test_whatever_memory_holds_there_is_an_end(
    unwinder: Unwinder, registers: tuple[int, int, int], link: int | None, memory: list[int]
) -> None:
    start = Registers(*registers, {"link": link} if link is not None else {})
    found = unwinder.unwind(start, CapturedWords([(STACK, words(*memory))]))
    assert found.pcs[0] == start.pc
    assert 1 <= len(found.pcs) <= MOST_FRAMES + 1
    assert isinstance(found.ending, Ending)
    assert all(0 < place < len(found.pcs) for place in found.exact)
