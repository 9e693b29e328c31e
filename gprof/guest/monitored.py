"""A running virtual machine seen through its monitor, which need not stop it."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from gprof.errors import PermissionProblem, ProtocolError, TargetError, UsageError
from gprof.guest.architectures import Architecture, VcpuState, described
from gprof.guest.isolation import Isolation
from gprof.guest.lazy_stub import LazyStub
from gprof.guest.live_registers import LiveRegisters
from gprof.guest.machine import Machine, Sampled
from gprof.guest.mode import Mode
from gprof.guest.monitor import Monitor
from gprof.guest.monitor_registers import Reading, states, x86_64
from gprof.guest.process_memory import ProcessMemory
from gprof.guest.run_state import RunState
from gprof.guest.running_stacks import RunningStacks
from gprof.guest.vcpu_threads import VcpuThreads
from gprof.guest.walked_memory import WalkedMemory
from gprof.guest.watched_tasks import WatchedTasks
from symbols.entry_trampoline import Trampoline
from symbols.memory import Memory
from symbols.names import printable
from symbols.paging import (
    NoTables,
    PageTables,
    RiscV64Tables,
    S390xTables,
)
from symbols.slide import Anchor
from symbols.tasks import CurrentPlaces

#: Seconds for which a root is believed: it is a process's, and when that ends, its tables become
#: something else. Some have one of the kernel's own, and asking for it stops the guest.
_ROOT_LIFETIME = 0.05
_KERNELS_OWN_ROOT = frozenset({"aarch64", "s390x"})


@dataclass(frozen=True, slots=True)
class MonitoredVcpu:
    """A vcpu as the monitor names it.

    Attributes:
        index: QEMU's cpu-index, from 0.
        thread: id of its thread on QEMU's host.
    """

    index: int
    thread: int


@dataclass(frozen=True, slots=True)
class Look:
    """The answer to one question for registers.

    Attributes:
        sampled: where each vcpu stood; they are asked one after the other.
        asked_ns: CLOCK_MONOTONIC before the question.
        answered_ns: after the answer.
    """

    sampled: list[Sampled]
    asked_ns: int
    answered_ns: int


class MonitoredMachine:
    """What a monitor gives access to.

    Attributes:
        monitor_client: the connection; closed with this.
        run_state: whether the guest runs; for the thread that samples.
        architecture: of the vcpus.
        vcpus: by index.
        name: of the guest as QEMU knows it; may be empty.
        accelerated: a hypervisor runs the guest's instructions; False for emulation (TCG).
        memory: the kernel's virtual memory.
        memory_way: how that is read, in a few words.
        why_packets: why not out of QEMU's own memory; None where it is.

    Raises:
        TargetError: the vcpus are of an architecture that gprof does not know.
    """

    def __init__(self, monitor: Monitor) -> None:
        self.monitor_client = monitor
        self.run_state = RunState(monitor)
        self.architecture = self._learn_architecture()
        self.vcpus = self._list_vcpus()
        name = monitor.execute("query-name")
        self.name = printable(str(name.get("name", ""))) if isinstance(name, dict) else ""
        kvm = monitor.execute("query-kvm")
        enabled = kvm.get("enabled") if isinstance(kvm, dict) else None
        self.accelerated: bool | None = enabled if isinstance(enabled, bool) else None
        self._stub = LazyStub(monitor)
        self._process: ProcessMemory | None = None
        self._stacks: RunningStacks | None = None
        self.why_packets: TargetError | PermissionProblem | None = None
        self._tasks: WatchedTasks | None = None
        self._isolation = Isolation(self.register, self._physical)
        self.memory: Memory = self._choose_memory()
        emulated = self._process if self.accelerated is False else None
        self._registers = LiveRegisters(monitor, self.architecture.name, emulated)

    @property
    def memory_way(self) -> str:
        """How the guest's memory is read."""
        if self._process is not None:
            return f"read out of QEMU's own memory (process {self._process.pid})"
        return "read through the gdbstub, which stops the guest for every read"

    @property
    def registers_from_memory(self) -> bool:
        """Whether QEMU is not even asked for the registers: they are read in its memory, by now."""
        return self._registers.place_known

    @property
    def reads_ram_alone(self) -> bool:
        """Whether its memory is read out of QEMU's own, and no device can be met."""
        return self._process is not None

    def lend(self, machine: Machine) -> None:
        """Give it the same guest through its stub, connected; who made that closes it."""
        self._stub.lend(machine)

    def take_back(self) -> None:
        """The machine that was lent is closed; the guest goes on being seen by the monitor."""
        self._stub.take_back()

    def through_stub(self) -> Machine:
        """The same guest through its stub, which is opened for this if it is not yet.

        Raises:
            TargetError: it cannot be opened, or somebody else uses it.
        """
        return self._stub.machine()

    def fresh_memory(self) -> Memory:
        """The same memory for reading what changes: it knows of no read before.

        Raises:
            TargetError: it can be read through the gdbstub alone, and that cannot be opened.
        """
        if self._process is not None:
            return self._walked(self._process)
        return self._stub.machine().fresh_memory()

    @property
    def stops_it(self) -> bool:
        """Whether the gdbstub was needed, whose connection and reads stop the guest."""
        return self._stub.opened

    def _learn_architecture(self) -> Architecture:
        said = self.monitor_client.execute("query-target")
        return described(str(said.get("arch", "")) if isinstance(said, dict) else "")

    def _list_vcpus(self) -> tuple[MonitoredVcpu, ...]:
        said = self.monitor_client.execute("query-cpus-fast")
        found = {
            one["cpu-index"]: MonitoredVcpu(one["cpu-index"], int(one.get("thread-id") or 0))
            for one in (said if isinstance(said, list) else [])
            if isinstance(one, dict) and isinstance(one.get("cpu-index"), int)
        }
        if not found:
            raise ProtocolError("the monitor lists no vcpus")
        return tuple(vcpu for _, vcpu in sorted(found.items()))

    def _choose_memory(self) -> Memory:
        if self.architecture.name not in {"x86_64", "aarch64", "riscv64", "s390x"}:
            self.why_packets = TargetError(
                f"where {self.architecture.name} has its page tables is not known to the monitor"
            )
            return self._stub
        try:
            self._process = ProcessMemory.open(self.monitor_client)
        except (TargetError, PermissionProblem) as error:
            self.why_packets = error
            return self._stub
        return self._walked(self._process)

    def _physical(self) -> Memory:
        return self._process if self._process is not None else self._stub.machine().physical

    def trampoline(self) -> Trampoline | None:
        """Of aarch64: what user mode has of a kernel that hides itself, where that is mapped."""
        return self._isolation.trampoline() if self.architecture.name == "aarch64" else None

    def _walked(self, physical: ProcessMemory) -> WalkedMemory:
        lifetime = math.inf if self.architecture.name in _KERNELS_OWN_ROOT else _ROOT_LIFETIME
        return WalkedMemory(physical, lambda fresh: self.tables(fresh=fresh), lifetime)

    def choose(self, indices: Sequence[int] | None) -> tuple[int, ...]:
        """The vcpus of these indices, or all.

        Raises:
            UsageError: the guest has no vcpu of that index.
        """
        known = [vcpu.index for vcpu in self.vcpus]
        missing = sorted(set(indices or ()) - set(known))
        if missing:
            raise UsageError(
                f"the guest has no vcpu {', '.join(map(str, missing))}",
                f"It has {', '.join(map(str, known))}.",
            )
        return tuple(sorted(set(indices)) if indices else known)

    def follow_tasks(self, places: CurrentPlaces | None) -> bool:
        """Tell from now on which task each vcpu runs, too; whether that can be told.

        Args:
            places: where the guest's kernel keeps that; None to tell it no more.
        """
        self._tasks = None
        if places is None:
            return False
        if self._process is None or self.architecture.name not in {"x86_64", "aarch64", "s390x"}:
            return False
        vcpus = [vcpu.index for vcpu in self.vcpus]
        virtual = self._walked(self._process)
        self._tasks = WatchedTasks(self.architecture.name, places, vcpus, virtual, self._process)
        return True

    @property
    def why_no_looks(self) -> TargetError | None:
        """Why its registers must not be asked for while it runs; None where they may be.

        For an emulated s390x QEMU works the condition code out of fields that the vcpu is just
        changing, and writes it back (s390_cpu_get_psw_mask, since QEMU 6.1): 7.2 and 10.0 were
        seen to end with a failed assertion after some dozens of questions.
        """
        if self.architecture.name != "s390x" or self.accelerated:
            return None
        return TargetError(
            "QEMU may end, and the guest with it, when its monitor is asked for the registers of "
            "an emulated s390x that runs",
            "Give --gdb, with --qmp or without: the stub asks while the guest stands.",
        )

    def sample(self, vcpus: Sequence[int]) -> Look:
        """Where the vcpus stand, without stopping any for longer than it takes to read it.

        Raises:
            TargetError: they must not be asked; see `why_no_looks`.
        """
        if (problem := self.why_no_looks) is not None:
            raise problem
        before = self._running_tasks()
        asked = time.monotonic_ns()
        read = self._registers.read()
        answered = time.monotonic_ns()
        standing = states(read, self.architecture.name)
        stacks = self._read_stacks(read, standing, vcpus)  # at once: they change
        # One that was there before and after was there in between.
        after = self._running_tasks()
        self._see_bases(read)
        sampled = []
        for index in vcpus:
            one = stacks.get(index) or Sampled(index, standing.get(index))
            task = before.get(index, 0)
            same = task and after.get(index) == task
            sampled.append(replace(one, task=task) if same else one)
        return Look(sampled, asked, answered)

    def read_stacks(self, most: int | None) -> bool:
        """Read the stack of every vcpu in the kernel with each sample; whether that can be done.

        Args:
            most: bytes of a stack to read at most; None for none from now on.
        """
        self._stacks = None
        if most is not None and self.why_no_stacks is None:
            assert self._process is not None
            self._stacks = RunningStacks(self.architecture, self._process, most)
        return self._stacks is not None

    @property
    def why_no_stacks(self) -> str | None:
        """Why stacks cannot be read while the guest runs; None where they can."""
        if self.architecture.name != "x86_64":
            return f"through the monitor none are taken of {self.architecture.name}"
        if self._process is None:
            return "through the monitor none are taken where QEMU's memory cannot be read"
        return None

    def _read_stacks(
        self,
        read: Mapping[int, Reading],
        standing: Mapping[int, VcpuState | None],
        vcpus: Sequence[int],
    ) -> dict[int, Sampled]:
        found: dict[int, Sampled] = {}
        if self._stacks is None:
            return found
        tables = self.tables()
        for index in vcpus:
            state = standing.get(index)
            if state is None or state.mode not in {Mode.KERNEL, Mode.IDLE}:
                continue
            stack = self._stacks.read(read[index], tables)
            if stack is not None:
                found[index] = Sampled(index, state, *stack)
        return found

    def _running_tasks(self) -> Mapping[int, int]:
        if self._tasks is None:
            return {}
        if self._tasks.must_learn():
            self._tasks.learn(self.tables())
        return self._tasks.read()

    def _see_bases(self, read: Mapping[int, Reading]) -> None:
        """Learn which vcpu is which cpu of Linux, where registers tell."""
        if self._tasks is None or self.architecture.name != "x86_64":
            return
        for index, one in read.items():
            if base := one("gs base"):
                self._tasks.seen_base(index, base)

    def threads(self) -> VcpuThreads:
        """The threads of this host that run the vcpus, as far as they are to be seen."""
        peer = self.monitor_client.peer()
        running = {vcpu.index: vcpu.thread for vcpu in self.vcpus}
        return VcpuThreads.of_process(peer[0] if peer else 0, running)

    def monitor(self, command: str) -> str:
        """The output of a command of QEMU's monitor."""
        return self.monitor_client.human_monitor(command)

    def register(self, name: str) -> int | None:
        """A register of the first vcpu by name, through the stub; None where there is none."""
        try:
            return self._stub.machine().register(name)
        except TargetError:
            return None

    def anchor(self) -> Anchor | None:
        """Where the kernel has a symbol, by a register; None where none can tell."""
        address = self.architecture.vector(self)
        if address and self.architecture.name == "aarch64":
            address = self._isolation.vectors(address)
        return Anchor(self.architecture.vector_symbols, address) if address else None

    def tables(self, *, fresh: bool = False) -> list[PageTables]:
        """The roots of the page tables that the vcpus use now, the kernel's view of them.

        Args:
            fresh: ask even where a sample has just told.
        """
        if self.architecture.name == "aarch64":
            kernel = self._isolation.tables()
            return [kernel] if kernel is not None else []
        if self.architecture.name == "s390x":
            home = self.register("cr13")  # the kernel's address space, whatever else runs
            return [S390xTables(home) if home else NoTables()]
        read = self._registers.recent(0.0 if fresh else _ROOT_LIFETIME).values()
        if self.architecture.name == "riscv64":
            return [RiscV64Tables(root) for one in read if (root := one("satp"))]
        # Those that translate nothing come last.
        found = dict.fromkeys(table for one in read for table in x86_64.tables(one))
        return sorted(found, key=lambda table: isinstance(table, NoTables))

    def forget(self) -> None:
        """Drop what was kept of its memory, as after a reset."""
        self._registers.forget()
        self._isolation.forget()
        if self._process is not None:
            self._process.refresh()
        if isinstance(self.memory, WalkedMemory | LazyStub):
            self.memory.forget()
        if self._tasks is not None:
            self._tasks.forget()

    def close(self) -> None:
        """Let go of the guest, as it was found. May be called again."""
        self._stub.close()
        if self._process is not None:
            self._process.close()
        self.monitor_client.close()
