"""A profile: samples, what their numbers mean, and how they were taken."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gprof.profile.stacks import StackTable
from gprof.profile.tasks import TaskTable
from gprof.profile.user_spaces import UserSpaces
from gprof.sampling.source import SampleBatch, SourceFacts
from symbols.memory import BytesMemory
from symbols.space import AddressSpace, SymbolAt


@dataclass(frozen=True, slots=True)
class Guest:
    """One virtual machine.

    Attributes:
        id: its number in the `guest` column.
        name: what people call it.
        architecture: `x86_64`, `aarch64`, …; empty where unknown.
        vcpus: the indices of its vcpus that are sampled.
        kernel: the release that it runs, such as `6.1.0-56-cloud-amd64`; empty where unknown.
        build_id: of its kernel; empty where unknown.
        pid: of its hypervisor on the host; 0 where unknown, -1 for the host itself.
    """

    id: int
    name: str
    architecture: str = ""
    vcpus: tuple[int, ...] = ()
    kernel: str = ""
    build_id: bytes = b""
    pid: int = 0


@dataclass(frozen=True, slots=True)
class Profile:
    """Everything that was sampled up to one instant; never changes.

    Attributes:
        samples: the columns, ordered by arrival.
        facts: how the samples were taken.
        guests: by id.
        spaces: what the addresses of each guest mean, by guest id: the last of its eras, which
            knows the earlier ones.
        stacks: the stacks that `samples.stack` numbers.
        tasks: the tasks that `samples.task` numbers.
        user_spaces: what the user spaces of tasks have mapped.
        texts: instructions of hot functions by guest id, where they were kept.
        started_ns: wall-clock time of the start, nanoseconds since the epoch; 0 where unknown.
    """

    samples: SampleBatch
    facts: SourceFacts
    guests: Mapping[int, Guest]
    spaces: Mapping[int, AddressSpace]
    stacks: StackTable = field(default_factory=StackTable)
    texts: Mapping[int, BytesMemory] = field(default_factory=dict)
    started_ns: int = 0
    tasks: TaskTable = field(default_factory=TaskTable)
    user_spaces: UserSpaces = field(default_factory=UserSpaces)

    def space(self, guest: int) -> AddressSpace:
        """The address space of a guest now; an empty one where nothing is known of it."""
        return self.spaces.get(guest) or AddressSpace()

    def symbol_at(self, guest: int, address: int, era: int = 0) -> SymbolAt | None:
        """The symbol of a `Row` or `Place`: where it is now, else where it was in that era."""
        space = self.space(guest)
        found = space.eras[era].symbol_at(address) if era < len(space.eras) else None
        if found is None or era == len(space.earlier):
            return found
        return space.counterpart(found) or found
