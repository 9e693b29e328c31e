"""Writing a recording, a flush at a time; after each one the file is whole."""

from __future__ import annotations

import errno
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self, TypeAlias

import numpy as np

from gprof import __version__
from gprof.errors import GprofError
from gprof.profile.profile import Guest, Profile
from gprof.profile.stacks import StackTable
from gprof.profile.tasks import GuestTask, TaskTable
from gprof.profile.user_spaces import UserSpaces
from gprof.recording.files import create
from gprof.recording.format import Kind, pack, preamble
from gprof.recording.images import LONGEST_NAME
from gprof.recording.space_frames import SpaceFrames
from gprof.recording.texts import LONGEST_TEXT, hot_texts
from gprof.recording.user_space_frames import UserSpaceFrames
from gprof.sampling.source import COLUMN_TYPES, SampleBatch, SourceFacts, UInt32s
from symbols.memory import Memory
from symbols.space import AddressSpace

#: What goes into one frame, so that none comes near the limit: 9 MB of samples,
#: 8 MB of stacks, 9 MB of tasks.
_FRAME_SAMPLES = 1 << 18
_FRAME_PCS = 1 << 20
_FRAME_TASKS = 1 << 10

_Stacks: TypeAlias = list[tuple[int, tuple[int, ...]]]


class Writer:
    """Writes a recording that any kill leaves readable up to the last flush.

    `add` only remembers; `flush` writes what was added, what it needs to be understood (guests,
    images, the names of the addresses that are new, stacks), and the facts. Where a write fails
    everything stays remembered: free some space and the next flush catches up.

    Args:
        file: a descriptor open for writing; the writer closes it.
        name: of the file, for sentences.
        started_ns: wall-clock time of the first sample, nanoseconds since the epoch.
    """

    def __init__(self, file: int, name: str, *, started_ns: int = 0) -> None:
        self._file = file
        self._name = name
        self._unwritten = bytearray(preamble())
        self._batches: list[SampleBatch] = []
        self._stacks = StackTable()
        self._stacks_written = 1
        self._tasks = TaskTable()
        self._tasks_written = 1
        self._user_spaces = UserSpaceFrames(self._append)
        self._samples_written = 0
        self._guests: dict[int, Guest] = {}
        self._spaces: dict[int, SpaceFrames] = {}
        self._closed = False
        self._append(
            Kind.HEADER,
            {
                "tool": __version__,
                "started_ns": started_ns,
                "system": f"{platform.system()} {platform.release()}",
                "machine": platform.machine(),
            },
        )

    @classmethod
    def open(cls, path: Path, *, force: bool = False, started_ns: int = 0) -> Writer:
        """Create a recording.

        Args:
            path: of the new file.
            force: replace what is there.
            started_ns: see the class.

        Raises:
            UsageError: the file exists and `force` is not given.
            GprofError: it cannot be created; see `create`.
        """
        return cls(create(path, force=force), str(path), started_ns=started_ns)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add(self, batch: SampleBatch, stacks: StackTable, tasks: TaskTable | None = None) -> None:
        """Remember samples until the next flush.

        Args:
            batch: the samples.
            stacks: has the stacks that they number; another table than last time is fine.
            tasks: the same for tasks; without it they are unknown.
        """
        if not len(batch):
            return
        numbers, inverse = np.unique(batch.stack, return_inverse=True)
        ours = np.array([self._stacks.add(stacks[number]) for number in numbers.tolist()], "<u4")
        columns = {name: getattr(batch, name) for name in COLUMN_TYPES}
        columns |= {"stack": ours[inverse], "task": self._renumbered(batch.task, tasks)}
        self._batches.append(SampleBatch(**columns))

    def _renumbered(self, column: UInt32s, tasks: TaskTable | None) -> UInt32s:
        numbers, inverse = np.unique(column, return_inverse=True)
        ours = np.zeros(len(numbers), "<u4")
        for i, number in enumerate(numbers.tolist()):
            task = tasks[number] if tasks is not None else None
            if task is not None:
                ours[i] = self._tasks.add(task)
        return ours[inverse]

    def flush(
        self,
        facts: SourceFacts,
        guests: Mapping[int, Guest],
        spaces: Mapping[int, AddressSpace],
        user_spaces: UserSpaces | None = None,
    ) -> None:
        """Write everything that was added, and what it needs to be understood.

        Args:
            facts: as they are now.
            guests: by id.
            spaces: what addresses mean now, by guest id.
            user_spaces: what the tasks have mapped; the same table each time.

        Raises:
            GprofError: the system did not take it. Nothing is lost: call again.
        """
        samples = SampleBatch.concatenate(self._batches)
        for number, guest in guests.items():
            if self._guests.get(number) != guest:
                self._append_guest(guest)
        for number, space in spaces.items():
            frames = self._spaces.setdefault(number, SpaceFrames(number, self._append))
            ours = samples.guest == number
            used = np.unique(samples.stack[ours]).tolist()
            # The names of callers are looked up at the byte before their return addresses.
            callers = {max(pc - 1, 0) for stack in used for pc in self._stacks[stack][1:]}
            pcs = np.unique(
                np.concatenate([samples.pc[ours], np.fromiter(callers, np.uint64, len(callers))])
            )
            frames.append(space, pcs)
        self._append_stacks()
        self._append_tasks()
        if user_spaces is not None:
            self._user_spaces.append(user_spaces, samples, self._tasks.spaces())
        self._append_samples(samples)
        self._batches = []
        told = {name: getattr(facts, name) for name in facts.__slots__}
        told["endings"] = dict(facts.endings)
        told["vcpu_times"] = [
            {"vcpu": vcpu, "ran_ns": time.ran_ns, "waited_ns": time.waited_ns}
            for vcpu, time in sorted(facts.vcpu_times.items())
        ]
        self._append(Kind.FACTS, told)
        self._write()

    def add_text(self, guest: int, address: int, text: bytes) -> None:
        """Keep the instructions of a function for the next flush or close.

        Args:
            guest: id of the guest.
            address: runtime address of the first byte.
            text: its bytes; what goes beyond `LONGEST_TEXT` is left out.
        """
        self._append(Kind.TEXT, {"guest": guest, "address": address, "text": text[:LONGEST_TEXT]})

    def close(self) -> None:
        """Write the end and let go of the file. Samples that were added but not flushed are lost.

        Raises:
            GprofError: the system did not take it; the file is closed all the same.
        """
        if self._closed:
            return
        self._closed = True
        try:
            self._append(Kind.END, {"samples": self._samples_written})
            self._write()
            try:
                os.fsync(self._file)
            except OSError as error:
                # A pipe has nothing to sync.
                if error.errno not in {errno.EINVAL, errno.EROFS}:
                    raise self._refused(error) from None
        finally:
            os.close(self._file)

    def _append(self, kind: Kind, content: Mapping[str, object]) -> None:
        self._unwritten += pack(kind, content)

    def _append_guest(self, guest: Guest) -> None:
        self._guests[guest.id] = guest
        self._append(
            Kind.GUEST,
            {
                "id": guest.id,
                "name": guest.name,
                "architecture": guest.architecture,
                "vcpus": list(guest.vcpus),
                "kernel": guest.kernel,
                "build_id": guest.build_id,
                "pid": guest.pid,
            },
        )

    def _append_stacks(self) -> None:
        part: _Stacks = []
        pcs = 0
        for stack in self._stacks.since(self._stacks_written):
            if part and pcs + len(stack[1]) > _FRAME_PCS:
                self._append_part_of_stacks(part)
                part, pcs = [], 0
            part.append(stack)
            pcs += len(stack[1])
        if part:
            self._append_part_of_stacks(part)
        self._stacks_written = len(self._stacks)

    def _append_part_of_stacks(self, part: _Stacks) -> None:
        self._append(
            Kind.STACKS,
            {
                "first": part[0][0],
                "depth": np.array([len(pcs) for _, pcs in part], "<u4").tobytes(),
                "pc": np.array([pc for _, pcs in part for pc in pcs], "<u8").tobytes(),
            },
        )

    def _append_tasks(self) -> None:
        new = list(self._tasks.since(self._tasks_written))
        for at in range(0, len(new), _FRAME_TASKS):
            part = new[at : at + _FRAME_TASKS]
            self._append(Kind.TASKS, {"first": self._tasks_written, **_task_fields(part)})
            self._tasks_written += len(part)

    def _append_samples(self, samples: SampleBatch) -> None:
        for at in range(0, len(samples), _FRAME_SAMPLES):
            self._append(
                Kind.SAMPLES,
                {
                    name: getattr(samples, name)[at : at + _FRAME_SAMPLES].astype(dtype).tobytes()
                    for name, dtype in COLUMN_TYPES.items()
                },
            )
        self._samples_written += len(samples)

    def _write(self) -> None:
        """Hand over what is not written yet; what the system does not take stays."""
        while self._unwritten:
            try:
                written = os.write(self._file, self._unwritten)
            except OSError as error:
                raise self._refused(error) from None
            del self._unwritten[:written]

    def _refused(self, error: OSError) -> GprofError:
        return GprofError(
            f"the recording {self._name} cannot be written: {error.strerror}",
            "What was written before can be read. Free some space, or record to another place.",
        )


