"""The files, the guest, and whether they belong together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from gprof.attach import Attached, attach
from gprof.checkup.check import Check, Verdict, failed
from gprof.checkup.cost import look_at_cost
from gprof.guest.address import Address
from gprof.guest.libvirt import Domain
from gprof.guest.machine import Machine
from gprof.guest.monitored import MonitoredMachine
from gprof.sources import Sources
from symbols.elf import Image
from symbols.errors import GprofError
from symbols.extra_images import ExtraImages, build_folders, open_extra
from symbols.guest_identity import identity_of
from symbols.kallsyms import Kallsyms
from symbols.modules import Module, open_modules
from symbols.names import printable
from symbols.slide import Verified
from symbols.space import LoadedImage

#: Images without symbols that are told by name.
_MOST_NAMES = 5


def examine(
    address: str | None,
    vmlinux: Path | None,
    kallsyms: Path | None,
    modules: Path | None,
    *,
    hz: float,
    max_halted: float,
    monitor: Address | Domain | None = None,
    max_latency_ns: int | None = None,
    named: Sequence[str] = (),
    directories: Sequence[Path] = (),
) -> list[Check]:
    """Look at the files, the guest, whether they match, and what sampling costs.

    What is wrong with any of them is told, not raised.

    Args:
        address: of the gdbstub; None to do without one.
        vmlinux: may be missing, as the next two.
        kallsyms: a copy of /proc/kallsyms.
        modules: a copy of /proc/modules.
        hz: the rate asked for.
        max_halted: the budget, 0.01 for 1 %.
        monitor: see `attach`.
        max_latency_ns: the longest that one stop in a hundred may take; None for any.
        named: firmware and others, as `FILE[@ADDR]`.
        directories: where files of modules may be.

    Raises:
        UsageError: the address is none.
    """
    checks: list[Check] = []
    sources = _files(checks, vmlinux, kallsyms, modules)
    sources = replace(sources, extras=_extras(checks, named), directories=tuple(directories))
    where = Address.parse(address) if address else None
    way = "gdbstub" if where else "qmp"
    try:
        attached = attach(where, sources, monitor=monitor)
    except GprofError as error:
        checks.append(failed(way, error))
        if error.exit_code != 5:  # not because of symbols: nothing more can be asked
            return checks
        # The guest is there, only the symbols are not its own: go on without them.
        checks[-1] = failed("symbols", error)
        try:
            attached = attach(where, Sources(), monitor=monitor)
        except GprofError as again:
            checks.append(failed(way, again))
            return checks
    try:
        _guest(checks, attached)
        _introspected(checks, attached)
        _match(checks, attached)
        look_at_cost(checks, attached, hz, max_halted, max_latency_ns)
    except GprofError as error:
        checks.append(failed("guest", error))
    finally:
        attached.close()
    return checks


@contextmanager
def _told(checks: list[Check], name: str) -> Iterator[None]:
    """What is wrong becomes a failed check; what was to be found stays missing."""
    try:
        yield
    except GprofError as error:
        checks.append(failed(name, error))


def _files(
    checks: list[Check], vmlinux: Path | None, kallsyms: Path | None, modules: Path | None
) -> Sources:
    image = text = None
    loaded: tuple[Module, ...] = ()
    with _told(checks, "vmlinux"):
        if vmlinux is not None:
            image = Image.open(vmlinux)
            seen = f"{vmlinux}: {identity_of(image)}, {len(image.table)} functions"
            checks.append(Check("vmlinux", Verdict.FINE, seen))
    with _told(checks, "kallsyms"):
        if kallsyms is not None:
            text = Kallsyms.open(kallsyms)
            seen = f"{kallsyms}: {len(text.kernel)} functions, {len(text.modules)} modules"
            checks.append(Check("kallsyms", Verdict.FINE, seen))
    with _told(checks, "modules"):
        if modules is not None:
            loaded = open_modules(modules)
            checks.append(Check("modules", Verdict.FINE, f"{modules}: {len(loaded)} modules"))
    return Sources(image, text, loaded)


def _extras(checks: list[Check], named: Sequence[str]) -> ExtraImages:
    found: list[ExtraImages] = []
    folders = build_folders(named)
    for one in named:
        with _told(checks, "symbols"):
            found.append(open_extra(one, folders))
            seen = _seen([extra.loaded for extra in found[-1].images])
            checks.append(Check("symbols", Verdict.FINE, f"{printable(one)}: {seen}"))
    return ExtraImages.together(found)


def _seen(images: Sequence[LoadedImage]) -> str:
    functions = sum(len(image.table or ()) for image in images)
    first = f", the first at {min(image.start for image in images):#x}" if images else ""
    seen = f"{_count(len(images), 'range')}{first}, {_count(functions, 'function')}"
    without = [image.name for image in images if image.table is None]
    if without and functions:
        names = ", ".join(without[:_MOST_NAMES]) + (", ..." if len(without) > _MOST_NAMES else "")
        seen += f"; {len(without)} without symbols: {names}"
    return seen


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _guest(checks: list[Check], attached: Attached) -> None:
    machine, monitored = attached.live, attached.monitored
    if isinstance(machine, Machine):
        stub = machine.stub
        seen = f"{stub.address.text}, packets of {stub.packet_size} bytes"
        checks.append(Check("gdbstub", Verdict.FINE, seen))
        accelerated = stub.accelerated
        held, status = stub.held, stub.status or "stopped"
    else:
        accelerated = machine.accelerated
        held, status = not machine.run_state.running, machine.run_state.status
    if monitored is not None:
        _monitor(checks, monitored)
    kind = {True: "accelerated (KVM)", False: "emulated (TCG)", None: "acceleration unknown"}
    checks.append(
        Check(
            "guest",
            Verdict.FINE,
            f"{machine.architecture.name}, {_count(len(machine.vcpus), 'vcpu')}, "
            + kind[accelerated]
            + (f", Linux {attached.identity.release}" if attached.identity.release else ""),
        )
    )
    if isinstance(machine, Machine) and len(machine.vcpus) < len(machine.stub.vcpus):
        checks.append(
            Check(
                "vcpus",
                Verdict.NOTICE,
                f"{len(machine.stub.vcpus) - len(machine.vcpus)} vcpus are of another "
                "architecture and are not sampled",
            )
        )
    if held:
        checks.append(
            Check(
                "state",
                Verdict.NOTICE,
                f"the guest stands still ({status}), and gprof leaves it so",
                "Type `cont` in QEMU's monitor to let it run.",
            )
        )


def _introspected(checks: list[Check], attached: Attached) -> None:
    """What was read from the guest's memory in place of files, and what that cost."""
    found = attached.introspected
    seen = []
    if found.kallsyms is not None:
        seen.append(f"{len(found.kallsyms.kernel)} functions of its kernel")
    if found.modules is not None:
        whole = "" if found.modules.complete else ", the list was cut short"
        seen.append(f"{len(found.modules.listed)} modules{whole}")
    if seen:
        cost = found.cost
        price = (
            f"{cost.size / 1e6:.1f} MB, read in {cost.stops} stops that halted it for "
            f"{cost.halted_ns / 1e6:.0f} ms at most"
            if cost.stops
            else "read without stopping it"
        )
        names = f"the guest's memory names {' and '.join(seen)}"
        checks.append(Check("memory", Verdict.FINE, f"{names}: {price}"))
    sources = attached.sources
    checks.extend(
        Check("memory", Verdict.NOTICE, problem.problem, problem.remedy)
        for problem in found.problems
    )
    if not attached.starting and sources.image is None and sources.kallsyms is None:
        checks.append(
            Check(
                "symbols",
                Verdict.MISSING,
                "neither a file nor the guest's memory has symbols: addresses stay numbers",
                "Give the kernel's vmlinux (on Debian from linux-image-<release>-dbg), or a copy "
                "of the guest's /proc/kallsyms made as root, or both.",
            )
        )


