"""Functions in which a kernel does nothing."""

from __future__ import annotations

import re

#: The list of perf (tools/perf/util/symbol.c, symbol__is_idle), and the same kind of function
#: of other kernels and architectures.
_PERF = frozenset({
    "acpi_idle_do_entry", "acpi_processor_ffh_cstate_enter", "arch_cpu_idle", "cpu_idle",
    "cpu_startup_entry", "idle_cpu", "intel_idle", "intel_idle_ibrs", "default_idle",
    "native_safe_halt", "enter_idle", "exit_idle", "mwait_idle", "mwait_idle_with_hints",
    "poll_idle", "ppc64_runlatch_off", "pseries_dedicated_idle_sleep", "psw_idle",
    "psw_idle_exit",
})  # fmt: skip
_MORE = frozenset({
    "acpi_idle_enter", "acpi_safe_halt", "acpi_processor_ffh_lpi_enter", "amd_e400_idle",
    "cpu_do_idle", "cpuidle_idle_call", "default_enter_idle", "default_idle_call", "do_idle",
    "intel_idle_hlt", "intel_idle_hlt_irq_on", "intel_idle_irq", "intel_idle_s2idle",
    "intel_idle_xstate", "native_halt", "pv_native_safe_halt", "xen_safe_halt",
    "kvm_arch_cpu_idle", "tdx_safe_halt", "tdx_halt",
    "arch_cpu_idle_enter", "arch_cpu_idle_exit", "psci_cpu_suspend_enter",
    "enabled_wait", "snooze_loop", "stop_loop", "cede_processor", "dedicated_cede_loop",
    "shared_cede_loop", "check_and_cede_processor", "power7_idle", "power9_idle",
    "power9_idle_type", "arch300_idle_type",
})  # fmt: skip

IDLE_FUNCTIONS = _PERF | _MORE
#: What compilers append to the name of a copy: `.constprop.0`, `.isra.0`, `.llvm.123`.
_SUFFIX = re.compile(r"(\.(constprop|isra|part|cold|llvm|lto_priv)(\.\d+)?)+")


def is_idle(name: str) -> bool:
    """A pc in the function of this name means that the vcpu had nothing to do."""
    dot = name.find(".")
    if dot > 0 and _SUFFIX.fullmatch(name, dot):
        name = name[:dot]
    return name in IDLE_FUNCTIONS
