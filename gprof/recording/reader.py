"""Reading a recording back into a profile."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np

from gprof.guest.vcpu_threads import VcpuTime
from gprof.profile.profile import Guest, Profile
from gprof.profile.samples import SampleTable
from gprof.profile.stacks import StackTable
from gprof.profile.tasks import GuestTask, TaskTable
from gprof.profile.user_spaces import UserSpaces
from gprof.recording.fields import I32, I64, U16, U64, Fields
from gprof.recording.files import open_input
from gprof.recording.format import Damage, Kind, frames
from gprof.sampling.source import COLUMN_TYPES, SampleBatch, SourceFacts, UInt64s
from symbols.memory import BytesMemory
from symbols.names import Names, printable
from symbols.space import AddressSpace, ImageKind, LoadedImage
from symbols.table import SymbolTable

_U64 = np.dtype("<u8")
_U32 = np.dtype("<u4")
_U16 = np.dtype("<u2")
_U8 = np.dtype("u1")

#: Images of one guest, modules that were loaded again and again included.
_MOST_IMAGES = 1 << 14
#: Times at which what is loaded in a guest changed.
_MOST_ERAS = 1 << 12
#: Images of all its eras together.
_MOST_LOADED = 1 << 18
#: User spaces of all guests; a shell that starts ten programs a second needs a week for so many.
_MOST_SPACES = 1 << 22


def read(path: Path) -> Profile:
    """Read a recording.

    One that was cut short, by a kill or a full disk, gives what is whole of it, and its facts
    have a note that says so.

    Raises:
        FormatError: it is no recording, one of a later version, or holds nonsense.
        UsageError: there is no such file.
        PermissionProblem: it may not be read.
    """
    with open_input(path) as file:
        return read_from(file, printable(str(path)))


def read_from(file: BinaryIO, name: str) -> Profile:
    """Read a recording from an open file; `name` is what sentences call it. See `read`."""
    found = _Recording()
    unknown = 0
    notes = []
    for frame in frames(file, name):
        if isinstance(frame, Damage):
            notes.append(f"{frame.what} at byte {frame.at}; what comes before it was read")
        elif frame.kind is None:
            unknown += 1
        else:
            _TAKE[frame.kind](found, Fields(frame.content, name, frame.at))
    if not found.ended and not notes:
        notes.append("the recording has no end: gprof was stopped while it recorded")
    if unknown:
        notes.append(f"{unknown} parts were written by a later gprof and are not understood")
    return found.profile(tuple(notes))


@dataclass(slots=True)
class _Image:
    """A recorded image; its symbols come in later frames."""

    loaded: LoadedImage
    start: list[UInt64s] = field(default_factory=list)
    end: list[UInt64s] = field(default_factory=list)
    names: list[bytes] = field(default_factory=list)

    def with_symbols(self) -> LoadedImage:
        if not self.start:
            return self.loaded
        start, end = np.concatenate(self.start), np.concatenate(self.end)
        # Of two symbols with one start the later one wins: symbols may get better meanwhile.
        distinct, last = np.unique(start[::-1], return_index=True)
        chosen = len(start) - 1 - last
        length = np.array([len(name) for name in self.names], np.int64)
        ends = np.cumsum(length)
        names = Names(b"".join(self.names), ends - length, ends)
        table = SymbolTable(distinct, end[chosen], names.take(chosen))
        return replace(self.loaded, table=table)


@dataclass(slots=True)
class _Era:
    """What was loaded in a guest from a time on."""

    since_ns: int
    kernel_half: tuple[int, int]
    loaded: list[int]  # numbers of images, in order of loading
    starting: bool = False


class _Recording:
    """What the frames so far add up to."""

    def __init__(self) -> None:
        self.started_ns = 0
        self.ended = False
        self.guests: dict[int, Guest] = {}
        self.facts = SourceFacts("unknown", "")
        self._images: dict[int, list[_Image]] = {}
        self._eras: dict[int, list[_Era]] = {}
        self._stacks = StackTable()
        self._tasks = TaskTable()
        self._layouts: list[list[_Image]] = [[]]
        self._layout_of: dict[int, int] = {}  # by user space
        self._samples = SampleTable()
        self._texts: dict[int, dict[int, bytes]] = {}

    def profile(self, notes: tuple[str, ...]) -> Profile:
        """Everything, with more notes about the taking."""
        spaces = {
            guest: _space([image.with_symbols() for image in images], self._eras[guest])
            for guest, images in self._images.items()
        }
        return Profile(
            samples=self._samples.frozen(),
            facts=replace(self.facts, notes=self.facts.notes + notes),
            guests=self.guests,
            spaces=spaces,
            stacks=self._stacks,
            texts={guest: BytesMemory(_apart(texts)) for guest, texts in self._texts.items()},
            started_ns=self.started_ns,
            tasks=self._tasks,
            user_spaces=self._user_spaces(),
        )

    def _user_spaces(self) -> UserSpaces:
        spaces = UserSpaces()
        # Layouts that differ in nothing that was recorded are one.
        numbers = [
            spaces.layout([image.with_symbols() for image in images]) for images in self._layouts
        ]
        for space, layout in sorted(self._layout_of.items()):
            while len(spaces) <= space:
                spaces.reserve()
            spaces.lay_out(space, numbers[layout])
        return spaces

    def take_header(self, fields: Fields) -> None:
        self.started_ns = fields.integer("started_ns", (0, I64[1]))

    def take_guest(self, fields: Fields) -> None:
        number = fields.integer("id", U16)
        self.guests[number] = Guest(
            id=number,
            name=fields.text("name"),
            architecture=fields.text("architecture"),
            vcpus=fields.integers("vcpus", U16),
            kernel=fields.text("kernel"),
            build_id=fields.build_id("build_id"),
            pid=fields.integer("pid", I32) if fields.has("pid") else 0,
        )

    def take_images(self, fields: Fields) -> None:
        guest = fields.integer("guest", U16)
        images = self._images.setdefault(guest, [])
        half = fields.integers("kernel_half", U64)
        if len(half) != 2:
            raise fields.wrong("the kernel half has no two ends")
        new = fields.maps("images")
        if fields.integer("first") != len(images) or len(images) + len(new) > _MOST_IMAGES:
            raise fields.wrong("the images are not numbered in order")
        images += [_Image(_loaded(image)) for image in new]
        self._take_era(guest, (half[0], half[1]), fields)

    def _take_era(self, guest: int, half: tuple[int, int], fields: Fields) -> None:
        eras = self._eras.setdefault(guest, [])
        images = len(self._images[guest])
        if not fields.has("era"):  # format 1.0: what is loaded later is loaded on top
            eras[:] = [_Era(0, half, list(range(images)))]
            return
        number, since = fields.integer("era"), fields.integer("time", I64)
        loaded = list(fields.integers("loaded", U64))
        if number > len(eras) or number >= _MOST_ERAS:
            raise fields.wrong(f"era {number} comes after {len(eras)}")
        if number > 1 and since < eras[number - 1].since_ns:
            raise fields.wrong("an era begins before the one that it follows")
        if any(image >= images for image in loaded):
            raise fields.wrong("an era has an image that is not there")
        eras[number:] = [_Era(since, half, loaded, fields.flag("starting"))]
        if sum(len(era.loaded) for era in eras) > _MOST_LOADED:
            raise fields.wrong("its eras have too many images")

    def take_symbols(self, fields: Fields) -> None:
        images = self._images.get(fields.integer("guest", U16), [])
        number = fields.integer("image")
        if number >= len(images):
            raise fields.wrong(f"symbols belong to image {number}, which is not there")
        _add_symbols(fields, images[number])

    def take_stacks(self, fields: Fields) -> None:
        depth, pcs = fields.column("depth", _U32), fields.column("pc", _U64).tolist()
        if int(depth.sum(dtype=np.int64)) != len(pcs) or not depth.all():
            raise fields.wrong("the columns of stacks have different lengths")
        if fields.integer("first") != len(self._stacks):
            raise fields.wrong("the stacks are not numbered in order")
        at = 0
        for length in depth.tolist():
            number = len(self._stacks)
            if self._stacks.add(pcs[at : at + length]) != number:
                raise fields.wrong("a stack is there twice")
            at += length

    def take_tasks(self, fields: Fields) -> None:
        guest, kernel_thread = fields.column("guest", _U16), fields.column("kernel_thread", _U8)
        pid, tgid = fields.column("pid", _U32), fields.column("tgid", _U32)
        names = _names(fields)
        space = np.zeros(len(guest), _U32)
        if fields.has("space"):
            space = fields.column("space", _U32)
        columns = (guest, pid, tgid, kernel_thread, space)
        if names is None or any(len(column) != len(names) for column in columns):
            raise fields.wrong("the columns of tasks have different lengths")
        if fields.integer("first") != len(self._tasks):
            raise fields.wrong("the tasks are not numbered in order")
        for name, of_guest, own, process, without_user, of_space in zip(
            names, *(column.tolist() for column in columns), strict=True
        ):
            task = GuestTask(of_guest, own, process, printable(name), bool(without_user), of_space)
            number = len(self._tasks)
            if self._tasks.add(task) != number:
                raise fields.wrong("a task is there twice")

    def take_layout(self, fields: Fields) -> None:
        images = fields.maps("images")
        if len(images) > _MOST_IMAGES:
            raise fields.wrong("a user space has too many images")
        if fields.integer("number") != len(self._layouts):
            raise fields.wrong("the layouts of user spaces are not numbered in order")
        self._layouts.append([_Image(_loaded(image)) for image in images])

    def take_user_symbols(self, fields: Fields) -> None:
        layout, image = fields.integer("layout"), fields.integer("image")
        if layout >= len(self._layouts) or image >= len(self._layouts[layout]):
            raise fields.wrong("symbols belong to no image of a user space")
        _add_symbols(fields, self._layouts[layout][image])

    def take_user_spaces(self, fields: Fields) -> None:
        space, layout = fields.column("space", _U32), fields.column("layout", _U32)
        if len(space) != len(layout):
            raise fields.wrong("the columns of user spaces have different lengths")
        for one, number in zip(space.tolist(), layout.tolist(), strict=True):
            if not 0 < one < _MOST_SPACES or number >= len(self._layouts):
                raise fields.wrong("a user space is laid out like none")
            self._layout_of[one] = number

    def take_samples(self, fields: Fields) -> None:
        columns = {name: fields.column(name, dtype) for name, dtype in COLUMN_TYPES.items()}
        if len({len(column) for column in columns.values()}) != 1:
            raise fields.wrong("the columns of samples have different lengths")
        if (columns["stack"] >= len(self._stacks)).any():
            raise fields.wrong("a sample has a stack that is not there")
        self._samples.append(SampleBatch(**columns))

    def take_text(self, fields: Fields) -> None:
        text = fields.raw("text")
        address = fields.integer("address")
        if address + len(text) > 1 << 64:
            raise fields.wrong("instructions lie beyond the last address")
        self._texts.setdefault(fields.integer("guest", U16), {})[address] = text

    def take_facts(self, fields: Fields) -> None:
        self.facts = SourceFacts(
            way=fields.text("way"),
            target=fields.text("target"),
            asked_hz=fields.number("asked_hz"),
            reached_hz=fields.number("reached_hz"),
            covered_ns=fields.integer("covered_ns"),
            taken=fields.integer("taken"),
            halted_ns=fields.integer("halted_ns"),
            stop_work_ns=fields.integer("stop_work_ns") if fields.has("stop_work_ns") else 0,
            held_ns=fields.integer("held_ns"),
            late=fields.integer("late"),
            errors=fields.integer("errors"),
            lost=fields.integer("lost"),
            notes=fields.texts("notes"),
            block_starts=fields.flag("block_starts"),
            unwound_by=fields.text("unwound_by") if fields.has("unwound_by") else "",
            endings=fields.counts("endings") if fields.has("endings") else {},
            vcpu_times={
                one.integer("vcpu", U16): VcpuTime(one.integer("ran_ns"), one.integer("waited_ns"))
                for one in (fields.maps("vcpu_times") if fields.has("vcpu_times") else ())
            },
        )

    def take_end(self, fields: Fields) -> None:
        self.ended = fields.integer("samples") == len(self._samples)


_TAKE: dict[Kind, Callable[[_Recording, Fields], None]] = {
    Kind.HEADER: _Recording.take_header,
    Kind.GUEST: _Recording.take_guest,
    Kind.IMAGES: _Recording.take_images,
    Kind.SYMBOLS: _Recording.take_symbols,
    Kind.STACKS: _Recording.take_stacks,
    Kind.TASKS: _Recording.take_tasks,
    Kind.LAYOUTS: _Recording.take_layout,
    Kind.USER_SPACES: _Recording.take_user_spaces,
    Kind.USER_SYMBOLS: _Recording.take_user_symbols,
    Kind.SAMPLES: _Recording.take_samples,
    Kind.TEXT: _Recording.take_text,
    Kind.FACTS: _Recording.take_facts,
    Kind.END: _Recording.take_end,
}


def _space(images: Sequence[LoadedImage], eras: Sequence[_Era]) -> AddressSpace:
    """The last of a guest's eras, which knows the earlier ones."""
    spaces: list[AddressSpace] = []
    for era in eras:
        spaces.append(
            AddressSpace(
                [images[number] for number in era.loaded],
                kernel_half=era.kernel_half,
                since_ns=era.since_ns if spaces else 0,
                earlier=tuple(spaces),
                starting=era.starting,
            )
        )
    return spaces[-1]


