from __future__ import annotations

import pytest

from symbols.idle import is_idle


@pytest.mark.parametrize(
    "name",
    [
        "default_idle",
        "pv_native_safe_halt",
        "intel_idle_ibrs",
        "psw_idle",
        "cpu_do_idle",
        "mwait_idle_with_hints.constprop.0",
        "acpi_idle_do_entry.isra.0",
        "default_idle.llvm.1234567",
        "poll_idle.part.0.cold",
    ],
)
def test_idle(name: str) -> None:
    assert is_idle(name)


@pytest.mark.parametrize(
    "name", ["", "schedule", "default_idle2", "my_default_idle", "default_idle.data", ".cold"]
)
def test_not_idle(name: str) -> None:
    assert not is_idle(name)
