"""Sessions that a screen can look at without a guest."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gprof.errors import GprofError
from gprof.profile.profile import Profile
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
