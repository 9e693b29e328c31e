"""The files that describe a guest, opened: kernel, symbols, modules, firmware."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gprof.guest.architectures import BY_NAME, Architecture
from gprof.profile.code import Code
from symbols.elf import Image
from symbols.entry_trampoline import Trampoline
from symbols.errors import MismatchError
from symbols.extra_images import ExtraImages
from symbols.kallsyms import Kallsyms
from symbols.kernel_space import kernel_space
from symbols.memory import Memory
from symbols.modules import Module, open_modules
from symbols.original import Original
from symbols.slide import Anchor, Slide, find_kallsyms_slide, find_slide
from symbols.space import AddressSpace, LoadedImage
from symbols.table import SymbolTable

_EVERYWHERE = (0, (1 << 64) - 1)


@dataclass(frozen=True, slots=True)
class Sources:
    """The files that describe a guest's kernel, opened.

    Attributes:
        image: vmlinux, or the one program of a guest without an operating system.
        kallsyms: of the boot that is profiled.
        modules: what /proc/modules says.
        module_images: of those, the ones whose functions are known by themselves, by name.
        generated: text that the guest's kernel made at run time, by the name of its kind.
        programs: ranges of memory for BPF programs, with names and without.
        trampoline: where user mode leaves and enters a kernel that hides itself from it.
        extras: firmware and whatever else was named beside the kernel.
        directories: roots of the guest's files, or directories of its modules.
    """

    image: Image | None = None
    kallsyms: Kallsyms | None = None
    modules: tuple[Module, ...] = ()
    module_images: Mapping[str, LoadedImage] = field(default_factory=dict)
    generated: Mapping[str, SymbolTable] = field(default_factory=dict)
    programs: tuple[tuple[int, int], ...] = ()
    trampoline: Trampoline | None = None
    extras: ExtraImages = field(default_factory=ExtraImages)
    directories: tuple[Path, ...] = ()

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

    def without_kernel(self) -> Sources:
        """What they say of everything but the kernel and its modules."""
        return Sources(extras=self.extras, directories=self.directories)

    @property
    def runs_linux(self) -> bool:
        """Whether the guest runs Linux, as far as its files tell."""
        return self.image is None or self.image.linux_release is not None

    def code(self, running: Memory | None, slide: Slide | None) -> Code:
        """Where instructions are read: from the guest, and what it cannot give, from its file.

        Args:
            running: the guest's memory, or what a recording kept of it.
            slide: from `find_slide`.
        """
        if self.image is None:
            return Code(running)
        return Code(running, Original(self.image, slide.offset if slide else 0))

    def find_slide(
        self,
        architecture: str,
        memory: Memory | None = None,
        anchor: Anchor | None = None,
        given: int | None = None,
    ) -> Slide | None:
        """Where the guest runs this kernel; None where there are no symbols of one.

        Args:
            architecture: of the guest; empty where unknown.
            memory: the guest's.
            anchor: what a register says, or the kernel itself.
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
                self.image, kallsyms=self.kallsyms, memory=memory, anchor=anchor, given=given
            )
        if self.kallsyms is not None:
            return find_kallsyms_slide(
                self.kallsyms, memory=memory, anchor=anchor, architecture=architecture
            )
        return None

    def space(self, slide: Slide | None, architecture: Architecture | None) -> AddressSpace:
        """What these files say is loaded where.

        Args:
            slide: from `find_slide`.
            architecture: of the guest; None where unknown.
        """
        if not self.runs_linux:
            half = _EVERYWHERE  # without an operating system there is no user space
        else:
            half = (architecture or BY_NAME["x86_64"]).kernel_half
        return kernel_space(
            image=self.image,
            kallsyms=self.kallsyms,
            modules=self.modules,
            module_images=self.module_images,
            generated=self.generated,
            programs=self.programs,
            trampoline=self.trampoline,
            slide=slide.offset if slide else 0,
            extra=[extra.loaded for extra in self.extras.images],
            kernel_half=half,
        )

    def starting_space(self, architecture: Architecture) -> AddressSpace:
        """What is loaded where in a guest that has not come to its kernel yet."""
        return AddressSpace(
            [extra.loaded for extra in self.extras.images],
            kernel_half=architecture.kernel_half,
            starting=True,
        )
