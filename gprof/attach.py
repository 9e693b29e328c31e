"""Attach to a running guest: the machine, its symbols, and whether they belong together."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from gprof.errors import UsageError
from gprof.guest.address import Address
from gprof.guest.architectures import BY_NAME, FIRMWARE_BESIDE_KERNEL
from gprof.guest.core_machine import CoreMachine
from gprof.guest.gdbstub import Stub
from gprof.guest.libvirt import Domain, Libvirt
from gprof.guest.machine import Machine
from gprof.guest.mode import Mode
from gprof.guest.monitored import MonitoredMachine
from gprof.guest.qmp import Qmp
from gprof.guest.stop_hazards import hazards_of
from gprof.introspection import Introspected, introspect
from gprof.profile.code import Code
from gprof.profile.profile import Guest
from gprof.sources import Sources
from symbols.errors import SlideUnknown, SymbolsError
from symbols.guest_identity import Identity, guest_identity, identity_of
from symbols.introspection import IN_MEMORY, KnownKernel, kernel_types
from symbols.memory import Memory
from symbols.slide import Method, Slide, Verified
from symbols.space import AddressSpace
from symbols.structures import Structures


@dataclass(frozen=True, slots=True)
class Attached:
    """A running guest and what its addresses mean.

    Attributes:
        machine: to sample.
        guest: whom it is.
        space: what is loaded where.
        slide: where its kernel runs and why we believe it; None without symbols of a kernel.
        identity: the kernel that it runs, as far as known.
        sources: the files that were given, and what the guest's memory adds to them.
        introspected: what the guest's memory told.
        monitored: the guest through its monitor: the machine itself where there is no stub,
            None where there is no monitor.
        given: the files alone.
    """

    machine: Machine | MonitoredMachine | CoreMachine
    guest: Guest
    space: AddressSpace
    slide: Slide | None
    identity: Identity
    sources: Sources
    introspected: Introspected = field(default_factory=Introspected)
    monitored: MonitoredMachine | None = None
    given: Sources = field(default_factory=Sources)

    @property
    def starting(self) -> bool:
        """It has not come to its kernel yet, whose symbols cannot be looked for before."""
        return self.space.starting

    def again(self, given: Sources | None = None) -> Attached:
        """The same guest with its symbols looked for anew, as once it boots after a reset.

        Args:
            given: other files than those of before.

        Raises:
            TargetError: the guest went away.
            SymbolsError: the symbols are of another kernel, or nothing can be told yet.
        """
        self.forget()
        given = self.given if given is None else given
        return _attached(self.machine, self.monitored, given, self.guest.name, boots=True)

    def forget(self) -> None:
        """Drop what was read of its memory, as after a reset."""
        self.machine.forget()
        if self.monitored is not None and self.monitored is not self.machine:
            self.monitored.forget()

    def lost(self) -> Attached:
        """The same guest, of whose kernel nothing is known any more."""
        space = self.given.starting_space(BY_NAME[self.guest.architecture])
        guest = replace(self.guest, kernel="", build_id=b"")
        return replace(
            self, guest=guest, space=space, slide=None, identity=Identity(), sources=self.given,
            introspected=Introspected(),
        )  # fmt: skip

    @property
    def known_kernel(self) -> KnownKernel:
        """What is known of its kernel by now, but for what only a register tells."""
        slide = self.slide.offset if self.slide else 0
        name = self.guest.architecture
        return KnownKernel(self.sources.image, self.sources.kallsyms, slide, name)

    @property
    def live(self) -> Machine | MonitoredMachine:
        """The guest, which runs or may run.

        Raises:
            UsageError: it is a dump of one.
        """
        if isinstance(self.machine, CoreMachine):
            raise UsageError("a dump of memory is of one instant", "gprof dump looks at it.")
        return self.machine

    @property
    def reader(self) -> Machine | MonitoredMachine | CoreMachine:
        """What its memory is read through, in the way that costs the guest least."""
        return self.monitored or self.machine

    @property
    def memory(self) -> Memory:
        """The kernel's virtual memory."""
        return self.reader.memory

    @property
    def reads_ram_alone(self) -> bool:
        """Whether a read, wherever it goes, meets nothing but RAM.

        Through the stub it may meet a device, which can change what that does, and has ended QEMU
        (7.2, aarch64: the interrupt controller asks which vcpu reads it, and it is none).
        """
        return self.monitored is not None and self.monitored.reads_ram_alone

    @property
    def known(self) -> KnownKernel:
        """What is known of its kernel by now."""
        return replace(self.known_kernel, anchor=self.reader.anchor())

    @property
    def big_endian(self) -> bool:
        """The byte order of the guest."""
        image = self.sources.image
        return not image.little_endian if image else self.guest.architecture == "s390x"

    @property
    def code(self) -> Code:
        """Where the instructions of the guest are read."""
        return self.sources.code(self.memory, self.slide)

    def structures(self, memory: Memory) -> Structures:
        """Its kernel's structures in a memory of its own.

        Raises:
            IntrospectionError, BtfError: the kernel's types are not to be found.
        """
        known = self.known_kernel
        types = self.introspected.types or kernel_types(memory, known, known.address_of)
        return Structures(memory, types)

    def introspect(self, *, symbols: bool, modules: bool) -> Introspected:
        """Ask the guest's memory again, with what is known of its kernel by now.

        Args:
            symbols: read the symbols of the kernel proper.
            modules: read its list of modules.
        """
        return introspect(self.reader, self.known, symbols=symbols, modules=modules)

    @property
    def seeks_modules(self) -> bool:
        """Its memory may tell its modules, and has not told them yet.

        As where none was loaded: a list without modules looks like any other, and it is the
        modules that tell how they are read where the kernel does not describe its types.
        """
        kallsyms = self.sources.kallsyms
        if self.introspected.modules is not None or self.sources.modules or self.sources.image:
            return False
        return kallsyms is not None and kallsyms.path == IN_MEMORY

    def with_modules_now(self) -> Attached | None:
        """The same guest with the modules that it has loaded now, as far as that can be read.

        None where its memory does not tell, or they were given as files.

        Raises:
            TargetError: the guest went away.
        """
        before = self.introspected
        if before.modules is None and not self.seeks_modules:
            return None
        found = introspect(
            self.reader,
            self.known_kernel,
            symbols=False,
            modules=True,
            directories=self.sources.directories,
            before=before,
        )
        if found.modules is None:
            return replace(self, introspected=replace(before, cost=found.cost))
        sources = _with(self.sources, found)
        if sources.trampoline is None:  # the kernel may have been about to start
            sources = replace(sources, trampoline=self.reader.trampoline())
        space = sources.space(self.slide, BY_NAME[self.guest.architecture])
        return replace(self, sources=sources, space=space, introspected=found)

    @property
    def stub_samples(self) -> bool:
        """Whether samples come through the stub, and stop the guest."""
        return isinstance(self.machine, Machine)

    def hazards(self) -> str:
        """What a stop does to this guest besides halting it; empty where nothing is known."""
        if self.monitored is not None:
            return hazards_of(self.monitored, self.monitored.monitor("info qtree"))
        # The tree of devices is long: through the stub it would halt the guest for a while.
        return hazards_of(self.live)

    def close(self) -> None:
        """Let go of the guest, running; for whoever makes no source of it."""
        self.machine.close()
        if self.monitored is not None:
            self.monitored.close()


