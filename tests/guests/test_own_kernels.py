"""Kernels that describe nothing of themselves: what their modules show is enough to name them.

Some shuffle their structures as well; the vmlinux of those tells even less than nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from gprof.attach import Attached, attach
from gprof.guest.address import Address
from gprof.guest.demo import qemu_available
from gprof.profile.tasks import TaskTable
from gprof.sources import Sources
from gprof.task_following import follow_tasks
from symbols.modules import open_modules
from tests.guests.debian_kernel import KernelUnavailable
from tests.guests.linux import LinuxGuest, boot, find_busybox
from tests.guests.own_kernel import SHUFFLED, SHUFFLED_BY_CLANG, Variant, build_kernel

# The first run builds the kernels.
pytestmark = [pytest.mark.guest, pytest.mark.generations, pytest.mark.timeout(4 * 3600)]

#: A kernel's table lists its data, or its functions alone.
VARIANTS = (
    Variant("6.12-listed", "plain", ("CONFIG_KALLSYMS_ALL=y",)),
    Variant("6.12-unlisted", "plain", ("CONFIG_KALLSYMS_ALL=n",)),
    SHUFFLED,
    SHUFFLED_BY_CLANG,
    replace(
        SHUFFLED,
        name="6.12-shuffled-unlisted",
        options=(*SHUFFLED.options[:-1], "CONFIG_KALLSYMS_ALL=n"),
    ),
)
#: A function of a module, as the guest lists it.
_FUNCTION = re.compile(r"^([0-9a-f]{16}) [tTwW] (\S+)\t\[(\S+)\]$", re.MULTILINE)


@pytest.fixture(scope="module", params=VARIANTS, ids=lambda variant: variant.name)
def own_guest(request: pytest.FixtureRequest) -> Iterator[LinuxGuest]:
    """One of our kernels at work."""
    if qemu_available() is None:
        pytest.skip("qemu-system-x86_64 is not installed (apt-get install qemu-system-x86)")
    busybox = find_busybox()
    if busybox is None:
        pytest.skip("no static busybox is installed (apt-get install busybox-static)")
    try:
        kernel = build_kernel(request.param, busybox)
    except KernelUnavailable as reason:
        pytest.skip(str(reason))
    guest = boot(kernel, busybox, steady=True, patience=600)
    yield guest
    guest.close()


@pytest.fixture
def by_nothing(own_guest: LinuxGuest) -> Attached:
    """What the guest's memory tells, with no file."""
    attached = attach(Address.parse(own_guest.gdb_address), Sources())
    attached.close()
    return attached


def test_it_has_no_types(own_guest: LinuxGuest) -> None:
    assert own_guest.run("ls /sys/kernel/btf 2>/dev/null") == b""


def test_modules_and_their_sizes_are_those_of_the_guest(
    own_guest: LinuxGuest, by_nothing: Attached
) -> None:
    expected = open_modules(own_guest.modules)
    assert len(expected) >= 10
    found = by_nothing.introspected
    assert not found.problems
    assert found.modules is not None
    listed = sorted((one.module for one in found.modules.listed), key=lambda one: one.start)
    assert tuple(listed) == expected


def test_functions_of_modules_are_those_of_the_guest(
    own_guest: LinuxGuest,
    by_nothing: Attached,
    record_figure: Callable[[str, str, str], None],
) -> None:
    space, kernel = by_nothing.space, own_guest.kernel.vmlinux.parent.name
    lines = _FUNCTION.findall(own_guest.kallsyms.read_text())
    same = 0
    for address, name, module in lines:
        at = space.symbol_at(int(address, 16))
        # Of several names of one address any will do.
        same += at is not None and (
            (at.symbol.name, at.image.name) == (name, module) or at.symbol.start == int(address, 16)
        )
    record_figure(kernel, "functions of modules", f"{same}/{len(lines)}")
    assert len(lines) > 100
    assert same == len(lines)


def test_a_vmlinux_is_believed_where_it_is_true(own_guest: LinuxGuest) -> None:
    kernel = own_guest.kernel.vmlinux.parent.name
    if "shuffled" not in kernel:
        pytest.skip("this kernel is built without debugging information")
    by_vmlinux = Sources.open(own_guest.vmlinux, None, None)
    attached = attach(Address.parse(own_guest.gdb_address), by_vmlinux)
    following, why = follow_tasks(attached, TaskTable())
    attached.close()
    found = attached.introspected.modules
    assert found is not None
    listed = sorted((one.module for one in found.listed), key=lambda one: one.start)
    assert tuple(listed) == open_modules(own_guest.modules)
    # Of GCC's what it says of tasks would be false.
    assert (following is None) == ("CONFIG_RANDSTRUCT" in why) == (kernel != SHUFFLED_BY_CLANG.name)
