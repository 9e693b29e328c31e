"""Attach to a running guest: the machine, its symbols, and whether they belong together."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from gprof.guest.address import Address
from gprof.guest.architectures import BY_NAME, Architecture
from gprof.guest.gdbstub import Stub
from gprof.guest.machine import Machine
from gprof.guest.monitored import MonitoredMachine
from gprof.guest.qmp import Qmp
from gprof.profile.profile import Guest
from gprof.sampling.halting import HaltingOptions, HaltingSource
from gprof.sampling.monitor import MonitorOptions, MonitorSource
from gprof.sampling.source import Source
from symbols.elf import Image
from symbols.errors import MismatchError
from symbols.guest_identity import Identity, guest_identity, identity_of
from symbols.kallsyms import Kallsyms
from symbols.kernel_space import kernel_space
from symbols.memory import Memory, OverlayMemory, SlidMemory
from symbols.modules import Module, open_modules
from symbols.slide import Slide, Vector, find_kallsyms_slide, find_slide
from symbols.space import AddressSpace

_EVERYWHERE = (0, (1 << 64) - 1)


@dataclass(frozen=True, slots=True)
class Sources:
    """The files that describe a guest's kernel, opened.

    Attributes:
        image: vmlinux, or the one program of a guest without an operating system.
        kallsyms: of the boot that is profiled.
        modules: what /proc/modules says.
    """

    image: Image | None = None
    kallsyms: Kallsyms | None = None
    modules: tuple[Module, ...] = ()

    @classmethod
    def open(cls, vmlinux: Path | None, kallsyms: Path | None, modules: Path | None) -> Sources:
        """Open what is given.

        Raises:
            SymbolsError: a file is not what it should be.
        """
        return cls(
            Image.open(vmlinux) if vmlinux else None,
            Kallsyms.open(kallsyms) if kallsyms else None,
            open_modules(modules) if modules else (),
        )

    def __bool__(self) -> bool:
        return bool(self.image or self.kallsyms or self.modules)

    def code(self, first: Memory | None, slide: Slide | None) -> Memory:
        """Where instructions are read: from the guest, and what it cannot give, from its file.

        Args:
            first: the guest's memory, or what a recording kept of it.
            slide: from `find_slide`.
        """
        layers = [first] if first is not None else []
        if self.image is not None:
            layers.append(SlidMemory(self.image, slide.offset if slide else 0))
        return OverlayMemory(*layers)

    def find_slide(
        self,
        architecture: str,
        memory: Memory | None = None,
        vector: Vector | None = None,
        given: int | None = None,
    ) -> Slide | None:
        """Where the guest runs this kernel; None where there are no symbols of one.

        Args:
            architecture: of the guest; empty where unknown.
            memory: the guest's.
            vector: what a register says.
            given: a slide that is known from elsewhere.

        Raises:
            MismatchError: the files are of another kernel, or of different ones.
            SlideUnknown: the kernel is nowhere where it could be.
        """
        if self.image is not None:
            if architecture and self.image.architecture != architecture:
                raise MismatchError(
                    f"{self.image.path} is for {self.image.architecture}, "
                    f"the guest is {architecture}",
                    "Give the vmlinux of the kernel that the guest runs.",
                )
            return find_slide(
                self.image, kallsyms=self.kallsyms, memory=memory, vector=vector, given=given
            )
        if self.kallsyms is not None:
            return find_kallsyms_slide(
                self.kallsyms, memory=memory, vector=vector, architecture=architecture
            )
        return None

    def space(self, slide: Slide | None, architecture: Architecture | None) -> AddressSpace:
        """What these files say is loaded where.

        Args:
            slide: from `find_slide`.
            architecture: of the guest; None where unknown.
        """
        if self.image is not None and self.image.linux_release is None:
            half = _EVERYWHERE  # without an operating system there is no user space
        else:
            half = (architecture or BY_NAME["x86_64"]).kernel_half
        return kernel_space(
            image=self.image,
            kallsyms=self.kallsyms,
            modules=self.modules,
            slide=slide.offset if slide else 0,
            kernel_half=half,
        )


@dataclass(frozen=True, slots=True)
class Attached:
    """A running guest and what its addresses mean.

    Attributes:
        machine: to sample.
        guest: whom it is.
        space: what is loaded where.
        slide: where its kernel runs and why we believe it; None without symbols of a kernel.
        identity: the kernel that it runs, as far as known.
        sources: the files that were given.
        monitored: the guest through its monitor: the machine itself where there is no stub,
            None where there is no monitor.
    """

    machine: Machine | MonitoredMachine
    guest: Guest
    space: AddressSpace
    slide: Slide | None
    identity: Identity
    sources: Sources
    monitored: MonitoredMachine | None = None

    @property
    def memory(self) -> Memory:
        """The kernel's virtual memory, read in the way that costs the guest least."""
        return _cheapest_memory(self.machine, self.monitored)

    @property
    def code(self) -> Memory:
        """Where the instructions of the guest are read."""
        return self.sources.code(self.memory, self.slide)

    def close(self) -> None:
        """Let go of the guest, running; for whoever makes no source of it."""
        self.machine.close()
        if self.monitored is not None:
            self.monitored.close()