def attach(
    address: Address | None,
    sources: Sources,
    name: str = "",
    *,
    monitor: Address | Domain | None = None,
) -> Attached:
    """Connect to a guest and find out where its kernel is.

    Args:
        address: of its stub; None to do without one, by its monitor alone.
        sources: opened before, so that a wrong file costs the guest nothing.
        name: of the guest; where empty, as QEMU knows it, or its address.
        monitor: address of its monitor, or its domain of libvirt; None to do without one.

    Raises:
        TargetError, PermissionProblem: the guest cannot be reached.
        SymbolsError: the symbols are of another kernel.
    """
    with ExitStack() as undo:
        monitored = None
        if monitor is not None:
            client = Qmp(monitor) if isinstance(monitor, Address) else Libvirt(monitor)
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


def attach_core(path: Path, sources: Sources) -> Attached:
    """Find out where the kernel is in a dump of a guest's memory.

    Args:
        path: of what QEMU's `dump-guest-memory` has written.
        sources: opened before.

    Raises:
        FormatError: it is no such dump.
        SymbolsError: the symbols are of another kernel.
    """
    return _attached(CoreMachine(path), None, sources, path.name)


def _attached(
    machine: Machine | MonitoredMachine | CoreMachine,
    monitored: MonitoredMachine | None,
    sources: Sources,
    name: str,
    *,
    boots: bool = False,
) -> Attached:
    architecture = machine.architecture
    reader = monitored or machine  # of memory, at the lowest price
    memory = reader.memory
    slide = None
    identity = Identity()
    guest = Guest(
        id=0,
        name=name,
        architecture=architecture.name,
        vcpus=tuple(vcpu.index for vcpu in machine.vcpus),
    )
    given, directories = sources, sources.directories
    if not boots and sources.runs_linux and _before_kernel(machine):
        space = sources.starting_space(architecture)
        found = Introspected(problems=(_not_there_yet(),))
        return Attached(machine, guest, space, None, identity, sources, found, monitored, given)
    anchor = reader.anchor()
    sources = replace(sources, trampoline=reader.trampoline() if sources.runs_linux else None)
    found = Introspected()
    if sources.image is None and sources.kallsyms is None:
        known = KnownKernel(architecture=architecture.name, anchor=anchor)
        found = introspect(
            reader, known, symbols=True, modules=not sources.modules, directories=directories
        )
        sources = _with(sources, found)
    if sources.image is not None or sources.kallsyms is not None:
        try:
            slide = sources.find_slide(architecture.name, memory, anchor)
        except SymbolsError:
            # What its own memory told a moment ago is right, though it may be out of sight now:
            # a vcpu in user mode does not see the kernel.
            if found.kallsyms is None:
                raise
            slide = Slide(0, Method.KALLSYMS, (Method.KALLSYMS,), Verified.NOTHING)
        if sources.image is not None:
            identity = identity_of(sources.image)
        elif slide is not None:
            identity = guest_identity(
                memory, image=None, kallsyms=sources.kallsyms, slides=[slide.offset]
            )
    if slide is not None and found.kernel is None and _asks_modules(sources):
        known = KnownKernel(
            sources.image, sources.kallsyms, slide.offset, architecture.name, anchor
        )
        found = introspect(reader, known, symbols=False, modules=True, directories=directories)
        sources = _with(sources, found)
    guest = replace(guest, kernel=identity.release, build_id=identity.build_id)
    space = sources.space(slide, architecture)
    return Attached(machine, guest, space, slide, identity, sources, found, monitored, given)


