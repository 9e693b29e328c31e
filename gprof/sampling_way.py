"""What samples a guest: its stub, its monitor, or the one and then the other."""

from __future__ import annotations

from gprof.attach import Attached
from gprof.errors import UsageError
from gprof.guest.monitored import MonitoredMachine
from gprof.sampling.gathering import Unstacking
from gprof.sampling.gentler import GentlerSource
from gprof.sampling.halting import HaltingOptions, HaltingSource
from gprof.sampling.monitor import MonitorOptions, MonitorSource
from gprof.sampling.task_numbers import Following
from gprof.sampling.weighing import Weighing


def require_both(*, stub: bool, monitor: bool) -> None:
    """Refuse a bound for the length of stops where that is not known.

    Raises:
        UsageError: the stub or the monitor is missing.
    """
    if not stub or not monitor:
        raise UsageError(
            "--max-halt-latency needs the stub and the monitor",
            "Only the monitor tells of every stop how long it took, and only the stub makes any: "
            "give --gdb and --qmp (or --domain).",
        )


def source_of(
    attached: Attached,
    *,
    hz: float,
    max_halted: float,
    vcpus: tuple[int, ...] | None = None,
    unstacking: Unstacking | None = None,
    stacks_if_cheap: bool = False,
    following: Following | None = None,
    by_running: bool = False,
    max_latency_ns: int | None = None,
) -> HaltingSource | MonitorSource | GentlerSource:
    """What samples the guest: through its stub where that is connected, else its monitor.

    Where both are, the stub samples, and hands over to the monitor if its stops cost too much.

    Args:
        attached: the guest; the source lets go of it.
        hz: samples a second, of each vcpu.
        max_halted: the share of time that the guest may be kept from running.
        vcpus: indices to sample; None for all.
        unstacking: of `Attached.unstacking`.
        stacks_if_cheap: see `HaltingOptions`.
        following: of `follow_tasks`.
        by_running: weigh samples by the time that vcpus had a processor of the host.
        max_latency_ns: see `HaltingOptions`.

    Raises:
        UsageError: the guest has no such vcpu, the host's threads are wanted and not to be
            seen, or nothing tells how long each stop took.
    """
    if max_latency_ns is not None:
        require_both(stub=attached.stub_samples, monitor=attached.monitored is not None)
    machine = attached.live
    seen = attached.monitored or machine

    def weighing() -> Weighing | None:
        return Weighing.of(seen.threads().only(vcpus), by_running=by_running)

    if isinstance(machine, MonitoredMachine):
        options = MonitorOptions(hz=hz, vcpus=vcpus, following=following, unstacking=unstacking)
        return MonitorSource(machine, options, weighing=weighing())
    monitored = attached.monitored
    hands_over = monitored is not None and monitored.why_no_looks is None
    halting = HaltingOptions(
        hz=hz,
        vcpus=vcpus,
        max_halted=max_halted,
        unstacking=unstacking,
        stacks_if_cheap=stacks_if_cheap,
        following=following,
        max_latency_ns=max_latency_ns,
        may_hand_over=hands_over,
    )
    source = HaltingSource(machine, halting, monitored=monitored, weighing=weighing())
    if monitored is None or not hands_over:
        return source
    return GentlerSource(
        source,
        lambda: MonitorSource(
            monitored,
            MonitorOptions(
                hz=hz,
                vcpus=vcpus,
                # What is read through the stub ends with it.
                following=following if monitored.why_packets is None else None,
            ),
            weighing=weighing(),
        ),
    )
