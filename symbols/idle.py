"""Which kernel functions mean that a vcpu has nothing to do."""

from __future__ import annotations

#: `symbol__is_idle` of tools/perf/util/symbol.c (Linux 6.12), and the paravirtual halt, which
#: perf does not know and most x86 guests use.
_IDLE = frozenset(
    {
        "acpi_idle_do_entry",
        "acpi_processor_ffh_cstate_enter",
        "arch_cpu_idle",
        "cpu_idle",
        "cpu_startup_entry",
        "idle_cpu",
        "intel_idle",
        "intel_idle_ibrs",
        "default_idle",
        "native_safe_halt",
        "pv_native_safe_halt",
        "enter_idle",
        "exit_idle",
        "mwait_idle",
        "mwait_idle_with_hints",
        "mwait_idle_with_hints.constprop.0",
        "poll_idle",
        "ppc64_runlatch_off",
        "pseries_dedicated_idle_sleep",
        "psw_idle",
        "psw_idle_exit",
    }
)


def is_idle(name: str) -> bool:
    """Whether a vcpu inside this kernel function waits for something to do."""
    return name in _IDLE
