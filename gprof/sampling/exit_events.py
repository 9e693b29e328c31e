"""VM exits and entries as columns, out of the tracepoints of any architecture's KVM.

Which tracepoint begins and which ends what is measured follows `perf kvm stat`. On x86, s390x
and powerpc that is the host's handling, from exit to entry. On arm64 and riscv perf measures the
time in the guest, from an entry to the exit that ends it, and so do we, saying so.

Source: tools/perf/arch/*/util/kvm-stat.c and arch/*/kvm/trace*.h of Linux 6.12.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from enum import IntEnum, StrEnum

import numpy as np
from numpy.typing import NDArray

from gprof.errors import UsageError
from gprof.perfdata import EventType, PerfData, Samples, Tracepoint


class ExitEvent(StrEnum):
    """What is counted and timed."""

    VMEXIT = "vmexit"
    MMIO = "mmio"
    IOPORT = "ioport"
    MSR = "msr"
    HCALL = "hcall"


class Role(IntEnum):
    """What a tracepoint is to a measurement."""

    BEGIN = 1
    END = 2
    REFINE = 3  # says more exactly what is going on between the two


@dataclass(frozen=True, slots=True)
class Step:
    """How one tracepoint takes part in a measurement.

    Attributes:
        tracepoint: its full name.
        role: what it does.
        key: the field that says what is measured; empty where another step says it.
        detail: a field that the key needs to be understood; 0 where the kernel lacks it.
        pc: the field with the guest's address; empty where there is none.
        only: `detail` must have this value, else the event counts for nothing.
        entry: from the first of these on a thread is known to run a vcpu.
        number: the detail to give the key instead of a field's: which table it belongs to.
    """

    tracepoint: str
    role: Role
    key: str = ""
    detail: str = ""
    pc: str = ""
    only: int | None = None
    entry: bool = False
    number: int = 0


_X86_ENTRY = Step("kvm:kvm_entry", Role.END, entry=True)
_X86_EXIT = Step("kvm:kvm_exit", Role.BEGIN, "exit_reason", "isa", "guest_rip")
_S390_ENTER = Step("kvm:kvm_s390_sie_enter", Role.END, entry=True)
_POWERPC_ENTER = Step("kvm_hv:kvm_guest_enter", Role.END, entry=True)

#: KVM_TRACE_MMIO_READ and KVM_TRACE_MMIO_WRITE of include/trace/events/kvm.h.
MMIO_READ, MMIO_WRITE = 1, 2
#: Which table of s390x a key belongs to: the intercept code itself, or what refines it.
INTERCEPT, INSTRUCTION, SIGP, DIAGNOSE, PROGRAM = range(5)

#: The measurements by architecture, as `uname -m` names it.
PLANS: dict[str, dict[ExitEvent, tuple[Step, ...]]] = {
    "x86_64": {
        ExitEvent.VMEXIT: (_X86_EXIT, _X86_ENTRY),
        ExitEvent.MMIO: (
            Step("kvm:kvm_exit", Role.BEGIN, pc="guest_rip"),
            Step("kvm:kvm_mmio", Role.END, "gpa", "type", only=MMIO_READ),
            Step("kvm:kvm_mmio", Role.BEGIN, "gpa", "type", only=MMIO_WRITE),
            _X86_ENTRY,
        ),
        ExitEvent.IOPORT: (Step("kvm:kvm_pio", Role.BEGIN, "port", "rw"), _X86_ENTRY),
        ExitEvent.MSR: (Step("kvm:kvm_msr", Role.BEGIN, "ecx", "write"), _X86_ENTRY),
    },
    "aarch64": {
        ExitEvent.VMEXIT: (
            Step("kvm:kvm_entry", Role.BEGIN, entry=True),
            Step("kvm:kvm_exit", Role.END, "ret", "esr_ec", "vcpu_pc"),
        ),
    },
    "riscv64": {
        ExitEvent.VMEXIT: (
            Step("kvm:kvm_entry", Role.BEGIN, entry=True),
            Step("kvm:kvm_exit", Role.END, "scause", pc="sepc"),
        ),
    },
    "s390x": {
        ExitEvent.VMEXIT: (
            Step("kvm:kvm_s390_sie_exit", Role.BEGIN, "icptcode", pc="pswaddr"),
            Step("kvm:kvm_s390_intercept_instruction", Role.REFINE, "instruction", number=1),
            Step("kvm:kvm_s390_handle_sigp", Role.REFINE, "order_code", number=2),
            Step("kvm:kvm_s390_handle_diag", Role.REFINE, "code", number=3),
            Step("kvm:kvm_s390_intercept_prog", Role.REFINE, "code", number=4),
            _S390_ENTER,
        ),
    },
    "ppc64le": {
        ExitEvent.VMEXIT: (
            Step("kvm_hv:kvm_guest_exit", Role.BEGIN, "trap", pc="pc"),
            _POWERPC_ENTER,
        ),
        ExitEvent.HCALL: (
            Step("kvm_hv:kvm_hcall_enter", Role.BEGIN, "req"),
            Step("kvm_hv:kvm_hcall_exit", Role.END),
        ),
    },
}
_SAME = {"amd64": "x86_64", "arm64": "aarch64", "ppc64": "ppc64le", "i686": "x86_64"}
_VCPU_FIELDS = ("vcpu_id", "id")


@dataclass(frozen=True, slots=True)
class ExitColumns:
    """Begins, ends and refinements as columns of equal length, in the order of the file.

    Attributes:
        time: nanoseconds.
        guest: number of the guest.
        tid: thread of the host; what begins on one ends on the same.
        vcpu: index of the vcpu, -1 where the tracepoint does not tell it.
        role: a `Role`.
        entry: the thread is known to run a vcpu from here on.
        keyed: `key` says something.
        key: what is measured.
        detail: what the key needs to be understood.
        pc: the guest's address; 0 where it is not told.
    """

    time: NDArray[np.int64]
    guest: NDArray[np.uint16]
    tid: NDArray[np.int32]
    vcpu: NDArray[np.int32]
    role: NDArray[np.uint8]
    entry: NDArray[np.bool_]
    keyed: NDArray[np.bool_]
    key: NDArray[np.uint64]
    detail: NDArray[np.uint64]
    pc: NDArray[np.uint64]

    def __len__(self) -> int:
        return len(self.time)

    @classmethod
    def concatenate(cls, parts: Sequence[ExitColumns]) -> ExitColumns:
        """All of several, in their order."""
        return cls(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(cls)))

    def take(self, chosen: NDArray[np.bool_] | NDArray[np.int64]) -> ExitColumns:
        """Those of a mask, or in another order."""
        return ExitColumns(*(getattr(self, f.name)[chosen] for f in fields(self)))


def known_architecture(name: str) -> str:
    """The name under which `PLANS` has an architecture; x86_64 where nothing is told."""
    return _SAME.get(name, name or "x86_64")


def plan(architecture: str, event: ExitEvent) -> tuple[Step, ...]:
    """The steps of a measurement.

    Raises:
        UsageError: the architecture has no such event.
    """
    plans = PLANS.get(known_architecture(architecture), {})
    if event not in plans:
        has = ", ".join(plans) or "none"
        raise UsageError(
            f"KVM of {architecture} has no events {event.value}", f"It has these: {has}."
        )
    return plans[event]


def steps_of(
    perf: PerfData, samples: Samples, steps: Sequence[Step]
) -> Iterator[tuple[Step, Tracepoint]]:
    """The steps that samples of one event take part in, with the event's format."""
    if samples.attribute.type != EventType.TRACEPOINT:
        return
    tracepoint = perf.tracing.tracepoints.get(samples.attribute.config)
    if tracepoint is None:
        return
    for step in steps:
        if step.tracepoint == tracepoint.full_name:
            yield step, tracepoint


