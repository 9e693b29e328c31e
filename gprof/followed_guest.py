"""Keeps what a guest's addresses mean up to date while it is sampled.

A guest is reset, boots another kernel, loads and unloads modules. A thread beside the sampler's
looks at what was sampled, asks the guest's memory again where samples or the monitor give reason
to, and publishes an address space that knows from when on it holds. The sampler waits for nothing
of it but the stops in which memory is read.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from gprof.attach import Attached
from gprof.code_now import CodeNow
from gprof.errors import TargetError
from gprof.guest.architectures import FIRMWARE_BESIDE_KERNEL
from gprof.guest.memory import StubMemory
from gprof.guest_stacks import said_of, unstacking_of
from gprof.kernel_search import KernelSearch
from gprof.kernel_signs import KernelSigns, Seen, has_signs
from gprof.present_images import PresentImages
from gprof.profile.profile import Guest
from gprof.profile.stacks import StackTable
from gprof.profile.tasks import TaskTable
from gprof.profile.user_spaces import UserSpaces
from gprof.sampling.gathering import Unstacking
from gprof.sampling.gentler import GentlerSource
from gprof.sampling.halting import HaltingSource
from gprof.sampling.monitor import MonitorSource
from gprof.sampling.source import Int64s, Mode, SampleBatch, SourceFacts
from gprof.task_following import follow_tasks
from symbols.errors import GprofError
from symbols.memory import Memory
from symbols.space import AddressSpace, ImageKind, LoadedImage, Reason, Running
from symbols.unwinding.unwind import Way

_SECOND = 1_000_000_000

#: How often it is looked whether the kernel is where it was: without reason, where each look stops
#: the guest and where it costs nothing; and where samples give reason to.
_LOOK_STOPPING_NS, _LOOK_FREE_NS, _LOOK_AGAIN_NS = 10 * _SECOND, 2 * _SECOND, _SECOND // 4
#: So many looks in a row must miss the kernel: one may meet a vcpu that does not see it.
_MISSES = 3
#: A list of modules that does not settle is read again so many times at that pace.
_MOST_UNSETTLED = 40
#: How much longer than a search for the list of modules took is waited for the next one.
_MODULES_PAUSE = 50
#: Pages of addresses without a name that are remembered as such.
_MOST_PAGES = 4096
#: Beyond so many changes of what is loaded the last one is amended.
_MOST_ERAS = 500


class FollowedGuest:
    """A source over a live guest that follows what is loaded in it.

    Args:
        attached: the guest as it was found.
        source: what samples it; closed with this.
        way: how its call stacks are to be unwound.
        stacks: the table that stacks are numbered in.
        tasks: the table that tasks are numbered in.
        user_spaces: what tasks have mapped.
    """

    def __init__(
        self,
        attached: Attached,
        source: HaltingSource | MonitorSource | GentlerSource,
        way: Way,
        *,
        stacks: StackTable,
        tasks: TaskTable,
        user_spaces: UserSpaces,
    ) -> None:
        self._attached = attached
        self._space = attached.space
        self._source = source
        self._reads: list[StubMemory] = []
        self._way = way
        self._stacks = stacks
        self._tasks = tasks
        self._user_spaces = user_spaces
        monitored = attached.monitored
        self._state = monitored.run_state if monitored is not None else None
        self._free = monitored is not None and monitored.why_packets is None
        self._reset_ns = self._state.reset_ns if self._state is not None else 0
        self._given: queue.SimpleQueue[SampleBatch | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._follow, name="following", daemon=True)
        self._signs: KernelSigns | None = None
        with contextlib.suppress(TargetError):  # who samples it will see that too
            self._signs = KernelSigns.of(attached, self._fresh_memory())
        self._present = PresentImages(attached.given.extras, seeks_lists=attached.reads_ram_alone)
        self._looked_ns = time.monotonic_ns()  # when the kernel was seen last
        self._look_due_ns = self._looked_ns + self._look_every_ns
        self._search = KernelSearch(self._looked_ns, running=False)
        self._misses = 0
        self._unsettled_looks = 0  # in a row
        self._modules_due_ns = 0  # where their list is still sought
        self._doubt_ns = 0  # time of the first sample since that gives reason to look
        self._unnamed: set[int] = set()  # pages

    @property
    def attached(self) -> Attached:
        """The guest as it is known now."""
        return self._attached

    def known(self) -> tuple[Mapping[int, Guest], Mapping[int, AddressSpace]]:
        """The guest and what its addresses mean, by its id; any thread may ask."""
        return {0: self._attached.guest}, {0: self._space}

    @property
    def memory(self) -> Memory:
        """The kernel's virtual memory; the same at any time."""
        return self._attached.memory

    @property
    def code(self) -> Mapping[int, Memory]:
        """Where the instructions of the guest are read by its id, as it is when that is asked."""
        return CodeNow(lambda: self._attached)

    def batches(self) -> Iterator[SampleBatch]:
        """See `Source.batches`."""
        if self._attached.starting:
            self.note(
                "The guest has not come to its kernel yet: it is looked for while samples are "
                "taken."
            )
        self._thread.start()
        try:
            for batch in self._source.batches():
                self._given.put(batch)
                yield batch
        finally:
            self._given.put(None)
            self._thread.join()

    def note(self, sentence: str) -> None:
        """Add a sentence to the facts."""
        self._source.note(sentence)

    def facts(self) -> SourceFacts:
        """See `Source.facts`."""
        return self._source.facts()

    def close(self) -> None:
        """See `Source.close`."""
        self._source.close()

    @property
    def _look_every_ns(self) -> int:
        return _LOOK_FREE_NS if self._free else _LOOK_STOPPING_NS

    def _follow(self) -> None:
        while (batch := self._given.get()) is not None:
            batches = [batch]
            for _ in range(self._given.qsize()):
                if (more := self._given.get()) is None:
                    return
                batches.append(more)
            # Where the guest has gone, who samples it will see that too, and say so.
            with contextlib.suppress(TargetError):
                self._take(SampleBatch.concatenate(batches))
            self._count_reads()

    def _take(self, batch: SampleBatch) -> None:
        """One step: look at new samples, and ask the guest what they give reason to ask."""
        if self._state is not None and self._state.reset_ns > self._reset_ns:
            self._reset_ns = self._state.reset_ns
            self._lose(self._reset_ns)
        if self._space.earlier:
            batch = batch.select(batch.time >= self._space.since_ns)
        changed_ns = self._present.look(batch, self._fresh_memory, self._space)
        if changed_ns is not None:
            self._publish(self._attached, changed_ns or None)
        if self._attached.starting:
            found = self._search.look(batch, self._attached, self._space.kernel_half)
            if found is not None:
                self._found(found)
        else:
            self._look(batch)

    def _lose(self, since_ns: int) -> None:
        """The guest was reset: from then on nothing is known of it but its files."""
        self._source.unstack(None)
        self._source.tell_tasks(None)
        attached = self._attached
        attached.forget()
        if not attached.sources.runs_linux:
            # A program without an operating system is where it was linked, in every boot.
            self._publish(attached, since_ns)
            self._restore_stacks()
            return
        # One that is starting may reset itself again, as SeaBIOS does.
        since = None if attached.starting else since_ns
        self._present.forget()
        self._publish(attached.lost(), since)
        self._search = KernelSearch(since_ns, running=True)

    def _publish(self, attached: Attached, since_ns: int | None = None) -> None:
        """Make known what is loaded, since a time, or for the whole era that goes on."""
        now, found = self._space, self._present.in_space(attached.space)
        if since_ns is None or (len(now.earlier) >= _MOST_ERAS):
            space = found.following(now.earlier, now.since_ns)
        else:
            space = found.following((*now.earlier, now), max(since_ns, now.since_ns))
        self._attached, self._space = attached, space

    def _found(self, found: Attached) -> None:
        self._publish(found)
        self._signs = KernelSigns.of(found, self._fresh_memory())
        self._looked_ns = time.monotonic_ns()
        self._look_due_ns = self._looked_ns + self._look_every_ns
        self._misses = self._doubt_ns = 0
        self._unnamed.clear()
        name = f" of Linux {found.guest.kernel}" if found.guest.kernel else ""
        waited = (self._looked_ns - self._search.began_ns) / _SECOND
        self.note(f"The kernel{name} was found {waited:.1f} s after the guest began to start.")
        if self._search.mismatch is not None:
            self.note(f"Its symbols are read from its memory: {self._search.mismatch.problem}.")
        self._count_halted(found)
        self._restore_stacks()
        following, no_tasks = follow_tasks(found, self._tasks, self._user_spaces)
        self._note_once(no_tasks)
        self._source.tell_tasks(following)

    def _restore_stacks(self) -> None:
        """Unwind stacks by the tables of what is loaded now."""
        if self._way is Way.NONE:
            return
        unstacking: Unstacking | None = None
        try:
            unstacking, unwinding = unstacking_of(self._attached, self._way, self._stacks)
            said = said_of(unwinding, asked=True)
        except GprofError as error:
            said = f"No call stacks: {error.problem}."
        self._note_once(said)
        self._source.unstack(unstacking)

    def _note_once(self, sentence: str) -> None:
        if sentence and sentence not in self.facts().notes:
            self.note(sentence)

    def _fresh_memory(self) -> Memory:
        """The guest's memory as it is now, whose price is counted."""
        memory = self._attached.reader.fresh_memory()
        if isinstance(memory, StubMemory):
            self._reads.append(memory)
        return memory

    def _count_reads(self) -> None:
        while self._reads:
            self._source.count_halted(self._reads.pop().cost.halted_ns)

    def _count_halted(self, attached: Attached) -> None:
        self._source.count_halted(attached.introspected.cost.halted_ns)

    def _look(self, batch: SampleBatch) -> None:
        """Look whether the kernel and its modules are what they were, if there is reason to."""
        now = time.monotonic_ns()
        doubtful = self._doubtful(batch)
        if len(doubtful):
            self._doubt_ns = self._doubt_ns or int(doubtful.min())
            self._look_due_ns = min(self._look_due_ns, self._looked_ns + _LOOK_AGAIN_NS)
        if now < self._look_due_ns:
            return
        self._look_due_ns = now + self._look_every_ns
        if self._attached.slide is None:
            return
        if self._signs is None:
            if not has_signs(self._attached):
                return
            self._signs = KernelSigns.of(self._attached, self._fresh_memory())
        seen = self._signs.look(self._fresh_memory()) if self._signs is not None else Seen.HIDDEN
        if seen is Seen.HIDDEN and not self._doubt_ns:
            return
        if seen in {Seen.GONE, Seen.HIDDEN}:
            self._misses += 1
            self._look_due_ns = time.monotonic_ns() + _LOOK_AGAIN_NS
            if self._misses >= _MISSES:
                self.note("The kernel is no longer where it was: the guest has started another.")
                self._misses = 0
                self._lose(self._doubt_ns or self._looked_ns)
            return
        if self._attached.seeks_modules:
            if now >= self._modules_due_ns:
                self._refresh(now)
                took = time.monotonic_ns() - now
                self._modules_due_ns = now + took * (1 + _MODULES_PAUSE)
        elif seen is Seen.CHANGED or self._doubt_ns or self._unsettled:
            self._refresh(now)
            self._unsettled_looks = self._unsettled_looks + 1 if self._unsettled else 0
            if 0 < self._unsettled_looks < _MOST_UNSETTLED:
                self._look_due_ns = now + _LOOK_AGAIN_NS
        self._misses = self._doubt_ns = 0
        self._looked_ns = now

    @property
    def _unsettled(self) -> bool:
        """Whether modules were being loaded or unloaded when their list was read last."""
        modules = self._attached.introspected.modules
        return modules is not None and not modules.settled

    def _doubtful(self, batch: SampleBatch) -> Int64s:
        """The times of samples that show that something is not as it is known."""
        bare = batch.mode == Mode.FIRMWARE
        if self._attached.guest.architecture in FIRMWARE_BESIDE_KERNEL:
            bare[:] = False
        kernel = np.isin(batch.mode, (Mode.KERNEL, Mode.IDLE))
        times = [batch.time[bare]]
        here = np.flatnonzero(kernel)
        found = self._space.resolve(batch.pc[here], Running.PRIVILEGED)
        unknown = np.isin(found.reason, _DOUBTFUL)
        for index in here[unknown].tolist():
            page = int(batch.pc[index]) >> 12
            if page not in self._unnamed and len(self._unnamed) < _MOST_PAGES:
                self._unnamed.add(page)
                times.append(batch.time[index : index + 1])
        return np.concatenate(times)

    def _refresh(self, now_ns: int) -> None:
        """Read the list of modules again, and take over what has changed."""
        found = self._attached.with_modules_now()
        if found is None:
            return
        self._count_halted(found)
        first = self._attached.introspected.modules is None
        before, after = (_modules(attached) for attached in (self._attached, found))
        unsettled = self._unsettled
        if before == after:
            self._attached = found
            return
        if first:
            # Its head is one of them now.
            self._signs = KernelSigns.of(found, self._fresh_memory()) or self._signs
        # What was loaded is there since somewhere between the last look and now; what was
        # unloaded was there until then.
        if after - before:
            changing = [i for i in self._attached.space.loaded() if i.kind in _CHANGING]
            gone = [image for image in changing if _key(image) not in after]
            # What was in the memory for programs lies on top of that, as what is there now does.
            images = sorted(found.space.images, key=lambda image: not _is_memory(image))
            memory = sum(map(_is_memory, images))
            kept = AddressSpace(
                [*images[:memory], *gone, *images[memory:]], kernel_half=found.space.kernel_half
            )
            # A module that was being loaded was there in the era that goes on, without its names;
            # so were those whose list was not found.
            since = (
                None
                if first or unsettled
                else min(self._doubt_ns or self._looked_ns, self._looked_ns)
            )
            self._publish(replace(found, space=kept), since)
        if before - after:
            self._publish(found, now_ns)
        self._attached = found
        self._unnamed.clear()
        self._restore_stacks()


#: Why an address has no name where something new may be loaded.
_DOUBTFUL = (Reason.NO_IMAGE, Reason.BEFORE_KERNEL, Reason.GENERATED)
#: What comes and goes in a kernel that stays.
_CHANGING = frozenset({ImageKind.MODULE, ImageKind.GENERATED})


def _is_memory(image: LoadedImage) -> bool:
    """Whether it is but a range in which text is made at run time."""
    return image.kind is ImageKind.GENERATED and image.table is None


def _key(image: LoadedImage) -> tuple[str, int, int, int, str]:
    # Of text made at run time another program may have the same place.
    names = ""
    if image.kind is ImageKind.GENERATED and image.table is not None:
        names = "\n".join(image.table.names[i] for i in range(len(image.table)))
    # Of a module that is being loaded the symbols come later than the place.
    count = len(image.table) if image.table is not None else 0
    return image.name, image.start, image.end, count, names


def _modules(attached: Attached) -> set[tuple[str, int, int, int, str]]:
    return {_key(image) for image in attached.space.loaded() if image.kind in _CHANGING}
