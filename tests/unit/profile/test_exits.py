"""VM-exit statistics on made-up events of every architecture."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gprof.errors import UsageError
from gprof.perfdata import EventType, Feature, PerfData, SampleField
from gprof.profile.exit_reasons import ExitReasons, decode_instruction
from gprof.profile.exit_summary import ExitGroup, ExitSort, ExitTable
from gprof.profile.exits import ExitReader, Exits, exit_table, pair
from gprof.sampling.exit_events import ExitColumns, ExitEvent, Role, plan
from symbols.space import AddressSpace, ImageKind, LoadedImage
from symbols.table import Symbol, SymbolTable
from tests import perf_writer as write

RAW = write.GUEST_SAMPLE | SampleField.RAW
KERNEL = 0xFFFF_FFFF_8100_0000
Formats = dict[str, tuple[int, tuple[tuple[str, str, int, int], ...], str]]


def recording(
    architecture: str,
    formats: Formats,
    happened: list[tuple[int, str, dict[str, int]]],
    *,
    system: str = "kvm",
    cpu: str = "",
    period: int = 1,
) -> PerfData:
    """A recording of tracepoints: time, name and fields of each event, all on one thread."""
    numbers = {name: 1 + i for i, name in enumerate(formats)}
    records = b""
    for time, name, values in happened:
        raw = bytearray(80)
        for field, _, at, size in formats[name][1]:
            raw[at : at + size] = values.get(field, 0).to_bytes(size, "little")
        records += write.sample(
            sample_type=RAW, misc=1, number=numbers[name], time=time, raw=bytes(raw), period=period
        )
    data = write.perf_file(
        records,
        attributes=tuple(
            write.attribute(kind=EventType.TRACEPOINT, config=one[0], sample_type=RAW)
            for one in formats.values()
        ),
        ids=tuple((number,) for number in numbers.values()),
        features={
            Feature.TRACING_DATA: write.TracingWriter(formats, system).data(),
            Feature.ARCH: write.counted("<", architecture),
            Feature.CPUID: write.counted("<", cpu),
        },
    )
    return PerfData.from_file(io.BytesIO(data))


def table_of(perf: PerfData, event: ExitEvent = ExitEvent.VMEXIT, **options: object) -> ExitTable:
    reader = ExitReader(perf, event)
    for _ in reader.read():
        pass
    return exit_table(reader.exits(), reader.reasons(), notes=reader.notes(), **options)  # type: ignore[arg-type]


def counted(table: ExitTable) -> dict[str, tuple[int, int]]:
    return {row.reason: (row.count, row.total_ns) for row in table.rows}


X86: Formats = {
    **write.KVM_FORMATS,
    "kvm_mmio": (1003, (("type", "u32", 8, 4), ("gpa", "u64", 16, 8)), ""),
    "kvm_pio": (1004, (("rw", "u32", 8, 4), ("port", "u32", 12, 4)), ""),
    "kvm_msr": (1005, (("write", "u32", 8, 4), ("ecx", "u32", 12, 4)), ""),
}
HLT = {"exit_reason": 0x78, "isa": 2, "guest_rip": KERNEL + 5, "vcpu_id": 3}
NPF = {"exit_reason": 0x400, "isa": 2, "guest_rip": KERNEL + 25, "vcpu_id": 3}
ENTRY: dict[str, int] = {"vcpu_id": 3, "rip": KERNEL}


def test_an_exit_lasts_until_the_entry_that_follows() -> None:
    happened = [
        (1, "kvm_exit", HLT),  # before the first entry: nobody knows the thread
        (5, "kvm_entry", ENTRY),
        (10, "kvm_exit", HLT),
        (40, "kvm_entry", ENTRY),
        (50, "kvm_entry", ENTRY),  # an end without its begin
        (60, "kvm_exit", NPF),  # a begin without its end
        (70, "kvm_exit", HLT),
        (80, "kvm_entry", ENTRY),
        (90, "kvm_exit", NPF),
        (97, "kvm_entry", ENTRY),
    ]
    table = table_of(recording("x86_64", X86, happened))
    assert counted(table) == {"hlt": (2, 40), "npf": (1, 7)}
    assert (table.events, table.total_ns, table.unpaired, table.measures) == (3, 47, 1, "host")
    hlt = table.rows[0]
    assert (hlt.min_ns, hlt.max_ns, hlt.mean_ns, hlt.p50_ns, hlt.p99_ns) == (10, 30, 20.0, 10, 30)
    assert hlt.deviation_percent == pytest.approx(50.0)  # of 10 and 30: stddev 14.14 / sqrt 2 / 20
    assert hlt.share_percent == pytest.approx(200 / 3)


def test_accesses_are_told_apart_by_address_and_direction() -> None:
    happened: list[tuple[int, str, dict[str, int]]] = [
        (1, "kvm_entry", ENTRY),
        (10, "kvm_exit", NPF),
        (14, "kvm_mmio", {"type": 1, "gpa": 0xFEE0}),  # a read ends here
        (20, "kvm_entry", ENTRY),
        (30, "kvm_exit", NPF),
        (31, "kvm_mmio", {"type": 0, "gpa": 0x1}),  # one that is not satisfied
        (33, "kvm_mmio", {"type": 2, "gpa": 0xFEE0}),  # a write begins here
        (40, "kvm_entry", ENTRY),
        (50, "kvm_pio", {"rw": 1, "port": 0x3F8}),
        (53, "kvm_entry", ENTRY),
        (60, "kvm_pio", {"rw": 0, "port": 0x3F8}),
        (62, "kvm_entry", ENTRY),
        (70, "kvm_msr", {"write": 1, "ecx": 0x6E0}),
        (71, "kvm_entry", ENTRY),
    ]
    expected = {
        ExitEvent.MMIO: {"0xfee0:R": (1, 4), "0xfee0:W": (1, 7)},
        ExitEvent.IOPORT: {"0x3f8:POUT": (1, 3), "0x3f8:PIN": (1, 2)},
        ExitEvent.MSR: {"0x6e0:W": (1, 1)},
    }
    for event, rows in expected.items():
        table = table_of(recording("x86_64", X86, happened), event)
        assert counted(table) == rows
        assert table.unpaired == 0


@pytest.mark.parametrize(
    ("cpu", "reason", "isa", "name"),
    [
        ("GenuineIntel,6", 12, 1, "HLT"),
        ("GenuineIntel,6", 48, 1, "EPT_VIOLATION"),  # not in the file's table
        ("GenuineIntel,6", 12, 0, "HLT"),  # a kernel without the field
        ("AuthenticAMD,23", 0x78, 0, "hlt"),
        ("", 0x80000021, 1, "INVALID_STATE (failed entry)"),
        ("", 0x04000000 | 12, 1, "HLT"),
        ("", 0x4E, 2, "PF excp"),
        ("", 0xFFFFFFFF, 2, "invalid_guest_state"),
        ("", 0x9999, 2, "reason 0x9999"),
    ],
)
def test_reasons_of_x86(cpu: str, reason: int, isa: int, name: str) -> None:
    happened: list[tuple[int, str, dict[str, int]]] = [
        (1, "kvm_entry", {}),
        (2, "kvm_exit", {"exit_reason": reason, "isa": isa}),
        (3, "kvm_entry", {}),
    ]
    assert list(counted(table_of(recording("x86_64", X86, happened, cpu=cpu)))) == [name]


def test_on_arm_the_time_is_the_guest_s_and_is_called_so() -> None:
    formats: Formats = {
        "kvm_entry": (1, (("vcpu_pc", "u64", 8, 8),), ""),
        "kvm_exit": (
            2,
            (("ret", "int", 8, 4), ("esr_ec", "u32", 12, 4), ("vcpu_pc", "u64", 16, 8)),
            '"%s", __print_symbolic(REC->ret, {0, "IRQ"}, {1, "told by the file"})',
        ),
    }
    happened = [
        (1, "kvm_entry", {"vcpu_pc": 1}),
        (5, "kvm_exit", {"ret": 2, "esr_ec": 0x24, "vcpu_pc": 9}),
        (6, "kvm_entry", {"vcpu_pc": 1}),
        (16, "kvm_exit", {"ret": 0}),
        (20, "kvm_entry", {}),
        (21, "kvm_exit", {"ret": 1}),
    ]
    table = table_of(recording("aarch64", formats, happened))
    assert counted(table) == {"DABT_LOW": (1, 4), "IRQ": (1, 10), "told by the file": (1, 1)}
    assert table.measures == "guest"
    assert {row.vcpu for row in table.rows} == {None}


def test_on_riscv_interrupts_are_no_exceptions() -> None:
    formats: Formats = {
        "kvm_entry": (1, (("pc", "u64", 8, 8),), ""),
        "kvm_exit": (2, (("sepc", "u64", 8, 8), ("scause", "u64", 16, 8)), ""),
    }
    happened: list[tuple[int, str, dict[str, int]]] = [
        (1, "kvm_entry", {}),
        (3, "kvm_exit", {"scause": 21}),
        (4, "kvm_entry", {}),
        (5, "kvm_exit", {"scause": 1 << 63 | 5}),
    ]
    table = table_of(recording("riscv64", formats, happened))
    assert counted(table) == {"LOAD_GUEST_PAGE_FAULT": (1, 2), "IRQ TIMER": (1, 1)}


def test_on_s390x_what_happens_in_between_says_more() -> None:
    formats: Formats = {
        "kvm_s390_sie_enter": (1, (("id", "u32", 8, 4),), ""),
        "kvm_s390_sie_exit": (2, (("id", "u32", 8, 4), ("icptcode", "u8", 12, 1)), ""),
        "kvm_s390_intercept_instruction": (
            3,
            (("instruction", "u64", 8, 8),),
            '"%s", __print_symbolic(icpt_insn_decoder(REC->instruction), {0xb2 + 0xb1b2, "LPSWE"})',
        ),
        "kvm_s390_handle_diag": (
            4,
            (("code", "u16", 8, 2),),
            '"%s", __print_symbolic(REC->code, {0x44, "DIAG (0x44) time slice end"})',
        ),
    }
    happened: list[tuple[int, str, dict[str, int]]] = [
        (1, "kvm_s390_sie_enter", {"id": 2}),
        (10, "kvm_s390_sie_exit", {"id": 2, "icptcode": 0x1C}),
        (19, "kvm_s390_sie_enter", {"id": 2}),
        (20, "kvm_s390_sie_exit", {"id": 2, "icptcode": 0x04}),
        (21, "kvm_s390_intercept_instruction", {"instruction": 0x83 << 56}),
        (22, "kvm_s390_handle_diag", {"code": 0x44}),
        (25, "kvm_s390_sie_enter", {"id": 2}),
        (30, "kvm_s390_sie_exit", {"id": 2, "icptcode": 0x04}),
        (31, "kvm_s390_intercept_instruction", {"instruction": 0x83 << 56}),
        (32, "kvm_s390_sie_enter", {"id": 2}),
    ]
    table = table_of(recording("s390x", formats, happened))
    assert counted(table) == {
        "Wait state": (1, 9), "DIAG (0x44) time slice end": (1, 5), "instruction 0x83": (1, 2)
    }  # fmt: skip
    assert decode_instruction(0xB2B2 << 48) == 0xB2B2
    assert decode_instruction(0xEB << 56 | 0x25 << 16) == 0xEB25


def test_on_powerpc_calls_of_the_hypervisor_are_an_event_of_their_own() -> None:
    formats: Formats = {
        "kvm_guest_enter": (1, (("vcpu_id", "int", 8, 4),), ""),
        "kvm_guest_exit": (2, (("vcpu_id", "int", 8, 4), ("trap", "int", 12, 4)), ""),
        "kvm_hcall_enter": (
            3, (("req", "u64", 8, 8),), '"%s", __print_symbolic(REC->req, {0xe0, "H_CEDE"})'
        ),
        "kvm_hcall_exit": (4, (("ret", "u64", 8, 8),), ""),
    }  # fmt: skip
    happened: list[tuple[int, str, dict[str, int]]] = [
        (1, "kvm_guest_enter", {}),
        (2, "kvm_guest_exit", {"trap": 0xC00}),
        (3, "kvm_hcall_enter", {"req": 0xE0}),
        (8, "kvm_hcall_exit", {}),
        (9, "kvm_guest_enter", {}),
        (10, "kvm_hcall_enter", {"req": 0x999}),
        (11, "kvm_hcall_exit", {}),
    ]
    perf = recording("ppc64le", formats, happened, system="kvm_hv")
    assert counted(table_of(perf)) == {"SYSCALL": (1, 7)}
    perf = recording("ppc64le", formats, happened, system="kvm_hv")
    assert counted(table_of(perf, ExitEvent.HCALL)) == {"H_CEDE": (1, 5), "hcall 0x999": (1, 1)}


def test_an_architecture_without_the_event_is_refused() -> None:
    with pytest.raises(UsageError, match="no events hcall"):
        plan("x86_64", ExitEvent.HCALL)
    with pytest.raises(UsageError, match="KVM of vax"):
        plan("vax", ExitEvent.VMEXIT)


def test_a_recording_without_the_events_says_how_to_make_one() -> None:
    table = table_of(recording("x86_64", {"kvm_fpu": (9, (), "")}, [(1, "kvm_fpu", {})]))
    assert table.rows == ()
    assert "perf kvm stat record" in table.notes[0]


def test_a_sample_of_the_events_is_called_one() -> None:
    happened = [(1, "kvm_entry", ENTRY), (2, "kvm_exit", HLT), (3, "kvm_entry", ENTRY)]
    table = table_of(recording("x86_64", X86, happened, period=7))
    assert "not every event was recorded" in table.notes[0]


def made_up() -> tuple[Exits, ExitReasons]:
    happened = [(0, "kvm_entry", ENTRY)]
    for i in range(1, 9):
        reason = HLT if i % 2 else NPF
        happened.append((100 * i, "kvm_exit", {**reason, "vcpu_id": i % 3}))
        happened.append((100 * i + i, "kvm_entry", {"vcpu_id": i % 3}))
    reader = ExitReader(recording("x86_64", X86, happened))
    for _ in reader.read():
        pass
    return reader.exits(), reader.reasons()


def test_rows_are_kept_apart_by_what_is_asked_for() -> None:
    exits, reasons = made_up()
    functions = SymbolTable.of(
        [Symbol("default_idle", KERNEL, KERNEL + 16), Symbol("memset", KERNEL + 16, KERNEL + 32)]
    )
    image = LoadedImage("[kernel]", ImageKind.KERNEL, KERNEL, KERNEL + 4096, functions)
    spaces = {0: AddressSpace([image])}
    table = exit_table(
        exits, reasons, by=(ExitGroup.SYMBOL, ExitGroup.REASON), sort=ExitSort.COUNT, spaces=spaces
    )
    assert [(row.symbol, row.reason, row.count) for row in table.rows] == [
        ("default_idle", "hlt", 4),
        ("memset", "npf", 4),
    ]
    by_vcpu = exit_table(exits, reasons, by=(ExitGroup.VCPU,), sort=ExitSort.MAX)
    assert [(row.guest, row.vcpu, row.max_ns) for row in by_vcpu.rows] == [
        (0, 2, 8), (0, 1, 7), (0, 0, 6)
    ]  # fmt: skip
    assert {row.symbol for row in by_vcpu.rows} == {None}
    unknown = exit_table(exits, reasons, by=(ExitGroup.SYMBOL,))
    assert [row.symbol for row in unknown.rows] == [None]
    assert len(exit_table(exits, reasons, by=()).rows) == 1


def test_an_interval_holds_what_ended_in_it() -> None:
    exits, reasons = made_up()
    late = exits.since(705)
    assert late.time.tolist() == [707, 808]
    assert exit_table(late, reasons).events == 2


@pytest.mark.parametrize("sort", list(ExitSort))
def test_every_order_falls(sort: ExitSort) -> None:
    exits, reasons = made_up()
    rows = exit_table(exits, reasons, sort=sort).rows
    assert [row.reason for row in rows] == (
        ["hlt", "npf"] if sort in {ExitSort.COUNT, ExitSort.REASON} else ["npf", "hlt"]
    )


@given(
    st.lists(
        st.tuples(st.integers(0, 20), st.integers(0, 2), st.sampled_from([1, 2, 3])), max_size=40
    )
)
def test_pairing_is_what_a_walk_through_the_events_gives(
    happened: list[tuple[int, int, int]],
) -> None:
    """Against the state machine of perf, step by step."""
    count = len(happened)
    role = np.array([r for _, _, r in happened], np.uint8)
    columns = ExitColumns(
        time=np.array([t for t, _, _ in happened], np.int64),
        guest=np.zeros(count, np.uint16),
        tid=np.array([t for _, t, _ in happened], np.int32),
        vcpu=np.full(count, -1, np.int32),
        role=role,
        entry=role == Role.END,
        keyed=role != Role.END,
        key=np.arange(count, dtype=np.uint64),
        detail=np.zeros(count, np.uint64),
        pc=np.zeros(count, np.uint64),
    )
    expected = []
    for tid in range(3):
        known, begun, key = False, None, 0
        mine = [i for i in range(count) if happened[i][1] == tid]
        for i in sorted(mine, key=lambda i: happened[i][0]):
            time, _, kind = happened[i]
            known |= kind == Role.END
            if not known:
                continue
            if kind == Role.BEGIN:
                begun, key = time, i
            elif kind == Role.REFINE:
                key = i
            elif begun is not None:
                expected.append((time - begun, key))
                begun = None
    found = pair([columns] if count else [])
    assert sorted(zip(found.duration.tolist(), found.key.tolist(), strict=True)) == sorted(expected)
    assert found.time.tolist() == sorted(found.time.tolist())