def columns_of(
    samples: Samples, step: Step, tracepoint: Tracepoint, guest: NDArray[np.uint16]
) -> ExitColumns:
    """The samples of one tracepoint as one step sees them."""
    count = len(samples)
    detail = (
        _field(samples, tracepoint, step.detail)
        if step.detail
        else np.full(count, step.number, np.uint64)
    )
    found = ExitColumns(
        time=samples.time,
        guest=guest,
        tid=samples.tid,
        vcpu=vcpu_of(samples, tracepoint),
        role=np.full(count, step.role, np.uint8),
        entry=np.full(count, step.entry),
        keyed=np.full(count, bool(step.key)),
        key=_field(samples, tracepoint, step.key),
        detail=detail,
        pc=_field(samples, tracepoint, step.pc),
    )
    return found if step.only is None else found.take(detail == np.uint64(step.only))


def vcpu_of(samples: Samples, tracepoint: Tracepoint) -> NDArray[np.int32]:
    """The vcpu of each sample, -1 where the tracepoint does not tell it."""
    for name in _VCPU_FIELDS:
        if name in tracepoint.fields:
            return _field(samples, tracepoint, name).astype(np.int32)
    return np.full(len(samples), -1, np.int32)


def exit_pcs(
    perf: PerfData, samples: Samples
) -> tuple[NDArray[np.uint64], NDArray[np.int64]] | None:
    """The guest's address at each of these VM exits, and the vcpu (-1 where it is not told).

    None where the samples are of no tracepoint that tells it.
    """
    for plans in PLANS.values():
        for step, tracepoint in steps_of(perf, samples, plans[ExitEvent.VMEXIT]):
            if step.pc and step.pc in tracepoint.fields:
                pc = _field(samples, tracepoint, step.pc)
                return pc, vcpu_of(samples, tracepoint).astype(np.int64)
    return None


def _field(samples: Samples, tracepoint: Tracepoint, name: str) -> NDArray[np.uint64]:
    """An unsigned field of each sample; zeros where the tracepoint lacks it."""
    known = tracepoint.fields.get(name)
    if known is None or known.size not in {1, 2, 4, 8}:
        return np.zeros(len(samples), np.uint64)
    return samples.raw_field(known.offset, known.size).astype(np.uint64)
