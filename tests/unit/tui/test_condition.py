"""What typed filters mean, and which samples they let through."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gprof.errors import UsageError
from gprof.profile.filter import EVERYTHING
from gprof.profile.profile import Guest, Profile
from gprof.profile.resolution import Resolution
from gprof.profile.tasks import GuestTask, TaskTable
from gprof.profile.view import tabulate
from gprof.sampling.source import Mode
from tests.profiles import synthetic
from tui.choice import Choice
from tui.condition import Condition, Field, condition_of, narrowed


def weight(profile: Profile, *texts: str) -> int:
    """Weight of the samples that all of some filters let through."""
    conditions = [c for text in texts if (c := condition_of(text)) is not None]
    return tabulate(profile, narrowed(EVERYTHING, conditions, profile)).weight


@pytest.mark.parametrize(
    ("text", "field", "absent"),
    [
        ("vfs", Field.ANY, False),
        ("!vfs", Field.ANY, True),
        ("symbol:vfs", Field.SYMBOL, False),
        ("! module:/^ext4$/", Field.MODULE, True),
        ("mode: idle", Field.MODE, False),
        ("guest:web", Field.GUEST, False),
        ("vcpu:0,2-3", Field.VCPU, False),
        ("std::vector", Field.ANY, False),
        ("symbol::x", Field.ANY, False),
        ("any:x", Field.ANY, False),
        ("nothing:x", Field.ANY, False),
    ],
)
def test_fields(text: str, field: Field, absent: bool) -> None:
    condition = condition_of(text)
    assert condition is not None
    assert (condition.text, condition.field, condition.absent) == (text, field, absent)


@pytest.mark.parametrize("text", ["", "  ", "!", "/", "symbol:", "vcpu:", "!mode:", "symbol:/"])
def test_what_is_not_yet_typed_lets_everything_through(text: str) -> None:
    assert condition_of(text) is None


@pytest.mark.parametrize("text", ["/(", "module:/[/", "vcpu:x", "vcpu:1-x", "vcpu:-3", "vcpu:9999"])
def test_nonsense_is_explained(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        condition_of(text)
    assert caught.value.remedy


@given(st.text(max_size=40) | st.from_regex(r"!?(vcpu|symbol|mode):[0-9,/\-\[(*]{0,12}"))
def test_any_text_is_a_condition_or_a_usage_error(text: str) -> None:
    try:
        condition = condition_of(text)
    except UsageError:
        return
    assert condition is None or isinstance(condition, Condition)


def test_a_vcpu_list_is_understood_while_it_is_typed() -> None:
    for text, expected in (("vcpu:1", {1}), ("vcpu:1-", {1}), ("vcpu:1-3", {1, 2, 3}),
                           ("vcpu:1-3,", {1, 2, 3}), ("vcpu:1-3,7", {1, 2, 3, 7})):  # fmt: skip
        condition = condition_of(text)
        assert condition is not None
        assert condition.numbers == expected


@pytest.mark.parametrize(
    "text", ["vfs", "symbol:vfs", "module:ext4", "mode:user", "vcpu:1", "guest:web", "/^do_/"]
)
def test_a_condition_and_its_opposite_share_the_samples_out(text: str) -> None:
    profile = synthetic(600, stacks=True)
    whole = tabulate(profile).weight
    assert weight(profile, text) + weight(profile, f"!{text}") == whole
    if text != "guest:web":  # the only one
        assert 0 < weight(profile, text) < whole


def test_a_filter_looks_at_whole_stacks() -> None:
    profile = synthetic(600, stacks=True)
    rows = {row.label for row in tabulate(
        profile, narrowed(EVERYTHING, [c for c in [condition_of("symbol:vfs_read")] if c], profile)
    ).rows}  # fmt: skip
    assert {"vfs_read", "filemap_read", "do_syscall_64"} <= rows
    # A module that calls is found though the sample's own pc is elsewhere.
    assert weight(profile, "module:ext4") > weight(synthetic(600), "module:ext4")
    assert weight(profile, "symbol:ext4_file", "module:ext4") > 0
    assert weight(profile, r"symbol:/^\[kernel\]$/") == 0


def test_all_conditions_must_hold() -> None:
    profile = synthetic(600, stacks=True)
    both = weight(profile, "vfs_read", "vcpu:1")
    assert 0 < both < min(weight(profile, "vfs_read"), weight(profile, "vcpu:1"))
    assert weight(profile, "vcpu:0", "vcpu:1") == 0
    assert weight(profile, "mode:user", "mode:kernel") == 0


def test_guests_are_found_by_name() -> None:
    profile = synthetic(100)
    guest = profile.samples.guest.copy()
    guest[:30] = 1
    two = replace(
        profile,
        samples=replace(profile.samples, guest=guest),
        guests={0: profile.guests[0], 1: Guest(1, "db[1]")},
    )
    assert weight(two, "guest:db[1]") == 30
    assert weight(two, "!guest:db[1]") == 70


def test_tasks_are_found_by_name_and_number() -> None:
    profile = synthetic(100)
    table = TaskTable()
    numbers = [table.add(GuestTask(0, pid, pid, comm)) for pid, comm in ((7, "dd"), (8, "sh[1]"))]
    task = profile.samples.task.copy()
    task[:20], task[20:50], task[50:] = numbers[0], numbers[1], 0
    known = replace(profile, samples=replace(profile.samples, task=task), tasks=table)
    assert weight(known, "task:dd") == 20
    assert weight(known, "task:sh[1]") == 30
    assert weight(known, "task:/^sh.* 8$/") == 30
    assert weight(known, "!task:dd") == 80
    assert weight(known, "task:unknown") == 50


def test_hidden_modes_stay_hidden() -> None:
    profile = synthetic(200)
    condition = condition_of("!mode:user")
    assert condition is not None
    choice = replace(Choice(), conditions=(condition,))
    assert choice.filter_of(profile).modes == frozenset(Mode) - {Mode.IDLE, Mode.USER}


def test_what_is_typed_is_kept_once_and_removed_by_itself() -> None:
    first, second = condition_of("a"), condition_of("b")
    assert first is not None
    assert second is not None
    choice = replace(Choice(), draft=first).kept()
    choice = replace(choice, draft=second).kept()
    choice = replace(choice, draft=condition_of("a")).kept()
    assert choice.conditions == (first, second)
    assert choice.without(first).conditions == (second,)


def test_patterns_that_were_matched_are_kept_up_to_a_bound() -> None:
    profile, known = synthetic(200, stacks=True), Resolution()
    for n in range(40):
        condition = condition_of(f"symbol:{'abcdefgh'[n % 8]}{n}")
        assert condition is not None
        tabulate(profile, narrowed(EVERYTHING, [condition], profile), known=known)
    again = condition_of("symbol:vfs_read")
    assert again is not None
    chosen = narrowed(EVERYTHING, [again], profile)
    assert tabulate(profile, chosen, known=known) == tabulate(profile, chosen)