def _monitor(checks: list[Check], monitored: MonitoredMachine) -> None:
    client = monitored.monitor_client
    version = ".".join(map(str, client.version))
    checks.append(
        Check(
            "qmp",
            Verdict.NOTICE if client.remark else Verdict.FINE,
            f"{client.name}, QEMU {version}",
            client.remark,
        )
    )
    why = monitored.why_packets
    seen = monitored.memory_way
    if why is None:
        checks.append(Check("memory", Verdict.FINE, seen))
    else:
        checks.append(Check("memory", Verdict.NOTICE, f"{seen}: {why.problem}", why.remedy))


def _match(checks: list[Check], attached: Attached) -> None:
    slide = attached.slide
    if slide is None:
        return
    offset = slide.offset - (1 << 64) if slide.offset >> 63 else slide.offset
    proven = slide.verified is not Verified.NOTHING
    if attached.sources.image is not None:
        where = f"{offset:+#x} from where it was linked"
    else:
        where = f"{offset:+#x} from where" if offset else "where"
        where += " its symbols say"
    checks.append(
        Check(
            "match",
            Verdict.FINE if proven else Verdict.NOTICE,
            f"the kernel runs {where}, found by {', '.join(slide.agreeing)}; "
            f"verified by {slide.verified}",
            "" if proven else "Nothing in the guest's memory proves it: look whether names fit.",
        )
    )
