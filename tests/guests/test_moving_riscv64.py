"""A riscv64 kernel that moves, asked what all generations are: Debian's cannot.

It is one of our own, with its types. Three questions are left out: it keeps no frame pointers,
has no VMCOREINFO, which a dump is read by, and one flat array of pages, in which no page cache is
found.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gprof.guest.emulator import find_qemu
from gprof.guest_stacks import unwinding_of
from gprof.sources import Sources
from symbols.unwinding.unwind import Way
from tests.guests.debian_kernel import KERNELS, KernelUnavailable, fetch_kernel
from tests.guests.generations import Expected, Generation
from tests.guests.linux import PLATFORMS, boot, find_busybox
from tests.guests.own_kernel import DESCRIBED, Variant, build_kernel
from tests.guests.test_generations import (  # noqa: F401 - pytest finds them here
    Figure,
    awake,
    figure,
    taken,
    test_every_source_of_symbols_names_a_sample_alike,
    test_kallsyms_from_memory_is_that_of_the_guest,
    test_modules_are_those_of_the_guest,
    test_tasks_are_those_that_the_guest_lists,
    test_the_slide_is_that_of_the_guest,
)

pytestmark = [pytest.mark.guest, pytest.mark.generations, pytest.mark.timeout(4 * 3600)]

MOVING = Variant(
    "6.12-riscv64",
    "riscv64",
    ("CONFIG_KALLSYMS_ALL=y", *DESCRIBED),
    "riscv64",
    packages="pahole",
)
#: Its vcpus are all in firmware at times: one look of nine lacked something for that.
LOOKS = 20


@pytest.fixture(scope="module")
def generation() -> Iterator[Generation]:
    """The kernel at work, paused."""
    platform = PLATFORMS["riscv64"]
    if find_qemu(platform.program) is None:
        pytest.skip(f"{platform.program} is not installed")
    busybox = find_busybox()
    if busybox is None:
        pytest.skip("no static busybox is installed (apt-get install busybox-static)")
    try:
        kernel = build_kernel(MOVING, fetch_kernel(KERNELS["riscv64-6.12"]).busybox)
    except KernelUnavailable as reason:
        pytest.skip(str(reason))
    guest = boot(kernel, busybox, steady=True, patience=600)
    guest.pause()
    expected = Expected(stacks=500, drgn=False, way=Way.FP, moved=True, patience=600)
    yield Generation("riscv64-moving", guest, expected)
    guest.close()


def test_every_look_finds_all_modules(
    generation: Generation,
    figure: Figure,  # noqa: F811
) -> None:
    found = 0
    with generation.guest.awake():
        for _ in range(LOOKS):
            attached = generation.attach(Sources())
            attached.close()
            modules = attached.introspected.modules
            found += modules is not None and all(
                image.table is not None for image in modules.images.values()
            )
            assert not attached.introspected.problems
    figure("looks", f"{found}/{LOOKS}")
    assert found == LOOKS


def test_no_stacks_are_taken_where_no_frames_are_kept(generation: Generation) -> None:
    attached = generation.attach(generation.by_vmlinux)
    attached.close()
    chosen = unwinding_of(attached, Way.AUTO)
    assert chosen.unwinder is None
    assert "functions of the kernel keep a frame pointer" in chosen.why