def _before_kernel(machine: Machine | MonitoredMachine | CoreMachine) -> bool:
    """Whether no vcpu has come to a kernel: the guest was not started, or is in its firmware."""
    if isinstance(machine, MonitoredMachine):
        sampled = machine.sample(machine.choose(None)).sampled
    elif isinstance(machine, CoreMachine):
        sampled = machine.sampled()
    else:
        _, sampled = machine.sample(machine.vcpus)
    low, high = machine.architecture.kernel_half
    bare = {Mode.FIRMWARE, Mode.KERNEL, Mode.IDLE}
    states = [one.state for one in sampled]
    if not all(s is not None and s.mode in bare and not low <= s.pc <= high for s in states):
        return False
    if machine.architecture.name not in FIRMWARE_BESIDE_KERNEL:
        return True
    anchor = machine.anchor()  # where a vcpu keeps for the kernel that its traps go
    return anchor is None or not low <= anchor.address <= high


def _not_there_yet() -> SlideUnknown:
    return SlideUnknown(
        "the guest has not come to its kernel yet",
        "Let it boot: record and top look for its kernel while they sample.",
    )


def _asks_modules(sources: Sources) -> bool:
    """Whether the guest's own list of modules would add to what the files say."""
    if not sources.runs_linux:
        return False
    return not sources.modules and (sources.kallsyms is None or not sources.kallsyms.modules)


def _with(sources: Sources, found: Introspected) -> Sources:
    """The files, and what the guest's memory adds to them."""
    if found.kallsyms is not None:
        sources = replace(sources, kallsyms=found.kallsyms)
    if found.modules is not None:
        sources = replace(
            sources,
            modules=tuple(module.module for module in found.modules.listed),
            module_images=found.modules.images,
            generated=found.modules.generated,
            programs=found.modules.programs,
        )
    return sources
