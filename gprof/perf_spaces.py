"""What the addresses of a guest mean that perf sampled: its files, and what the recording tells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from gprof.attach import Sources
from gprof.given_symbols import GivenSymbols
from gprof.guest.architectures import BY_NAME
from gprof.profile.profile import Guest
from gprof.sampling.perf_guests import PerfGuest
from gprof.sampling.source import Mode, SampleBatch
from symbols.errors import MismatchError, SlideUnknown
from symbols.guest_identity import Identity, identity_of
from symbols.kernel_space import kernel_space
from symbols.memory import Memory
from symbols.modules import Module
from symbols.slide import Method, Slide, Verified
from symbols.space import AddressSpace, ImageKind, LoadedImage

#: Shares of samples for a kernel at its link address to be believed: in its text, in its gigabyte.
_MOST = 0.95
_FEW = 0.3
_NAMES = {"amd64": "x86_64", "arm64": "aarch64"}


class PerfSource(Protocol):
    """A source of guest samples that perf recorded."""

    @property
    def architecture(self) -> str:
        """Of the host, as `uname -m` names it; empty where unknown."""
        ...

    def guests(self) -> tuple[PerfGuest, ...]:
        """Every guest met so far."""
        ...


@dataclass(slots=True)
class PerfSpaces:
    """The guests of a recording and their address spaces, as they appear.

    Attributes:
        given: the symbol files.
        guests: by id.
        spaces: by id.
        code: instructions by id, where a vmlinux has them.
        slides: where their kernels ran, by id.
    """

    given: GivenSymbols
    guests: dict[int, Guest] = field(default_factory=dict)
    spaces: dict[int, AddressSpace] = field(default_factory=dict)
    code: dict[int, Memory] = field(default_factory=dict)
    slides: dict[int, Slide | None] = field(default_factory=dict)
    _known: dict[int, PerfGuest] = field(default_factory=dict)

    def follow(self, source: PerfSource) -> tuple[Mapping[int, Guest], Mapping[int, AddressSpace]]:
        """Take in guests that are new or better known; the guests and spaces as they are now.

        Raises:
            SymbolsError: a file is of another kernel than the guest's.
        """
        machine = source.architecture
        architecture = _NAMES.get(machine, machine)
        for guest in source.guests():
            if self._known.get(guest.id) != guest:
                self._take(guest, architecture)
                self._known[guest.id] = guest
        return dict(self.guests), dict(self.spaces)

    def _take(self, guest: PerfGuest, architecture: str) -> None:
        sources = Sources() if guest.is_host else self.given.of_guest(guest.pid)
        _refuse_other_kernel(sources, guest)
        before = self._known.get(guest.id)
        if before is None or (before.reference, before.modules) != (guest.reference, guest.modules):
            slide = _slide(sources, guest, architecture)
            self.spaces[guest.id] = _space(sources, guest, slide, architecture)
            self.code[guest.id] = sources.code(None, slide)
            self.slides[guest.id] = slide
        release = sources.image.linux_release if sources.image is not None else None
        self.guests[guest.id] = Guest(
            id=guest.id,
            name=guest.name,
            architecture=architecture,
            vcpus=guest.vcpus,
            kernel=release or "",
            build_id=guest.build_id,
        )

    def refuse_doubtful(self, samples: SampleBatch) -> None:
        """Refuse a kernel of which nothing tells where it ran, if the samples lie elsewhere.

        Raises:
            SlideUnknown: names would be wrong, or chance.
        """
        for number, slide in self.slides.items():
            if slide is None or slide.verified is not Verified.NOTHING:
                continue
            if slide.method is not Method.LINK_ADDRESS:
                continue
            pcs = samples.pc[(samples.guest == number) & (samples.mode == Mode.KERNEL)]
            kernels = [i for i in self.spaces[number].images if i.kind is ImageKind.KERNEL]
            if not len(pcs) or not kernels:
                continue
            # Modules lie elsewhere in any case: what counts is the kernel's own gigabyte.
            near = pcs[(pcs >> np.uint64(30)) == np.uint64(kernels[0].start >> 30)]
            inside = self.spaces[number].resolve(near).image >= 0
            if inside.sum() < _MOST * len(near) or len(near) < _FEW * len(pcs):
                raise SlideUnknown(
                    f"nothing in the recording tells where the guest {self.guests[number].name} "
                    "ran its kernel, and its samples are not where the vmlinux was linked (KASLR)",
                    "Give its /proc/kallsyms of that boot as --guestkallsyms; or record with "
                    "`perf kvm --guestkallsyms FILE record`, which notes it.",
                )


def _refuse_other_kernel(sources: Sources, guest: PerfGuest) -> None:
    image = sources.image
    if image is not None and guest.build_id and image.build_id not in {b"", guest.build_id}:
        raise MismatchError(
            f"this vmlinux is {identity_of(image)}, the recorded guest {guest.name} ran "
            f"{Identity('', guest.build_id)}",
            "Give the vmlinux of the kernel that the guest ran; PID=FILE gives each guest its own.",
        )


def _slide(sources: Sources, guest: PerfGuest, architecture: str) -> Slide | None:
    """Where the guest's kernel ran: by kallsyms, or by the symbol that perf noted of it."""
    reference = guest.reference
    given = None
    if reference is not None and sources.image is not None:
        linked = sources.image.address_of(reference.symbol)
        given = None if linked is None else reference.slide(linked)
    known = architecture if architecture in BY_NAME else ""
    return sources.find_slide(known, given=given)


def _space(
    sources: Sources, guest: PerfGuest, slide: Slide | None, architecture: str
) -> AddressSpace:
    modules = sources.modules or tuple(
        Module(module.name, module.start, module.size) for module in guest.modules if module.size
    )
    half = BY_NAME.get(architecture, BY_NAME["x86_64"]).kernel_half
    noted: list[LoadedImage] = []
    if not sources and guest.reference is not None:
        noted.append(
            LoadedImage("[kernel]", ImageKind.KERNEL, guest.reference.start, guest.reference.end)
        )
    return kernel_space(
        image=sources.image,
        kallsyms=sources.kallsyms,
        modules=modules,
        slide=slide.offset if slide else 0,
        extra=noted,
        kernel_half=half,
    )