def attach(
    address: Address | None, sources: Sources, name: str = "", monitor: Address | None = None
) -> Attached:
    """Connect to a guest and find out where its kernel is.

    Args:
        address: of its stub; None to do without one.
        sources: opened before, so that a wrong file costs the guest nothing.
        name: of the guest; where empty, as QEMU knows it, or its address.
        monitor: address of its monitor; None to do without one.

    Raises:
        TargetError, PermissionProblem: the guest cannot be reached.
        SymbolsError: the symbols are of another kernel.
    """
    with ExitStack() as undo:
        monitored = None
        if monitor is not None:
            client = Qmp(monitor)
            undo.callback(client.close)
            monitored = MonitoredMachine(client)
            undo.callback(monitored.close)
        machine: Machine | MonitoredMachine
        if address is not None:
            # Asked of the monitor before: connecting stops the guest, and hides who did before.
            running = monitored.run_state.running if monitored is not None else None
            stub = Stub(address, running=running)
            undo.callback(stub.close)
            machine = Machine(stub)
            if monitored is not None:
                monitored.lend(machine)
        elif monitored is not None:
            machine = monitored
        else:
            raise ValueError("a guest is reached by its stub, its monitor, or both")
        called = name or (monitored.name if monitored is not None else "")
        reached = address or monitor
        assert reached is not None
        attached = _attached(machine, monitored, sources, called or reached.text)
        undo.pop_all()
        return attached


def _attached(
    machine: Machine | MonitoredMachine,
    monitored: MonitoredMachine | None,
    sources: Sources,
    name: str,
) -> Attached:
    architecture = machine.architecture
    memory = _cheapest_memory(machine, monitored)
    slide = None
    identity = Identity()
    if sources.image is not None or sources.kallsyms is not None:
        vector = machine.vector()
        hint = Vector(architecture.vector_symbols, vector) if vector else None
        slide = sources.find_slide(architecture.name, memory, hint)
        if sources.image is not None:
            identity = identity_of(sources.image)
        elif slide is not None:
            identity = guest_identity(
                memory, image=None, kallsyms=sources.kallsyms, slides=[slide.offset]
            )
    guest = Guest(
        id=0,
        name=name,
        architecture=architecture.name,
        vcpus=tuple(vcpu.index for vcpu in machine.vcpus),
        kernel=identity.release,
        build_id=identity.build_id,
    )
    space = sources.space(slide, architecture)
    return Attached(machine, guest, space, slide, identity, sources, monitored)


def _cheapest_memory(
    machine: Machine | MonitoredMachine, monitored: MonitoredMachine | None
) -> Memory:
    return machine.memory if monitored is None else monitored.memory


def source_of(
    attached: Attached, *, hz: float, max_halted: float, vcpus: tuple[int, ...] | None = None
) -> Source:
    """What samples the guest: through its stub where that is connected, else its monitor.

    Args:
        attached: the guest; the source lets go of it.
        hz: samples a second, of each vcpu.
        max_halted: the share of time that the guest may be kept from running.
        vcpus: indices to sample; None for all.

    Raises:
        UsageError: the guest has no such vcpu.
    """
    machine = attached.machine
    if isinstance(machine, MonitoredMachine):
        return MonitorSource(machine, MonitorOptions(hz=hz, vcpus=vcpus))
    halting = HaltingOptions(hz=hz, vcpus=vcpus, max_halted=max_halted)
    return HaltingSource(machine, halting, monitored=attached.monitored)
