"""A running virtual machine: its vcpus, what their registers mean, its memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from gprof.errors import ProtocolError, TargetError, UsageError
from gprof.guest.architectures import Architecture, VcpuState, described
from gprof.guest.current_tasks import CurrentTasks
from gprof.guest.dialogue import Exchange
from gprof.guest.entries import Entries
from gprof.guest.gdbstub import Stub
from gprof.guest.greeting import Vcpu
from gprof.guest.isolation import Isolation
from gprof.guest.memory import StubMemory
from gprof.guest.mode import Mode
from gprof.guest.registers import RegisterFile, read_description
from gprof.guest.rsp import is_error
from gprof.guest.stop import Stop
from gprof.guest.translated_memory import HideableMemory, PhysicalMemory, TranslatedMemory
from gprof.guest.vcpu_threads import VcpuThreads
from symbols.entry_trampoline import Trampoline
from symbols.paging import NoTables, PageTables, RiscV64Tables, S390xTables
from symbols.slide import Anchor
from symbols.tasks import CurrentPlaces
from symbols.unwinding.stack import Registers


@dataclass(frozen=True, slots=True)
class Sampled:
    """A vcpu's place at one stop.

    Attributes:
        vcpu: its index.
        state: where it stood; None where the stub could not tell.
        registers: to unwind its stack from; None where it was not in a kernel, or not asked for.
        memory: address and bytes of each piece of its stack that was read.
        again: the same, read a second time; of a vcpu that ran meanwhile.
        reply: all its registers as the stub sent them; see `Machine.values`.
        task: address of the structure of the task that it runs; 0 where unknown or not asked for.
    """

    vcpu: int
    state: VcpuState | None
    registers: Registers | None = None
    memory: tuple[tuple[int, bytes], ...] = ()
    again: tuple[tuple[int, bytes], ...] = ()
    reply: bytes = b""
    task: int = 0


class Machine:
    """What a stub gives access to.

    Attributes:
        stub: the connection; who made it closes it.
        architecture: of the vcpus that are sampled.
        memory: the kernel's virtual memory.

    Raises:
        TargetError: no vcpu has an architecture that gprof knows.
    """

    def __init__(self, stub: Stub) -> None:
        self.stub = stub
        self._registers: dict[bytes, RegisterFile] = {}
        self._tasks: CurrentTasks | None = None
        self.architecture = self._learn_registers()
        # Only an emulated vcpu stops where it takes interrupts.
        self._entries = Entries("" if stub.accelerated else self.architecture.name)
        self._isolation = Isolation(self.register, lambda: self.physical)
        self.memory = self.fresh_memory()

    def fresh_memory(self) -> StubMemory:
        """The same memory for reading what changes: it knows of no read before."""
        if self.architecture.name == "s390x":
            return TranslatedMemory(self.stub, self._tables)
        if self.architecture.name == "riscv64":
            return HideableMemory(self.stub, self._tables)
        if self.architecture.name == "aarch64":
            return HideableMemory(self.stub, self._tables, self._isolation.in_user_mode)
        return StubMemory(self.stub)

    @property
    def physical(self) -> PhysicalMemory:
        """The guest's physical memory as it is now."""
        return PhysicalMemory(self.stub)

    def _tables(self) -> PageTables | None:
        """The page tables that the kernel runs on; None where no register tells.

        On s390x they are those of the home address space. On riscv64 they are a process's, which
        has all of the kernel; a vcpu that was not started yet has none.
        """
        if self.architecture.name == "aarch64":
            return self._isolation.tables()
        if self.architecture.name == "s390x":
            home = self.register("cr13")
            return S390xTables(home) if home else NoTables()
        roots = (self._register_of(vcpu, "satp") for vcpu in self.vcpus)
        return next((RiscV64Tables(root) for root in roots if root), None)

    def trampoline(self) -> Trampoline | None:
        """Of aarch64: what user mode has of a kernel that hides itself, where that is mapped."""
        return self._isolation.trampoline() if self.architecture.name == "aarch64" else None

    def _learn_registers(self) -> Architecture:
        """Read the registers of each cluster's vcpus; the first known architecture is ours."""
        ours: Architecture | None = None
        unknown: TargetError | None = None
        for vcpu in self.stub.vcpus:
            if vcpu.cluster in self._registers:
                continue
            self.stub.exchange([b"Hg" + vcpu.thread])
            registers = read_description(lambda name: self.stub.read_object("features", name))
            try:
                architecture = described(registers.architecture)
            except TargetError as error:
                unknown = error
                continue
            if ours is None or architecture == ours:
                ours = architecture
                self._registers[vcpu.cluster] = registers
        if ours is None:
            raise unknown or ProtocolError("the stub has no vcpus")
        return ours

    @property
    def vcpus(self) -> tuple[Vcpu, ...]:
        """The vcpus whose registers we can read."""
        return tuple(vcpu for vcpu in self.stub.vcpus if vcpu.cluster in self._registers)

    def choose(self, indices: Sequence[int] | None) -> tuple[Vcpu, ...]:
        """The vcpus of these indices, or all.

        Raises:
            UsageError: the guest has no vcpu of that index.
        """
        known = {vcpu.index: vcpu for vcpu in self.vcpus}
        missing = sorted(set(indices or ()) - set(known))
        if missing:
            raise UsageError(
                f"the guest has no vcpu {', '.join(map(str, missing))}",
                f"It has {', '.join(map(str, known))}.",
            )
        return tuple(known[index] for index in (sorted(set(indices)) if indices else known))

    def follow_tasks(self, places: CurrentPlaces | None) -> None:
        """Ask in every sample from now on which task each vcpu runs, too.

        That costs a packet a vcpu, on AArch64 two or three, on s390x three; the first sample of
        each vcpu tells none.

        Args:
            places: where the guest's kernel keeps that; None to ask no more.
        """
        self._tasks = None
        if places is not None:
            hidden = self._hidden_pointers(places)
            prefixes = self.prefixes(places)
            self._tasks = CurrentTasks(self.architecture.name, places, prefixes, hidden)

    def _hidden_pointers(self, places: CurrentPlaces) -> dict[int, int]:
        """Of pointers to tasks that user mode does not see: the physical place, by address."""
        if self.trampoline() is None or None in {places.per_cpu_offsets, places.entry_task}:
            return {}
        assert places.per_cpu_offsets is not None
        assert places.entry_task is not None
        memory = TranslatedMemory(self.stub, self._tables)
        spans = [(places.per_cpu_offsets + 8 * vcpu.index, 8) for vcpu in self.vcpus]
        addresses = [
            (int.from_bytes(data, "little") + places.entry_task) % (1 << 64)
            for data in memory.gather(spans)
            if data is not None
        ]
        found = {address: memory.physical_address(address) for address in addresses}
        return {address: at for address, at in found.items() if at is not None}

    def prefixes(self, places: CurrentPlaces) -> dict[int, int]:
        """Of s390x: where the lowcore of each vcpu is, by the kernel's list of them.

        Its first cpu is QEMU's first, which boots, and the others come in QEMU's order.
        """
        memory = self.fresh_memory()
        if places.per_cpu_offsets is None or not isinstance(memory, TranslatedMemory):
            return {}
        spans = [(places.per_cpu_offsets + 8 * vcpu.index, 8) for vcpu in self.vcpus]
        lowcores = [int.from_bytes(data or b"", "big") for data in memory.gather(spans)]
        found = {
            vcpu.index: memory.physical_address(lowcore)
            for vcpu, lowcore in zip(self.vcpus, lowcores, strict=True)
            if lowcore
        }
        return {index: at for index, at in found.items() if at is not None}

    def sample(
        self, vcpus: Sequence[Vcpu], *, timed: bool = False
    ) -> tuple[Exchange, list[Sampled]]:
        """Where each vcpu stands at one instant; see `Stub.exchange`."""
        exchange = self.stub.exchange(self._questions(vcpus), timed=timed)
        return exchange, [
            self._sampled(vcpu, answers) for vcpu, answers in self._answers(vcpus, exchange.replies)
        ]

    def ask_in_stop(self, stop: Stop, vcpus: Sequence[Vcpu]) -> list[bytes]:
        """What the stub says of some vcpus in a stop that goes on; for the two methods below."""
        return stop.ask(self._questions(vcpus))

    def stack_pointers(self, vcpus: Sequence[Vcpu], replies: Sequence[bytes]) -> list[int | None]:
        """The kernel stack that each vcpu is on, None of one that is on none; fast."""
        pointer = self.architecture.stack_pointer
        return [
            pointer(self._registers[vcpu.cluster], answers[1]) if answers[0] == b"OK" else None
            for vcpu, answers in self._answers(vcpus, replies)
        ]

    def sampled_in_stop(self, vcpus: Sequence[Vcpu], replies: Sequence[bytes]) -> list[Sampled]:
        """Where each vcpu stood, with the registers for unwinding."""
        found = []
        for vcpu, answers in self._answers(vcpus, replies):
            one = self._sampled(vcpu, answers)
            unwinding = None
            if one.state is not None and one.state.mode in {Mode.KERNEL, Mode.IDLE}:
                unwinding = self.architecture.unwinding(self._registers[vcpu.cluster], answers[1])
                if unwinding is not None and unwinding.pc != one.state.pc:
                    unwinding = replace(unwinding, pc=one.state.pc)  # that of `Entries`
            found.append(replace(one, registers=unwinding, reply=answers[1]))
        return found

    def values(self, sampled: Sampled) -> dict[str, int]:
        """The general registers of a vcpu that was sampled in a stop, by name."""
        found = self.all_values(sampled)
        return {name: found[name] for name in self.architecture.general if name in found}

    def all_values(self, sampled: Sampled) -> dict[str, int]:
        """Every register of up to 64 bits of a vcpu that was sampled in a stop, by name."""
        vcpu = next(vcpu for vcpu in self.vcpus if vcpu.index == sampled.vcpu)
        registers = self._registers[vcpu.cluster]
        words = [name for name, one in registers.by_name.items() if one.bits <= 64]
        values = {name: registers.value(name, sampled.reply) for name in words}
        return {name: value for name, value in values.items() if value is not None}

    def _questions(self, vcpus: Sequence[Vcpu]) -> list[bytes]:
        asked = []
        for vcpu in vcpus:
            # `g` comes first: under KVM only it fetches the registers from the kernel.
            asked += [b"Hg" + vcpu.thread, b"g", b"qThreadExtraInfo," + vcpu.thread]
            asked += self._entries.questions(self._registers[vcpu.cluster])
            if self._tasks is not None:
                asked += self._tasks.questions(vcpu, self._registers[vcpu.cluster])
        return asked

    def _answers(
        self, vcpus: Sequence[Vcpu], replies: Sequence[bytes]
    ) -> Iterator[tuple[Vcpu, Sequence[bytes]]]:
        """The replies to `_questions`, vcpu by vcpu."""
        end = 0
        for vcpu in vcpus:
            begin, end = end, end + 3 + self._entries.count(self._registers[vcpu.cluster])
            if self._tasks is not None:
                end += self._tasks.count(self._registers[vcpu.cluster])
            yield vcpu, replies[begin:end]

    def _sampled(self, vcpu: Vcpu, answers: Sequence[bytes]) -> Sampled:
        chosen, reply, extra, *others = answers
        # After a refused choice the registers would be another vcpu's.
        if chosen != b"OK" or is_error(reply):
            return Sampled(vcpu.index, None)
        halted = b"[halted".hex().encode() in extra  # "CPU#0 [halted ]", as hexadecimal digits
        registers = self._registers[vcpu.cluster]
        state = self.architecture.state(registers, reply, halted=halted)
        kept = self._entries.count(registers)
        state = self._entries.state(state, registers, others[:kept])
        task = 0
        if self._tasks is not None:
            user = state.mode is Mode.USER
            task = self._tasks.pointer(vcpu, registers, reply, others[kept:], user=user)
        return Sampled(vcpu.index, state, task=task)

    def forget(self) -> None:
        """Drop what was kept of its memory, as after a reset."""
        self.memory.forget()
        self._isolation.forget()

    def close(self) -> None:
        """Let go of the guest; see `Stub.close`."""
        self.stub.close()

    def threads(self) -> VcpuThreads:
        """The threads of this host that run the vcpus, as far as they are to be seen."""
        return VcpuThreads.of_stub(self.monitor("info cpus"), self.stub.address)

    def monitor(self, command: str) -> str:
        """The output of a command of QEMU's monitor; empty where the stub has none."""
        return self.stub.monitor(command)

    def register(self, name: str) -> int | None:
        """A register of the first vcpu by name; None where it has none of that name."""
        return self._register_of(self.vcpus[0], name)

    def _register_of(self, vcpu: Vcpu, name: str) -> int | None:
        registers = self._registers[vcpu.cluster]
        if (register := registers.by_name.get(name)) is None:
            return None
        # `g` first, again: it is what makes the value current.
        asked = [b"Hg" + vcpu.thread, b"g", b"p%x" % register.number]
        chosen, _, digits = self.stub.exchange(asked).replies
        return registers.parse(register, digits) if chosen == b"OK" else None

    def anchor(self) -> Anchor | None:
        """Where the kernel has a symbol, by a register; None where none can tell."""
        address = self.architecture.vector(self)
        if address and self.architecture.name == "aarch64":
            address = self._isolation.vectors(address)
        return Anchor(self.architecture.vector_symbols, address) if address else None
