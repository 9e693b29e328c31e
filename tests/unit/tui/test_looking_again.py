"""A look at a session that has grown says the same as one that counts every sample anew."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from gprof.profile.profile import Guest, Profile
from gprof.profile.resolution import Resolution
from gprof.profile.samples import SampleTable
from gprof.profile.stacks import StackTable
from gprof.profile.tasks import GuestTask, TaskTable
from gprof.profile.tree import Direction, Node, NodeKind, call_tree, tree_of
from gprof.profile.user_spaces import UserSpaces
from gprof.profile.view import Group, tabulate
from gprof.sampling.source import Mode, SampleBatch, SourceFacts
from symbols.space import AddressSpace, ImageKind, LoadedImage
from tests.profiles import BLOB, KERNEL, NOWHERE, space, synthetic
from tests.sessions import FrozenSession, grown
from tui.choice import Choice
from tui.condition import condition_of
from tui.picture import Pause, Picture, take_picture
from tui.span import Horizon, Span
from tui.timeline import Busy, timeline_of
from tui.view import View

WHERE = space()
USER_PAGES = 6
PCS = st.sampled_from(
    [
        *(
            WHERE.find(name)[0].symbol.start + 8
            for name in ("vfs_read", "filemap_read", "default_idle", "ext4_file_read_iter")
        ),
        KERNEL + 0xF123,
        BLOB + 0x2345,
        NOWHERE,
        *(0x1000 * page for page in range(USER_PAGES)),
    ]
)
TASKS = 5


class Changing:
    """A session that does what a live one does, when it is told to."""

    ended = False
    failure = None

    def __init__(self) -> None:
        self.spaces = {0: AddressSpace(WHERE.images), 1: AddressSpace(WHERE.images)}
        self.stacks, self.tasks, self.user_spaces = StackTable(), TaskTable(), UserSpaces()
        self._samples = SampleTable()
        self._since = 0

    def snapshot(self) -> Profile:
        return Profile(
            self._samples.frozen(self._since),
            SourceFacts("test", "nothing"),
            {number: Guest(number, f"guest{number}") for number in self.spaces},
            self.spaces,
            self.stacks,
            tasks=self.tasks,
            user_spaces=self.user_spaces,
        )

    def reset(self) -> None:
        self._since = len(self._samples)

    def do(self, step: str, data: st.DataObject) -> None:
        """One thing that may happen between two looks."""
        if step == "sample":
            self._sample(data)
        elif step == "reset":
            self.reset()
        elif step == "read a process" and len(self.user_spaces) > 1:
            number = data.draw(st.integers(1, len(self.user_spaces) - 1))
            start = 0x1000 * data.draw(st.integers(0, USER_PAGES))
            name = data.draw(st.sampled_from("ab"))
            image = LoadedImage(name, ImageKind.USER, start, start + 0x2000)
            self.user_spaces.fill(number, [image])
        elif step == "load":
            self.spaces[0].load(LoadedImage("late", ImageKind.MODULE, NOWHERE, NOWHERE + 0x1000))
        elif step == "boot":
            last = self.spaces[0]
            since = data.draw(st.integers(last.since_ns, last.since_ns + 10**9))
            now = AddressSpace(WHERE.images[:1]).following((*last.earlier, last), since)
            self.spaces = {**self.spaces, 0: now}

    def _sample(self, data: st.DataObject) -> None:
        for _ in range(data.draw(st.integers(0, 2))):
            if len(self.tasks) < TASKS:
                pid = len(self.tasks)
                number = self.user_spaces.number(0, pid, 1)
                self.tasks.add(GuestTask(0, pid, pid, f"p{pid}", space=number))
        rows = []
        for _ in range(data.draw(st.integers(0, 8))):
            frames = data.draw(st.lists(PCS, min_size=1, max_size=4))
            stack = self.stacks.add(frames) if data.draw(st.booleans()) else 0
            rows.append(
                (
                    frames[0] if data.draw(st.integers(0, 9)) else data.draw(PCS),
                    data.draw(st.integers(0, 3 * 10**9)),
                    stack,
                    data.draw(st.integers(0, TASKS)),  # some are numbered later
                    data.draw(st.integers(0, 1)),
                    data.draw(st.integers(0, 2)),
                    data.draw(st.integers(0, 7)),
                    data.draw(st.integers(1, 2**32 - 1)),
                )
            )
        if rows:
            pcs, *others = zip(*rows, strict=True)
            names = ("time", "stack", "task", "guest", "vcpu", "mode", "weight")
            columns = dict(zip(names, others, strict=True))
            self._samples.append(SampleBatch.of(pcs, **columns))


STEPS = st.sampled_from(["sample"] * 5 + ["read a process"] * 3 + ["reset", "load", "boot"])
CHOICES = st.builds(
    Choice,
    view=st.sampled_from([View.TOP, View.TREE, View.FLAME, View.SYMBOLS]),
    group=st.sampled_from(Group),
    hidden=st.frozensets(st.sampled_from([Mode.IDLE, Mode.USER]), max_size=1),
    vcpu=st.sampled_from([None, None, 0, 7]),
    conditions=st.lists(
        st.sampled_from(
            [condition_of(text) for text in ("read", "!module:ext4", "task:p1", "!vcpu:2", "!a")]
        ),
        max_size=2,
    ).map(tuple),
    inverted=st.booleans(),
    span=st.builds(
        Span,
        horizon=st.sampled_from(Horizon),
        length_s=st.sampled_from([1.0, 5.0]),
        picked=st.sampled_from([None, None, (10**9, 2 * 10**9)]),
    ),
)


def said(picture: Picture) -> dict[str, Any]:
    """What a picture shows. Of equal functions any one's address may stand for all."""
    table, line = picture.table, picture.timeline
    rows = [
        (
            r.label,
            r.module,
            r.mode,
            r.reason,
            r.guest,
            r.vcpu,
            r.self_weight,
            r.total_weight,
            r.task,
        )
        for r in table.rows
    ]
    images = (
        picture.sheet.rows.items if picture.choice.view is View.SYMBOLS and picture.sheet else ()
    )
    return {
        "rows": sorted(rows, key=repr),
        "sums": (table.samples, table.weight, table.unresolved_of, table.left_out),
        "vcpus": picture.vcpus,
        "modes": picture.modes,
        "timeline": (line.start_ns, line.bucket_ns, line.busy.tobytes()),
        "tree": lines_of(picture.tree),
        "images": [(i.guest, i.name, i.loaded, i.weight, i.unresolved, i.reasons) for i in images],
    }


