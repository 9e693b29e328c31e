"""Names of VM-exit reasons: the recording's own tables first, those below where it has none.

The kernel prints an exit with a table of names in the tracepoint's format, and that table is in
the recording: it knows reasons that are newer than this file. Sources of the tables below, all
of Linux 6.12: arch/x86/include/uapi/asm/vmx.h and svm.h, arch/arm64/include/asm/kvm_asm.h and
esr.h, arch/riscv/include/asm/csr.h, arch/s390/include/uapi/asm/sie.h,
arch/powerpc/kvm/trace_book3s.h.
"""

from __future__ import annotations

from collections.abc import Mapping

from gprof.perfdata import PerfData
from gprof.perfdata.symbolic import SymbolicTable
from gprof.sampling import exit_events as events
from gprof.sampling.exit_events import ExitEvent
from symbols.names import printable

#: `isa` of kvm_exit: KVM_ISA_VMX and KVM_ISA_SVM of arch/x86/kvm/trace.h.
_VMX, _SVM = 1, 2


def _numbered(names: str, first: int = 0) -> dict[int, str]:
    """Names of consecutive numbers; a dash stands where a number has none."""
    return {number: name for number, name in enumerate(names.split(), first) if name != "-"}


_VMX_NAMES = _numbered(
    """EXCEPTION_NMI EXTERNAL_INTERRUPT TRIPLE_FAULT INIT_SIGNAL SIPI_SIGNAL - -
    INTERRUPT_WINDOW NMI_WINDOW TASK_SWITCH CPUID - HLT INVD INVLPG RDPMC RDTSC - VMCALL
    VMCLEAR VMLAUNCH VMPTRLD VMPTRST VMREAD VMRESUME VMWRITE VMOFF VMON CR_ACCESS DR_ACCESS
    IO_INSTRUCTION MSR_READ MSR_WRITE INVALID_STATE MSR_LOAD_FAIL - MWAIT_INSTRUCTION
    MONITOR_TRAP_FLAG - MONITOR_INSTRUCTION PAUSE_INSTRUCTION MCE_DURING_VMENTRY -
    TPR_BELOW_THRESHOLD APIC_ACCESS EOI_INDUCED GDTR_IDTR LDTR_TR EPT_VIOLATION EPT_MISCONFIG
    INVEPT RDTSCP PREEMPTION_TIMER INVVPID WBINVD XSETBV APIC_WRITE RDRAND INVPCID VMFUNC
    ENCLS RDSEED PML_FULL XSAVES XRSTORS - - UMWAIT TPAUSE - - - - - BUS_LOCK NOTIFY - TDCALL
    - - - - - - MSR_READ_IMM MSR_WRITE_IMM"""
)
_EXCEPTIONS = _numbered("DE DB - BP OF BR UD NM DF - TS NP SS GP PF - MF AC MC XF", 0x40)
_SVM_NAMES = {
    **{0x00 + n: f"read_cr{n}" for n in (0, 2, 3, 4, 8)},
    **{0x10 + n: f"write_cr{n}" for n in (0, 2, 3, 4, 8)},
    **{0x20 + n: f"read_dr{n}" for n in range(8)},
    **{0x30 + n: f"write_dr{n}" for n in range(8)},
    **{number: f"{name} excp" for number, name in _EXCEPTIONS.items()},
    **_numbered(
        """interrupt nmi smi init vintr cr0_sel_write read_idtr read_gdtr read_ldtr read_rt
        write_idtr write_gdtr write_ldtr write_rt rdtsc rdpmc pushf popf cpuid rsm iret swint
        invd pause hlt invlpg invlpga io msr task_switch ferr_freeze shutdown vmrun hypercall
        vmload vmsave stgi clgi skinit rdtscp icebp wbinvd monitor mwait - xsetbv -
        write_efer_trap write_cr0_trap - - - write_cr4_trap - - - write_cr8_trap""",
        0x60,
    ),
    **_numbered("npf avic_incomplete_ipi avic_unaccelerated_access vmgexit", 0x400),
    0xA2: "invpcid",
    0xFFFFFFFF: "invalid_guest_state",
}
_ARM_RETURNS = {0: "IRQ", 1: "SERROR", 2: "TRAP", 3: "ILLEGAL", 0xBADCA11: "HYP_GONE"}
_ARM_TRAP = 2
_ARM_CLASSES = {
    0x00: "UNKNOWN", 0x01: "WFx", 0x03: "CP15_32", 0x04: "CP15_64", 0x05: "CP14_MR",
    0x06: "CP14_LS", 0x07: "FP_ASIMD", 0x08: "CP10_ID", 0x09: "PAC", 0x0C: "CP14_64",
    0x0E: "ILL", 0x11: "SVC32", 0x12: "HVC32", 0x13: "SMC32", 0x15: "SVC64", 0x16: "HVC64",
    0x17: "SMC64", 0x18: "SYS64", 0x19: "SVE", 0x1A: "ERET", 0x1F: "IMP_DEF",
    0x20: "IABT_LOW", 0x21: "IABT_CUR", 0x22: "PC_ALIGN", 0x24: "DABT_LOW", 0x25: "DABT_CUR",
    0x26: "SP_ALIGN", 0x28: "FP_EXC32", 0x2C: "FP_EXC64", 0x2F: "SERROR",
    0x30: "BREAKPT_LOW", 0x31: "BREAKPT_CUR", 0x32: "SOFTSTP_LOW", 0x33: "SOFTSTP_CUR",
    0x34: "WATCHPT_LOW", 0x35: "WATCHPT_CUR", 0x38: "BKPT32", 0x3A: "VECTOR32", 0x3C: "BRK64",
}  # fmt: skip
_RISCV_CAUSES = {
    0: "INST_MISALIGNED", 1: "INST_ACCESS", 2: "INST_ILLEGAL", 3: "BREAKPOINT",
    4: "LOAD_MISALIGNED", 5: "LOAD_ACCESS", 6: "STORE_MISALIGNED", 7: "STORE_ACCESS",
    8: "SYSCALL", 9: "HYPERVISOR_SYSCALL", 10: "SUPERVISOR_SYSCALL", 12: "INST_PAGE_FAULT",
    13: "LOAD_PAGE_FAULT", 15: "STORE_PAGE_FAULT", 20: "INST_GUEST_PAGE_FAULT",
    21: "LOAD_GUEST_PAGE_FAULT", 22: "VIRTUAL_INST_FAULT", 23: "STORE_GUEST_PAGE_FAULT",
}  # fmt: skip
#: The topmost bit of scause tells an interrupt; its number is the rest (privileged spec, 4.1.8).
_RISCV_INTERRUPT = 1 << 63
_RISCV_INTERRUPTS = {1: "SOFT", 2: "VS_SOFT", 5: "TIMER", 6: "VS_TIMER", 9: "EXTERNAL"}
_S390_INTERCEPTS = {
    0x00: "Host interruption", 0x04: "Instruction", 0x08: "Program interruption",
    0x0C: "Instruction and program interruption", 0x10: "External request",
    0x14: "External interruption", 0x18: "I/O request", 0x1C: "Wait state", 0x20: "Validity",
    0x28: "Stop request", 0x2C: "Operation exception", 0x38: "Partial-execution",
    0x3C: "I/O interruption", 0x40: "I/O instruction", 0x48: "Timing subset",
}  # fmt: skip
_POWERPC_TRAPS = {
    0x000: "RETURN_TO_HOST", 0x100: "SYSTEM_RESET", 0x200: "MACHINE_CHECK",
    0x300: "DATA_STORAGE", 0x380: "DATA_SEGMENT", 0x400: "INST_STORAGE", 0x480: "INST_SEGMENT",
    0x500: "EXTERNAL", 0x501: "EXTERNAL_LEVEL", 0x502: "EXTERNAL_HV", 0x600: "ALIGNMENT",
    0x700: "PROGRAM", 0x800: "FP_UNAVAIL", 0x900: "DECREMENTER", 0x980: "HV_DECREMENTER",
    0xC00: "SYSCALL", 0xD00: "TRACE", 0xE00: "H_DATA_STORAGE", 0xE20: "H_INST_STORAGE",
    0xE40: "H_EMUL_ASSIST", 0xF00: "PERFMON", 0xF20: "ALTIVEC", 0xF40: "VSX",
}  # fmt: skip
_S390_REFINED = {
    events.INSTRUCTION: ("kvm:kvm_s390_intercept_instruction", "instruction"),
    events.SIGP: ("kvm:kvm_s390_handle_sigp", "SIGP"),
    events.DIAGNOSE: ("kvm:kvm_s390_handle_diag", "DIAG"),
    events.PROGRAM: ("kvm:kvm_s390_intercept_prog", "program interruption"),
}