def save(
    profile: Profile,
    path: Path,
    *,
    force: bool = False,
    memories: Mapping[int, Memory] | None = None,
) -> None:
    """Write a whole profile.

    Args:
        profile: what was sampled.
        path: of the new file.
        force: replace what is there.
        memories: the guests' memory by id, from which the code of hot functions is kept; that
            which the profile kept where None.

    Raises:
        GprofError: see `Writer.open` and `Writer.flush`.
    """
    with Writer.open(path, force=force, started_ns=profile.started_ns) as writer:
        writer.add(profile.samples, profile.stacks, profile.tasks)
        for text in hot_texts(profile, profile.texts if memories is None else memories):
            writer.add_text(*text)
        writer.flush(profile.facts, profile.guests, profile.spaces, profile.user_spaces)


def _task_fields(tasks: Sequence[GuestTask]) -> dict[str, bytes]:
    names = [task.comm.encode("utf-8", "backslashreplace")[:LONGEST_NAME] for task in tasks]
    return {
        "guest": np.array([task.guest for task in tasks], "<u2").tobytes(),
        "pid": np.array([task.pid for task in tasks], "<u4").tobytes(),
        "tgid": np.array([task.tgid for task in tasks], "<u4").tobytes(),
        "kernel_thread": np.array([task.kernel_thread for task in tasks], "u1").tobytes(),
        "space": np.array([task.space for task in tasks], "<u4").tobytes(),
        "length": np.array([len(name) for name in names], "<u4").tobytes(),
        "names": b"".join(names),
    }