def lines_of(tree: Node | None) -> list[tuple[object, ...]]:
    """Every node in its order."""
    if tree is None:
        return []
    return [
        ((*(n.key for n in above), node.key), node.own, node.total) for above, node in tree.walk()
    ]


@settings(max_examples=80)
@given(st.lists(STEPS, min_size=2, max_size=8), st.data())
def test_a_look_again_says_what_a_first_look_says(steps: list[str], data: st.DataObject) -> None:
    session, known = Changing(), Resolution()
    pause: Pause | None = None
    for step in steps:
        session.do(step, data)
        choice = data.draw(CHOICES)
        first = Pause(pause.profile, Resolution()) if pause is not None else None
        cells = data.draw(st.sampled_from([10, 100]))
        again = take_picture(session, choice, known, pause=pause, cells=cells)
        afresh = take_picture(session, choice, Resolution(), pause=first, cells=cells)
        assert said(again) == said(afresh)
        if data.draw(st.integers(0, 5)) == 0:
            pause = None if pause is not None else Pause(again.live, Resolution())


@given(
    st.lists(st.lists(st.integers(0, 10**11), max_size=5), max_size=6),
    st.lists(st.integers(1, 60), min_size=6, max_size=6),
)
def test_a_timeline_that_grows_is_that_of_all(times: list[list[int]], cells: list[int]) -> None:
    table, busy = SampleTable(), Busy()
    for more, most in zip(times, cells, strict=False):
        weights = [1 + time % 7 for time in more]
        modes = [Mode.IDLE if time % 3 else Mode.KERNEL for time in more]
        table.append(SampleBatch.of(more, time=more, weight=weights, mode=modes))
        samples = table.frozen()
        grown_line = busy.timeline(samples, samples.mode, most)
        whole = timeline_of(samples, samples.mode, most)
        assert (grown_line.start_ns, grown_line.bucket_ns) == (whole.start_ns, whole.bucket_ns)
        assert np.array_equal(grown_line.busy, whole.busy, equal_nan=True)


def test_samples_that_are_alike_are_one() -> None:
    profile, known = synthetic(2000, stacks=True), Resolution()
    alike = known.alike(profile)
    assert len(alike) < 1000
    assert alike.count.sum() == 2000
    assert alike.weight.sum() == profile.samples.weight.sum()
    again = known.alike(grown(profile, profile.samples))
    assert len(again) == len(alike)
    assert (again.count == 2 * alike.count).all()


def test_nodes_of_a_tree_are_kept_from_look_to_look() -> None:
    profile, known = synthetic(500, stacks=True), Resolution()
    for direction in Direction:
        before = call_tree(profile, known=known, direction=direction)
        lines = lines_of(before)
        more = grown(profile, synthetic(700, stacks=True).samples)
        more = replace(more, samples=more.samples.select(more.samples.stack < len(more.stacks)))
        after = call_tree(more, known=known, direction=direction)
        assert lines_of(after) == lines_of(call_tree(more, direction=direction))
        # The earlier one stays what it was.
        assert lines_of(before) == lines


def test_children_of_equal_weight_come_by_name() -> None:
    names = [f"f{n:03}" for n in range(300)]
    lines = [([(name, "m", NodeKind.KERNEL)], 1 + n // 100) for n, name in enumerate(names)]
    tree = tree_of(reversed(lines))
    expected = [*names[200:], *names[100:200], *names[:100]]
    assert [node.name for node in tree.children()] == expected
    assert tree.width == 300
    assert tree.own_of_branches == tree.total == 600
    few = tree_of(reversed(lines[95:105]))
    assert [node.name for node in few.children()] == [*names[100:105], *names[95:100]]


def test_a_paused_session_is_looked_at_as_it_was() -> None:
    profile = synthetic(300)
    session, known = FrozenSession(profile, ended=False), Resolution()
    pause = Pause(profile, Resolution())
    session.profile = grown(profile, profile.samples)
    picture = take_picture(session, Choice(hidden=frozenset()), known, pause=pause)
    assert picture.table.samples == tabulate(profile).samples == 300
    assert sum(sum(v.weights.values()) for v in picture.vcpus) == 600
