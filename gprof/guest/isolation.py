"""The tables of a running arm64 kernel, which hides itself from programs on some processors."""

from __future__ import annotations

from collections.abc import Callable

from symbols.entry_trampoline import Trampoline, find_trampoline, kernel_tables, vectors_behind
from symbols.memory import Memory
from symbols.paging import AArch64Tables

#: The address in TTBR1_EL1, without the number of the address space.
_ADDRESS = (1 << 48) - 1
#: A kernel has two roots, and some more while it boots.
_MOST_KEPT = 64


class Isolation:
    """Finds the kernel's own tables whatever the vcpus run.

    Args:
        register: tells a register of the first vcpu by name; None where there is none.
        physical: the guest's RAM as it is now.
    """

    def __init__(
        self, register: Callable[[str], int | None], physical: Callable[[], Memory]
    ) -> None:
        self._register = register
        self._physical = physical
        self._kernels: dict[tuple[int, int], AArch64Tables] = {}
        self._trampoline: Trampoline | None = None

    def tables(self) -> AArch64Tables | None:
        """The kernel's tables; None where nothing tells of them."""
        root, control = self._register("TTBR1_EL1"), self._register("TCR_EL1")
        if not root or not control:
            return None
        seen = AArch64Tables(root, control)  # in user mode perhaps without the kernel
        key = seen.root & _ADDRESS, seen.control
        if (known := self._kernels.get(key)) is not None:
            return known
        found = kernel_tables(self._physical(), seen)
        if found is not None and len(self._kernels) < _MOST_KEPT:
            self._kernels[key] = found
        return found

    def trampoline(self) -> Trampoline | None:
        """What is left in user mode of a kernel that hides itself; None where none is mapped."""
        if self._trampoline is None and (kernel := self.tables()) is not None:
            self._trampoline = find_trampoline(self._physical(), kernel)
        return self._trampoline

    def in_user_mode(self, address: int) -> bool:
        """Whether a vcpu in user mode has the kernel's memory at an address, as far as known."""
        return self._trampoline is not None and address in self._trampoline

    def vectors(self, address: int) -> int | None:
        """The kernel's vectors, where a register has these.

        Returns:
            None where they are the trampoline's and it does not tell.
        """
        trampoline, kernel = self.trampoline(), self.tables()
        if trampoline is None or kernel is None or address not in trampoline:
            return address
        return vectors_behind(self._physical(), kernel, trampoline, kernel.page_bits or 0)

    def forget(self) -> None:
        """Drop what was learnt, as after a reset."""
        self._kernels.clear()
        self._trampoline = None