class ExitReasons:
    """Names the keys of one measurement.

    Args:
        perf: the recording, for its own tables and its processor.
        event: what is measured.
        architecture: of the recording, as `uname -m` names it.
        cpu: its CPUID feature, which tells Intel from AMD where the exits do not.
    """

    def __init__(self, perf: PerfData, event: ExitEvent, architecture: str, cpu: str = "") -> None:
        self._perf = perf
        self._event = event
        self._architecture = events.known_architecture(architecture)
        self._default_isa = _VMX if "Intel" in cpu else _SVM
        self._tables: dict[str, list[SymbolicTable]] = {}

    @property
    def measures(self) -> str:
        """`guest` where the time is spent in the guest up to an exit, else `host`."""
        in_guest = self._architecture in {"aarch64", "riscv64"}
        return "guest" if in_guest and self._event is ExitEvent.VMEXIT else "host"

    def name(self, key: int, detail: int) -> str:
        """What happened, safe to show.

        Args:
            key: as the exit's column `key` has it.
            detail: as its column `detail` has it.
        """
        if self._event is ExitEvent.MMIO:
            return f"{key:#x}:{'W' if detail == events.MMIO_WRITE else 'R'}"
        if self._event is ExitEvent.IOPORT:
            # KVM_PIO_IN is 0 and KVM_PIO_OUT 1 (arch/x86/kvm/trace.h).
            return f"{key:#x}:{'POUT' if detail else 'PIN'}"
        if self._event is ExitEvent.MSR:
            return f"{key:#x}:{'W' if detail else 'R'}"
        if self._event is ExitEvent.HCALL:
            return self._from_file("kvm_hv:kvm_hcall_enter", "", key) or f"hcall {key:#x}"
        naming = {
            "x86_64": self._x86, "aarch64": self._arm, "riscv64": self._riscv,
            "s390x": self._s390, "ppc64le": self._powerpc,
        }[self._architecture]  # fmt: skip
        return naming(key, detail) or f"reason {key:#x}"

    def _x86(self, key: int, isa: int) -> str:
        """Intel's reasons have flags above bit 15: a failed entry, an enclave, a bus lock."""
        isa = isa if isa in {_VMX, _SVM} else self._default_isa
        key &= 0xFFFFFFFF
        tables = [t for t in self._own("kvm:kvm_exit") if "exit_reason" in t.expression]
        number = key & 0xFFFF if isa == _VMX else key
        told = tables[isa - 1].names if len(tables) >= 2 else {}
        known = _VMX_NAMES if isa == _VMX else _SVM_NAMES
        name = _look_up(told, number) or _look_up(known, number)
        failed = isa == _VMX and key >> 31
        return f"{name or f'reason {number:#x}'} (failed entry)" if failed else name

    def _arm(self, key: int, exception_class: int) -> str:
        key &= 0xFFFFFFFF
        if key == _ARM_TRAP:
            name = self._from_file("kvm:kvm_exit", "esr_ec", exception_class)
            return name or _look_up(_ARM_CLASSES, exception_class)
        return self._from_file("kvm:kvm_exit", "ret", key) or _look_up(_ARM_RETURNS, key)

    def _riscv(self, key: int, _: int) -> str:
        if key & _RISCV_INTERRUPT:
            number = key & 0xFFFF
            return f"IRQ {_RISCV_INTERRUPTS.get(number, number)}"
        return _look_up(_RISCV_CAUSES, key)

    def _s390(self, key: int, table: int) -> str:
        if table in _S390_REFINED:
            tracepoint, kind = _S390_REFINED[table]
            if table == events.INSTRUCTION:
                key = decode_instruction(key)
            return self._from_file(tracepoint, "", key) or f"{kind} {key:#x}"
        name = self._from_file("kvm:kvm_s390_sie_exit", "icptcode", key)
        return name or _look_up(_S390_INTERCEPTS, key)

    def _powerpc(self, key: int, _: int) -> str:
        name = self._from_file("kvm_hv:kvm_guest_exit", "trap", key)
        return name or _look_up(_POWERPC_TRAPS, key)

    def _from_file(self, tracepoint: str, field: str, key: int) -> str:
        for table in self._own(tracepoint):
            if field in table.expression:
                return _look_up(table.names, key)
        return ""

    def _own(self, tracepoint: str) -> list[SymbolicTable]:
        if tracepoint not in self._tables:
            known = self._perf.tracing.find(tracepoint)
            if known is None:
                return []
            self._tables[tracepoint] = known.tables()
        return self._tables[tracepoint]


def decode_instruction(instruction: int) -> int:
    """The key of an intercepted s390x instruction, given as a left-aligned word.

    Source: icpt_insn_decoder in arch/s390/include/uapi/asm/sie.h.
    """
    first = instruction >> 56
    shift, mask = {
        0x01: (48, 0xFF), 0xAA: (48, 0x0F), 0xB2: (48, 0xFF), 0xB9: (48, 0xFF),
        0xE3: (48, 0xFF), 0xE5: (48, 0xFF), 0xEB: (16, 0xFF), 0xC8: (48, 0x0F),
    }.get(first, (0, 0))  # fmt: skip
    return first << 8 | (instruction >> shift & mask) if mask else first


def _look_up(names: Mapping[int, str], key: int) -> str:
    """A name, the key taken as signed where the table is; empty where there is none."""
    for number in (key, key - (1 << 32)):
        name = names.get(number, "-")
        if name != "-":
            return printable(name)
    return ""
