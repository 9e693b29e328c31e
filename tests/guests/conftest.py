"""Guests for every test in this folder; a test that asks for one is skipped where there is none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import pytest
from _pytest.terminal import TerminalReporter

from gprof.guest.demo import qemu_available
from tests.guests.debian_kernel import DebianKernel, KernelUnavailable, fetch_kernel
from tests.guests.linux import LinuxGuest, boot, find_busybox
from tests.guests.watched_demo import WatchedDemo

#: The first test that asks for a guest may have to download 300 MB and boot three times.
PATIENCE = 1200
#: What a test of the bundled guest may take on two slow cores that others use as well.
DEMO_PATIENCE = 600

#: A kernel, and the busybox that packs its initramfs.
Bootable: TypeAlias = tuple[DebianKernel, Path]

#: By generation and question, what was measured; shown when all tests are through.
FIGURES = pytest.StashKey[dict[tuple[str, str], str]]()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        asked = set(getattr(item, "fixturenames", ()))
        if asked & {"bootable", "demo_guest", "qemu"}:
            item.add_marker(pytest.mark.guest)
        if "bootable" in asked:
            item.add_marker(pytest.mark.timeout(PATIENCE))
        elif item.get_closest_marker("guest") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(DEMO_PATIENCE))


def pytest_terminal_summary(terminalreporter: TerminalReporter, config: pytest.Config) -> None:
    figures = config.stash.get(FIGURES, {})
    if figures:
        terminalreporter.section("what agreed")
    for (generation, question), value in figures.items():
        terminalreporter.line(f"{generation:<14} {question:<22} {value}")


@pytest.fixture(scope="session")
def record_figure(pytestconfig: pytest.Config) -> Callable[[str, str, str], None]:
    """Keeps a value for the end, by generation and question."""
    figures = pytestconfig.stash.setdefault(FIGURES, {})

    def record(generation: str, question: str, value: str) -> None:
        figures[generation, question] = value

    return record


def _require_qemu() -> None:
    if qemu_available() is None:
        pytest.skip("qemu-system-x86_64 is not installed (apt-get install qemu-system-x86)")


@pytest.fixture(scope="session")
def bootable() -> Bootable:
    """Debian's cloud kernel and a busybox to boot it with."""
    _require_qemu()
    busybox = find_busybox()
    if busybox is None:
        pytest.skip("no static busybox is installed (apt-get install busybox-static)")
    try:
        return fetch_kernel(), busybox
    except KernelUnavailable as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="session")
def booted_linux_guest(bootable: Bootable) -> Iterator[LinuxGuest]:
    """Debian's cloud kernel at work on two vcpus, paused; use it within `awake()`."""
    guest = boot(*bootable)
    # It works all the time, and would slow down every test that does not ask for it.
    guest.pause()
    yield guest
    guest.close()


@pytest.fixture
def linux_guest(booted_linux_guest: LinuxGuest) -> Iterator[LinuxGuest]:
    """Debian's cloud kernel at work on two vcpus; one for all tests, so leave it in order."""
    with booted_linux_guest.awake() as guest:
        yield guest


@pytest.fixture
def qemu() -> None:
    """Nothing but the certainty that QEMU is installed."""
    _require_qemu()


@pytest.fixture
def demo_guest(qemu: None) -> Iterator[WatchedDemo]:
    """The bundled guest on two vcpus, for this test alone: it may be stopped or broken."""
    with WatchedDemo() as guest:
        yield guest
