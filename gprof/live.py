"""The loop that joins a source to a profile: what record, top and stat share."""

from __future__ import annotations

import queue
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol, TypeAlias

from gprof.errors import GprofError
from gprof.profile.profile import Guest, Profile
from gprof.profile.samples import SampleTable
from gprof.profile.stacks import StackTable
from gprof.profile.tasks import TaskTable
from gprof.profile.user_spaces import UserSpaces
from gprof.sampling.source import SampleBatch, Source
from symbols.memory import Memory
from symbols.space import AddressSpace

if TYPE_CHECKING:  # a screen shows nothing before everything is imported
    from gprof.recording.writer import Writer

#: The guests of a profile, and their address spaces, both by id.
Known: TypeAlias = tuple[Mapping[int, Guest], Mapping[int, AddressSpace]]


class Session(Protocol):
    """Something that a screen can look at: a live guest, or a recording."""

    @property
    def ended(self) -> bool:
        """No more samples will come."""
        ...

    @property
    def failure(self) -> GprofError | None:
        """Why it ended, where it did not end as asked."""
        ...

    def snapshot(self) -> Profile:
        """Everything since the start or the last reset. Cheap; any thread may call it."""
        ...

    def reset(self) -> None:
        """Forget what was sampled so far (a recording that is being written keeps it)."""
        ...


class Finished:
    """A session over a profile that does not change."""

    def __init__(self, profile: Profile) -> None:
        self._profile = profile

    @property
    def ended(self) -> bool:
        """See `Session.ended`."""
        return True

    @property
    def failure(self) -> GprofError | None:
        """See `Session.failure`."""
        return None

    def snapshot(self) -> Profile:
        """See `Session.snapshot`."""
        return self._profile

    def reset(self) -> None:
        """See `Session.reset`; what is finished stays."""


class Live:
    """A session over a source that is still giving samples.

    Two threads: one does nothing but iterate the source, so that nothing delays a sample; the
    other adds what it gave to the profile, and writes it down.

    Args:
        source: where samples come from; closed with this.
        known: whom they are of and what their addresses mean, by guest id; asked again after
            every batch, in the sampler's thread, since guests may appear while it goes on.
        recorder: takes everything down, resets or not.
        duration_s: after this long it ends by itself; None for never.
        memories: the guests' memory by id, from which the code of hot functions is recorded.
        stacks: the table that the source numbers its stacks in.
        tasks: the same for tasks.
        user_spaces: what they have mapped; may be filled while sampling goes on.
    """

    #: Seconds between two writes of the recorder.
    RECORD_EVERY = 1.0
    #: Seconds after which a thread that computes, such as a screen's, gives way to the sampler's.
    GIVE_WAY_S = 0.0005
    #: Functions whose code is read from the guest at the end; each may cost it another stop.
    MOST_TEXTS = 100

    def __init__(
        self,
        source: Source,
        known: Callable[[], Known],
        *,
        recorder: Writer | None = None,
        duration_s: float | None = None,
        memories: Mapping[int, Memory] | None = None,
        stacks: StackTable | None = None,
        tasks: TaskTable | None = None,
        user_spaces: UserSpaces | None = None,
    ) -> None:
        self._source = source
        self._ask = known
        self._known = known()
        self._recorder = recorder
        self._duration_s = duration_s
        self._memories = memories or {}
        self._stacks = stacks or StackTable()
        self._tasks = tasks or TaskTable()
        self._user_spaces = user_spaces or UserSpaces()
        self._started_ns = time.time_ns()
        self._everything = SampleTable()
        self._since = 0  # index of the first sample after the last reset
        self._given: queue.SimpleQueue[SampleBatch | None] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._ended = threading.Event()
        self._failure: GprofError | None = None
        self._sampler = threading.Thread(target=self._sample, name="sampler", daemon=True)
        self._collector = threading.Thread(target=self._collect, name="collector", daemon=True)

    @property
    def ended(self) -> bool:
        """See `Session.ended`."""
        return self._ended.is_set()

    @property
    def failure(self) -> GprofError | None:
        """See `Session.failure`."""
        return self._failure

    def start(self) -> None:
        """Begin to sample."""
        # Python lets a thread compute for 5 ms before another gets its turn: two samples at
        # 499 Hz. It is the whole process's, and stays.
        sys.setswitchinterval(min(self.GIVE_WAY_S, sys.getswitchinterval()))
        self._sampler.start()
        self._collector.start()

    def stop(self) -> None:
        """End as if the duration were over; returns at once."""
        self._stopping.set()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until everything has been sampled and written; whether that is so."""
        return self._ended.wait(timeout_s)

    def snapshot(self) -> Profile:
        """See `Session.snapshot`."""
        return self._profile(self._since)

    def reset(self) -> None:
        """See `Session.reset`."""
        self._since = len(self._everything)

    def _profile(self, since: int) -> Profile:
        samples = self._everything.frozen(since)
        guests, spaces = self._known
        return Profile(
            samples=samples,
            facts=self._source.facts(),
            guests=guests,
            spaces=spaces,
            stacks=self._stacks,
            tasks=self._tasks,
            user_spaces=self._user_spaces,
            started_ns=self._started_ns,
        )

    def _sample(self) -> None:
        try:
            for batch in self._source.batches():
                self._known = self._ask()
                self._given.put(batch)
        except GprofError as error:
            self._failure = error
        finally:
            self._given.put(None)

    def _collect(self) -> None:
        deadline = None if self._duration_s is None else time.monotonic() + self._duration_s
        record_due = time.monotonic() + self.RECORD_EVERY
        closing = False
        try:
            while (batch := self._next_batch()) is not None:
                self._everything.append(batch)
                if self._recorder is not None:
                    self._recorder.add(batch, self._stacks, self._tasks)
                now = time.monotonic()
                if not closing and (self._stopping.is_set() or (deadline and now >= deadline)):
                    closing = True
                    self._keep_texts()
                    self._source.close()
                if now >= record_due:
                    record_due = now + self.RECORD_EVERY
                    self._flush()
        except GprofError as error:
            self._failure = self._failure or error
            self._source.close()
        finally:
            self._finish()

    def _next_batch(self) -> SampleBatch | None:
        """The next batch, an empty one when none came for a while, None after the last."""
        try:
            return self._given.get(timeout=0.05)
        except queue.Empty:
            return SampleBatch.empty()

    def _keep_texts(self) -> None:
        """Record the code of hot functions while the guest can still be asked for it."""
        if self._recorder is not None:
            from gprof.recording.texts import hot_texts  # noqa: PLC0415  see above

            for text in hot_texts(self._profile(0), self._memories, self.MOST_TEXTS):
                self._recorder.add_text(*text)

    def _flush(self) -> None:
        if self._recorder is not None:
            self._recorder.flush(self._source.facts(), *self._known, self._user_spaces)

    def _finish(self) -> None:
        self._sampler.join()
        try:
            if self._recorder is not None:
                try:
                    self._flush()
                finally:
                    self._recorder.close()
        except GprofError as error:
            self._failure = self._failure or error
        finally:
            self._ended.set()
