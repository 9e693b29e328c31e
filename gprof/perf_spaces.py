"""What the addresses of a guest mean that perf sampled: its files, and what the recording tells."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from gprof.given_symbols import GivenSymbols
from gprof.guest.architectures import BY_NAME
from gprof.profile.code import Code
from gprof.profile.profile import Guest
from gprof.sampling.perf_guests import PerfGuest
from gprof.sampling.source import Mode, SampleBatch, Source, SourceFacts
from gprof.sources import Sources
from symbols.errors import MismatchError, SlideUnknown
from symbols.guest_identity import Identity, identity_of
from symbols.kernel_space import kernel_space
from symbols.modules import Module
from symbols.slide import Anchor, Method, Slide
from symbols.space import AddressSpace, ImageKind, LoadedImage

#: Shares of kernel samples for a place to be believed: of those in the kernel's gigabyte, in its
#: text; of all, in what is known.
_MOST = 0.95
_FEW = 0.3
#: Samples of a stream after which a place is judged; and as many as tell all there is to know.
_ENOUGH = 100
_JUDGED = 10_000
#: Of so many samples all are looked at; of more, every second, third, …
_LOOKED_AT = 1 << 20
#: What proves nothing: files of any boot say so much.
_DOUBTFUL = frozenset({Method.LINK_ADDRESS, Method.KALLSYMS})
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


class PerfStream(PerfSource, Source, Protocol):
    """A source of guest samples that perf records now."""


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
    code: dict[int, Code] = field(default_factory=dict)
    slides: dict[int, Slide | None] = field(default_factory=dict)
    _known: dict[int, PerfGuest] = field(default_factory=dict)
    _seen: dict[int, _Seen] = field(default_factory=dict)

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
            self._seen.pop(guest.id, None)
        release = sources.image.linux_release if sources.image is not None else None
        self.guests[guest.id] = Guest(
            id=guest.id,
            name=guest.name,
            architecture=architecture,
            vcpus=guest.vcpus,
            kernel=release or "",
            build_id=guest.build_id,
            pid=guest.pid,
        )

    def refuse_doubtful(
        self,
        guest: NDArray[np.uint16],
        pc: NDArray[np.uint64],
        kernel: NDArray[np.bool_],
        *,
        at_least: int = 1,
    ) -> None:
        """Refuse a kernel of which nothing proves where it ran, if samples lie elsewhere.

        May be called for one part of the samples after another; it judges all of them together.

        Args:
            guest: of each sample.
            pc: of each.
            kernel: which of them are in a kernel.
            at_least: so few of a guest's samples tell nothing yet.

        Raises:
            SlideUnknown: names would be wrong, or chance.
        """
        step = len(pc) // _LOOKED_AT + 1
        guest, pc, kernel = guest[::step], pc[::step], kernel[::step]
        for number, slide in self.slides.items():
            if slide is None or not _DOUBTFUL.issuperset(slide.agreeing):
                continue
            space, here = self.spaces[number], pc[kernel & (guest == number)]
            here = here[:: len(here) // _JUDGED + 1]
            start = next((i.start for i in space.images if i.kind is ImageKind.KERNEL), 0)
            # Modules may lie elsewhere: what counts most is the kernel's own gigabyte.
            near = here >> np.uint64(30) == np.uint64(start >> 30)
            held = space.resolve(here).image >= 0
            seen = self._seen.setdefault(number, _Seen())
            seen.add(len(here), int(held.sum()), int(near.sum()), int((held & near).sum()))
            if seen.samples >= at_least and seen.elsewhere(slide.method):
                raise self._elsewhere(number, slide.method)

    def _elsewhere(self, number: int, method: Method) -> SlideUnknown:
        name = self.guests[number].name
        if method is Method.KALLSYMS:
            return SlideUnknown(
                f"the kallsyms given for the guest {name} is of another boot or another guest: "
                "its samples are not where the kernel is there",
                "Give its /proc/kallsyms of the boot that was recorded, with several guests as "
                "--guestkallsyms PID=FILE for each.",
            )
        return SlideUnknown(
            f"nothing in the recording tells where the guest {name} ran its kernel, and its "
            "samples are not where the vmlinux was linked (KASLR)",
            "Give its /proc/kallsyms of that boot as --guestkallsyms; or record with "
            "`perf kvm --guestkallsyms FILE record`, which notes it.",
        )


@dataclass(slots=True)
class _Seen:
    """Kernel samples of one guest, against what its files say.

    Attributes:
        samples: all of them.
        held: those that an image holds.
        near: those in the kernel's gigabyte.
        held_near: those in it that an image holds.
    """

    samples: int = 0
    held: int = 0
    near: int = 0
    held_near: int = 0

    def add(self, samples: int, held: int, near: int, held_near: int) -> None:
        self.samples += samples
        self.held += held
        self.near += near
        self.held_near += held_near

    def elsewhere(self, method: Method) -> bool:
        """They are not where the kernel should be."""
        if self.held_near < _MOST * self.near:
            return True
        # A kallsyms knows the modules too, so that a guest may be in them most of the time.
        known = self.held if method is Method.KALLSYMS else self.near
        return known < _FEW * self.samples


class NamedPerf:
    """A source of perf's samples that ends in failure where the symbols given do not fit them.

    Args:
        source: what perf records.
        spaces: follows its guests.
    """

    def __init__(self, source: PerfStream, spaces: PerfSpaces) -> None:
        self._source = source
        self._spaces = spaces

    def batches(self) -> Iterator[SampleBatch]:
        """See `Source.batches`.

        Raises:
            SymbolsError: the symbols are of another kernel, or another boot.
        """
        for batch in self._source.batches():
            self.known()
            kernel = batch.mode == Mode.KERNEL
            self._spaces.refuse_doubtful(batch.guest, batch.pc, kernel, at_least=_ENOUGH)
            yield batch

    def known(self) -> tuple[Mapping[int, Guest], Mapping[int, AddressSpace]]:
        """The guests and what their addresses mean, as they are now."""
        return self._spaces.follow(self._source)

    def facts(self) -> SourceFacts:
        """See `Source.facts`."""
        return self._source.facts()

    def close(self) -> None:
        """See `Source.close`."""
        self._source.close()


def _refuse_other_kernel(sources: Sources, guest: PerfGuest) -> None:
    image = sources.image
    if image is not None and guest.build_id and image.build_id not in {b"", guest.build_id}:
        raise MismatchError(
            f"this vmlinux is {identity_of(image)}, the recorded guest {guest.name} ran "
            f"{Identity('', guest.build_id)}",
            "Give the vmlinux of the kernel that the guest ran; PID=FILE gives each guest its own.",
        )


def _slide(sources: Sources, guest: PerfGuest, architecture: str) -> Slide | None:
    """Where the guest's kernel ran: by kallsyms, or by the symbol that perf noted of it.

    Raises:
        MismatchError: what perf noted contradicts the files.
    """
    reference, image, kallsyms = guest.reference, sources.image, sources.kallsyms
    given = anchor = None
    if reference is not None:
        anchor = Anchor((reference.symbol,), reference.address, Method.GIVEN)
        if image is not None:
            there = kallsyms.address_of(reference.symbol) if kallsyms is not None else None
            if there not in {None, reference.address}:
                raise MismatchError(
                    f"the kallsyms given for the guest {guest.name} is of another boot: it has "
                    f"{reference.symbol} at {there:#x}, perf noted {reference.address:#x}",
                    "Leave it out: the recording tells where the vmlinux was.",
                )
            linked = image.address_of(reference.symbol)
            given = None if linked is None else reference.slide(linked)
    known = architecture if architecture in BY_NAME else ""
    return sources.find_slide(known, anchor=anchor, given=given)


def _space(
    sources: Sources, guest: PerfGuest, slide: Slide | None, architecture: str
) -> AddressSpace:
    noted_modules = tuple(
        Module(module.name, module.start, module.size) for module in guest.modules if module.size
    )
    # Where a kallsyms has slid, it and the modules that came with it are of another boot.
    slid = sources.image is None and slide is not None and slide.offset != 0
    modules = noted_modules if slid else sources.modules or noted_modules
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
