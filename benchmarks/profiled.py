"""A profile taken while something else goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from gprof.attach import Attached, attach
from gprof.guest.address import Address
from gprof.guest.emulator import Emulator
from gprof.guest.machine import Machine
from gprof.guest.mode import Mode
from gprof.sampling.source import SampleBatch, SourceFacts
from gprof.sampling_way import source_of
from gprof.sources import Sources

#: The ways to sample, by name: whether by the stub, else by the monitor.
LOOKED_AT_BY = {"stub": True, "monitor": False}


@dataclass(slots=True)
class Profiled:
    """What was sampled.

    Attributes:
        attached: the guest, let go when the profile is complete.
        batches: as they came.
        facts: how they were taken.
    """

    attached: Attached
    facts: SourceFacts
    batches: list[SampleBatch] = field(default_factory=list)

    @property
    def taken(self) -> SampleBatch:
        return SampleBatch.concatenate(self.batches)


def attached_by(way: str, guest: Emulator, vmlinux: Path, kallsyms: Path | None) -> Attached:
    """Attach to a guest in one of the ways of `LOOKED_AT_BY`; see `profiled`."""
    by_stub = LOOKED_AT_BY[way]
    return attach(
        Address.parse(guest.gdb_address) if by_stub else None,
        Sources.open(vmlinux, kallsyms, None),
        monitor=None if by_stub else Address.parse(guest.qmp_address),
    )


@contextmanager
def profiled(
    guest: Emulator,
    way: str,
    hz: float,
    vmlinux: Path,
    kallsyms: Path | None = None,
    *,
    changed: Callable[[Machine], None] | None = None,
) -> Iterator[Profiled]:
    """Sample a guest in another thread, from the first sample until the end of the context.

    No budget holds it back: rates are compared.

    Args:
        guest: to sample.
        way: of `LOOKED_AT_BY`.
        hz: samples a second and vcpu.
        vmlinux: of the guest.
        kallsyms: of the guest, where its kernel is not where it was linked.
        changed: may change the machine before it is sampled by the stub.
    """
    attached = attached_by(way, guest, vmlinux, kallsyms)
    if changed is not None and isinstance(attached.machine, Machine):
        changed(attached.machine)
    source = source_of(attached, hz=hz, max_halted=1.0)
    found = Profiled(attached, source.facts())
    first = threading.Event()

    def sample() -> None:
        try:
            for batch in source.batches():
                found.batches.append(batch)
                if len(batch):
                    first.set()
        finally:
            first.set()

    sampler = threading.Thread(target=sample, name="sampler")
    sampler.start()
    try:
        first.wait()
        yield found
    finally:
        source.close()
        sampler.join()
        found.facts = source.facts()


def busy(taken: SampleBatch) -> SampleBatch:
    """The samples of vcpus that did not idle."""
    return taken.select(taken.mode != Mode.IDLE)