def _loaded(image: Fields) -> LoadedImage:
    """One map of a list of images."""
    kind = image.integer("kind", U16)
    if kind not in set(ImageKind):
        raise image.wrong(f"an image has the kind {kind}")
    start, last = image.integer("start"), image.integer("last")
    if start > last:
        raise image.wrong("an image ends before it starts")
    return LoadedImage(
        name=image.text("name"),
        kind=ImageKind(kind),
        start=start,
        end=last + 1,
        slide=image.integer("slide"),
        build_id=image.build_id("build_id"),
        path=image.text("file"),
    )


def _add_symbols(fields: Fields, image: _Image) -> None:
    """Take in symbols of an image."""
    start, end = fields.column("start", _U64), fields.column("end", _U64)
    names = _names(fields)
    if names is None or not len(start) == len(end) == len(names):
        raise fields.wrong("the columns of symbols have different lengths")
    image.start.append(start)
    image.end.append(end)
    image.names += names


def _names(fields: Fields) -> list[bytes] | None:
    """The names in the fields `length` and `names`; None where these do not agree."""
    length, names = fields.column("length", _U32), fields.raw("names")
    ends = np.cumsum(length, dtype=np.int64).tolist()
    if len(names) != (ends[-1] if ends else 0):
        return None
    return [names[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def _apart(texts: dict[int, bytes]) -> list[tuple[int, bytes]]:
    """Pieces that do not overlap: of two that do, the higher one gives way."""
    pieces: list[tuple[int, bytes]] = []
    end = 0
    for address, text in sorted(texts.items()):
        if address >= end:
            pieces.append((address, text))
            end = address + len(text)
    return pieces
