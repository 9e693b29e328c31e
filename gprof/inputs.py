"""What `-i FILE` may be, recognised by content, as a profile."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from gprof.attach import Sources
from gprof.errors import FormatError
from gprof.guest.architectures import BY_NAME
from gprof.profile.profile import Profile
from gprof.recording.reader import read
from gprof.recording.recognition import kind_of
from symbols.errors import MismatchError
from symbols.guest_identity import Identity, identity_of
from symbols.memory import Memory
from symbols.slide import Method, Slide, Verified
from symbols.space import AddressSpace, ImageKind, LoadedImage


@dataclass(frozen=True, slots=True)
class Input:
    """A profile from a file, and the code of its guests.

    Attributes:
        profile: what was sampled.
        code: instructions by guest id.
    """

    profile: Profile
    code: dict[int, Memory]


def load(path: Path, sources: Sources) -> Input:
    """Read a recording.

    Args:
        path: of the file.
        sources: symbols to use instead of those that the recording carries.

    Raises:
        FormatError: gprof reads no such file.
        UsageError, PermissionProblem: it cannot be opened.
        SymbolsError: the symbols are of another kernel than the recording's.
    """
    if kind_of(path) != "gprof":
        raise FormatError(
            f"{path} is a recording of perf, which this version does not read",
            "Record with `gprof record`.",
        )
    profile = read(path)
    slides = {guest: _slide(profile, guest, sources) for guest in profile.guests}
    if sources:
        spaces = {
            guest.id: sources.space(slides[guest.id], BY_NAME.get(guest.architecture))
            for guest in profile.guests.values()
        }
        profile = replace(profile, spaces=spaces)
    code = {
        guest: sources.code(profile.texts.get(guest), slides[guest]) for guest in profile.guests
    }
    return Input(profile, code)


def _slide(profile: Profile, number: int, sources: Sources) -> Slide | None:
    """Where a recorded guest ran the kernel of `sources`: the recording knows, by its build id."""
    if sources.image is None:
        return None
    guest = profile.guests[number]
    kernel = _kernel(profile.space(number))
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
