"""What every vcpu of a guest does at one instant: registers, mode, task, and the stack by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gprof.attach import Attached
from gprof.dump.frames import Frame, name_frames
from gprof.dump.sleepers import TasksDump, take_tasks
from gprof.errors import TargetError
from gprof.guest.core_machine import CoreMachine
from gprof.guest.machine import Machine, Sampled
from gprof.guest.mode import Mode
from gprof.guest.monitored import MonitoredMachine
from gprof.guest.stack_reader import StackReader
from gprof.guest_stacks import unwinding_of
from gprof.profile.profile import Guest
from symbols.errors import GprofError, SymbolsError
from symbols.lines_of_space import SpaceLines
from symbols.names import printable
from symbols.run_queues import RunQueues
from symbols.tasks import CurrentPlaces, Task, Tasks, current_task
from symbols.unwinding.stack import CapturedWords, Ending, Stack, Word, words_of
from symbols.unwinding.unwind import Way


@dataclass(frozen=True, slots=True)
class VcpuDump:
    """One vcpu.

    Attributes:
        index: its number.
        mode: what it was doing; None where the stub could not tell.
        task: what it ran for; None where that is not known.
        registers: the general ones by name.
        frames: leaf first.
        ending: why there are no more; None where its stack was not unwound.
    """

    index: int
    mode: Mode | None
    task: Task | None
    registers: dict[str, int]
    frames: tuple[Frame, ...]
    ending: Ending | None

    def content(self) -> dict[str, Any]:
        """For programs."""
        task = self.task
        return {
            "vcpu": self.index,
            "mode": self.mode.label if self.mode is not None else None,
            "task": {"pid": task.pid, "tgid": task.tgid, "comm": task.comm} if task else None,
            "registers": {name: f"{value:#x}" for name, value in self.registers.items()},
            "frames": [frame.content() for frame in self.frames],
            "ending": self.ending.name.lower() if self.ending is not None else None,
            "whole": self.ending.whole if self.ending is not None else None,
        }


@dataclass(frozen=True, slots=True)
class Dump:
    """All vcpus at one instant, and the tasks that wait if they were asked for.

    Attributes:
        guest: whom they are of.
        state: `running`, `stopped` by somebody else and left so, or `core` for a file.
        unwound_by: `orc`, `fp` or `backchain`; empty where its stacks were not unwound.
        why: what that was chosen by, or why there is no way.
        vcpus: by index.
        tasks: all of them; None where not asked for or not to be found.
        problem: why `tasks` is missing; None where it is not.
    """

    guest: Guest
    state: str
    unwound_by: str
    why: str
    vcpus: tuple[VcpuDump, ...]
    tasks: TasksDump | None = None
    problem: GprofError | None = None

    @property
    def stopped(self) -> bool:
        """It stood before and stands now."""
        return self.state != "running"

    def content(self) -> dict[str, Any]:
        """For programs; members may be added, never renamed."""
        found: dict[str, Any] = {
            "guest": printable(self.guest.name),
            "architecture": self.guest.architecture,
            "kernel": printable(self.guest.kernel),
            "stopped": self.stopped,
            "core": self.state == "core",
            "unwound_by": self.unwound_by or None,
            "why": printable(self.why),
            "vcpus": [vcpu.content() for vcpu in self.vcpus],
        }
        if self.problem is not None:
            found |= {"tasks": None, "tasks_problem": self.problem.problem}
        if self.tasks is not None:
            found["tasks"] = [task.content() for task in self.tasks.tasks]
            found["tasks_complete"] = self.tasks.complete
        return found


def take(
    attached: Attached,
    way: Way = Way.AUTO,
    *,
    tasks: bool = False,
    lines: SpaceLines | None = None,
) -> Dump:
    """Look at every vcpu in one stop; a guest that was found stopped stays so.

    Args:
        attached: the guest.
        way: how to unwind.
        tasks: read every task that sleeps too, from memory, after that stop.
        lines: where source lines come from; None to do without.

    Raises:
        TargetError: the guest went away.
        UnwindError: its stacks cannot be unwound in the way that was asked for.
    """
    machine = attached.machine
    if isinstance(machine, CoreMachine):
        state, sampled = "core", machine.sampled()
    else:
        machine = machine.through_stub() if isinstance(machine, MonitoredMachine) else machine
        _, sampled = StackReader(machine, patient=True).sample(machine.vcpus)
        state = "stopped" if machine.stub.held else "running"
    unwinding = unwinding_of(attached, way, machine)
    running = _CurrentTasks(attached, machine)
    vcpus = []
    for one in sampled:
        if one.state is None:
            vcpus.append(VcpuDump(one.vcpu, None, None, {}, (), None))
            continue
        stack = Stack((one.state.pc,), Ending.USER)
        ending = Ending.USER if one.state.mode is Mode.USER else None
        if one.registers is not None and unwinding.unwinder is not None:
            word: Word
            if isinstance(machine, CoreMachine):
                word = words_of(machine.memory, big_endian=attached.big_endian)
            else:
                word = CapturedWords(one.memory, big_endian=attached.big_endian)
            stack = unwinding.unwinder.unwind(one.registers, word)
            ending = stack.ending
        vcpus.append(
            VcpuDump(
                one.vcpu,
                one.state.mode,
                running.of(one),
                machine.values(one),
                name_frames(attached.space, [stack], lines)[0],
                ending,
            )
        )
    found, problem = None, None
    if tasks:
        try:
            found = take_tasks(attached, unwinding, lines)
        except SymbolsError as error:
            problem = error
    unwound_by = unwinding.way if unwinding.unwinder is not None else ""
    return Dump(attached.guest, state, unwound_by, unwinding.why, tuple(vcpus), found, problem)


class _CurrentTasks:
    """The tasks that vcpus run, where the kernel's types are known."""

    def __init__(self, attached: Attached, machine: Machine | CoreMachine) -> None:
        self._attached = attached
        self._machine = machine
        self._tasks: Tasks | None = None
        self._prefixes: dict[int, int] = {}
        try:
            self._structures = attached.structures(attached.reader.fresh_memory())
            self._tasks = Tasks(self._structures)
            address_of = attached.known_kernel.address_of
            self._places = CurrentPlaces.of(address_of, self._structures.btf)
            self._queues = RunQueues(self._structures, address_of)
            if isinstance(machine, Machine):
                self._prefixes = machine.prefixes(self._places)
        except (SymbolsError, TargetError):
            return  # a guest without types is no failure: nothing is known of its tasks

    def of(self, sampled: Sampled) -> Task | None:
        if self._tasks is None or sampled.state is None:
            return None
        registers = self._machine.all_values(sampled)
        memory = self._structures.memory
        if self._machine.architecture.name == "s390x":
            # What the kernel's tables lead to at 0 is no cpu's: each has its own by its prefix.
            prefix = registers.get("prefix", self._prefixes.get(sampled.vcpu))
            if prefix is None:
                return None
            registers, memory = registers | {"prefix": prefix}, self._machine.physical
        address = current_task(
            self._attached.guest.architecture,
            registers,
            memory,
            self._places,
            user=sampled.state.mode is Mode.USER,
        )
        if address is None:  # as in dumps, which lack the registers of aarch64 and riscv64 for it
            address = self._queues.current(sampled.vcpu)
        return self._tasks.at(address) if address is not None else None
