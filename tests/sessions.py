"""Sessions that a screen can look at without a guest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from gprof.errors import GprofError
from gprof.profile.exit_table import ExitGroup, ExitRow, ExitTable
from gprof.profile.profile import Guest, Profile
from gprof.sampling.source import SampleBatch
from tests.profiles import synthetic


class FrozenSession:
    """Stays as it is until a test changes it.

    Args:
        profile: what it shows.
        ended: no more samples will come.
        failure: why it ended.
    """

    def __init__(
        self, profile: Profile, *, ended: bool = True, failure: GprofError | None = None
    ) -> None:
        self.profile = profile
        self.ended = ended
        self.failure = failure

    def snapshot(self) -> Profile:
        return self.profile

    def reset(self) -> None:
        self.profile = replace(self.profile, samples=SampleBatch.empty())


def frozen(samples: int = 2000, *, stacks: bool = False, vcpus: int = 2) -> Profile:
    """The synthetic profile, with its samples taken from any number of vcpus in turn."""
    profile = synthetic(samples, stacks)
    vcpu = (np.arange(samples) % vcpus).astype(np.uint16)
    guest = replace(profile.guests[0], vcpus=tuple(range(vcpus)))
    return replace(profile, samples=replace(profile.samples, vcpu=vcpu), guests={0: guest})


def grown(profile: Profile, more: SampleBatch) -> Profile:
    """The profile with samples behind those that it has."""
    both = SampleBatch.concatenate([profile.samples, more])
    return replace(profile, samples=both, facts=replace(profile.facts, taken=len(both)))


def stacked() -> FrozenSession:
    """The synthetic profile with call stacks."""
    return FrozenSession(frozen(stacks=True))


def of_two_guests(profile: Profile) -> FrozenSession:
    """A profile whose samples from the thousandth on are of another guest, which runs the same."""
    guest = profile.samples.guest.copy()
    guest[1000:] = 1
    return FrozenSession(
        replace(
            profile,
            samples=replace(profile.samples, guest=guest),
            guests={0: profile.guests[0], 1: Guest(1, "db[1]")},
            spaces={0: profile.space(0), 1: profile.space(0)},
        )
    )


class SomeExits:
    """Exits that stand still."""

    def __init__(self, failure: GprofError | None = None, name: str = "web1") -> None:
        self.failure = failure
        self.name = name

    def count(self, by: Sequence[ExitGroup]) -> ExitTable:
        if self.failure is not None:
            raise self.failure
        rows = [
            ExitRow(
                guest=0 if by[0] is not ExitGroup.REASON else None,
                vcpu=1 if ExitGroup.VCPU in by else None,
                reason=reason if ExitGroup.REASON in by else "",
                symbol=symbol if ExitGroup.SYMBOL in by else None,
                count=count,
                share_percent=50.0,
                total_ns=total,
                time_percent=total / 60_000,
                min_ns=900,
                max_ns=2 * total,
                mean_ns=total / count,
                deviation_percent=1.5,
                p50_ns=total // count,
                p99_ns=total,
            )
            for reason, symbol, count, total in (
                ("msr", "native_write_msr", 400, 4_000_000),
                ("hlt", "default_idle", 20, 1_500_000),
                ("io", None, 7, 500_000),
            )
        ]
        return ExitTable(tuple(rows), 427, 6_000_000, 0, 0, "host")

    def names(self) -> Mapping[int, str]:
        return {0: self.name}
