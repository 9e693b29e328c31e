"""A recording by the names of files instead of those that it carries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from gprof.given_symbols import GivenSymbols
from gprof.guest.architectures import BY_NAME
from gprof.profile.code import Code
from gprof.profile.profile import Guest, Profile
from gprof.sources import Sources
from symbols.errors import MismatchError
from symbols.guest_identity import Identity, identity_of
from symbols.slide import Method, Slide, Verified
from symbols.space import AddressSpace, ImageKind, LoadedImage

#: What a kernel has loaded, or made at run time.
_MADE_BY_THE_KERNEL = frozenset({ImageKind.MODULE, ImageKind.GENERATED})


def renamed(profile: Profile, given: GivenSymbols) -> tuple[Profile, dict[int, Code]]:
    """The profile with the spaces that the files describe, and the code of its guests.

    Raises:
        UsageError: files are given for a guest that is not in it.
        SymbolsError: they are of another kernel than the recording's.
    """
    spaces, code = dict(profile.spaces), dict[int, Code]()
    pids = [guest.pid for guest in profile.guests.values() if guest.pid > 0]
    if pids:
        given.refuse_strangers(pids)
    for number, guest in profile.guests.items():
        sources = _sources(guest, given)
        eras = profile.space(number).eras
        slides = _slides(guest, eras, sources)
        if sources or sources.extras:
            spaces[number] = _renamed(guest, eras, slides, sources)
        code[number] = sources.code(profile.texts.get(number), slides[-1])
    return replace(profile, spaces=spaces), code


def _sources(guest: Guest, given: GivenSymbols) -> Sources:
    """The files for one guest of a recording; its own names serve where there are none."""
    if guest.pid < 0:
        return Sources()  # the host
    return given.of_guest(guest.pid) if guest.pid else given.only()


def _renamed(
    guest: Guest, eras: Sequence[AddressSpace], slides: Sequence[Slide | None], sources: Sources
) -> AddressSpace:
    """A recorded guest by the names of files; the eras of other kernels keep those recorded."""
    spaces: list[AddressSpace] = []
    for era, slide in zip(eras, slides, strict=True):
        firmware = [image for image in era.images if image.kind is ImageKind.FIRMWARE]
        if slide is not None or (sources and sources.image is None):
            files = sources.space(slide, BY_NAME.get(guest.architecture))
            images = [*firmware, *files.images]
            if not sources.modules and sources.kallsyms is None:
                # Of these the files say nothing.
                images += [image for image in era.loaded() if image.kind in _MADE_BY_THE_KERNEL]
            found = AddressSpace(images, kernel_half=files.kernel_half)
        else:
            given = [extra.loaded for extra in sources.extras.images]
            # Of some only a range was recorded, for want of a file that may be given now.
            nameless = [image for image in firmware if not image.table]
            others = [
                image for image in era.images if image.table or image.kind is not ImageKind.FIRMWARE
            ]
            found = AddressSpace(
                [*nameless, *given, *others],
                kernel_half=era.kernel_half,
                starting=era.starting,
            )
        spaces.append(found.following(tuple(spaces), era.since_ns))
    return spaces[-1]


def _slides(guest: Guest, eras: Sequence[AddressSpace], sources: Sources) -> list[Slide | None]:
    """Where the guest ran the kernel of `sources` in each era, None where it ran another.

    Raises:
        MismatchError: it never ran it.
        SlideUnknown: nothing tells.
    """
    slides: list[Slide | None] = []
    refused: MismatchError | None = None
    for era in eras:
        try:
            slides.append(_slide(guest, era, sources))
        except MismatchError as mismatch:
            slides.append(None)
            refused = mismatch
    if refused is not None and not any(slides):
        raise refused
    return slides


def _slide(guest: Guest, era: AddressSpace, sources: Sources) -> Slide | None:
    """Where a recorded guest ran the kernel of `sources`: the recording knows, by its build id."""
    if sources.image is None or (era.starting and _kernel(era) is None):
        return None
    kernel = _kernel(era)
    if kernel is None or not kernel.build_id or not sources.image.build_id:
        return sources.find_slide(guest.architecture)
    if kernel.build_id != sources.image.build_id:
        ran = Identity(guest.kernel, kernel.build_id)
        raise MismatchError(
            f"this vmlinux is {identity_of(sources.image)}, the recorded guest ran {ran}",
            "Give the vmlinux of the kernel that was recorded, or none: the recording has the "
            "names of what it sampled.",
        )
    return Slide(kernel.slide, Method.GIVEN, (Method.GIVEN,), Verified.BUILD_ID)


def _kernel(space: AddressSpace) -> LoadedImage | None:
    return next((image for image in space.images if image.kind is ImageKind.KERNEL), None)
