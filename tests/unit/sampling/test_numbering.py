"""Every distinct value gets one number, whatever came before and whatever else it meets."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gprof.sampling.numbering import Numbering, ascending, distinct, one_of_each

#: Few values, so that most come again; many of them alike, so that their hashes are close.
words = st.one_of(st.integers(0, 9), st.integers(2**64 - 9, 2**64 - 1), st.integers(0, 2**64 - 1))


@given(st.lists(st.lists(words, max_size=40), max_size=8))
def test_values_are_numbered_in_the_order_of_first_sight(batches: list[list[int]]) -> None:
    numbering, seen = Numbering(), list[int]()
    for batch in batches:
        numbers, fresh = numbering.number(np.array(batch, np.uint64))
        assert sorted(fresh.tolist()) == sorted(set(batch) - set(seen))
        seen += fresh.tolist()
        assert [seen[number] for number in numbers.tolist()] == batch
        assert len(numbering) == len(seen)


def test_values_that_share_a_place_of_the_table_keep_their_numbers() -> None:
    # More than the table has places for at first, so that it grows; some meet in each.
    values = np.random.default_rng(0).integers(0, 2**64, 20_000, np.uint64)
    numbering = Numbering()
    known = np.concatenate([numbering.number(part)[0] for part in np.split(values, 50)])
    again, fresh = numbering.number(values[::-1])
    assert not len(fresh)
    assert (again[::-1] == known).all()
    assert len(set(known.tolist())) == len(values)


@given(st.lists(st.one_of(st.integers(0, 9), st.integers(0, 2**50))))
def test_distinct_is_unique(values: list[int]) -> None:
    column = np.array(values, np.int64)
    found, inverse = distinct(column)
    assert found.tolist() == sorted(set(values))
    assert found[inverse].tolist() == values


@given(st.lists(st.one_of(st.integers(0, 9), st.integers(0, 2**50))))
def test_ascending_is_unique(values: list[int]) -> None:
    assert ascending(np.array(values, np.int64)).tolist() == sorted(set(values))


@given(st.lists(st.integers(0, 9)))
def test_one_of_each_is_where_it_stands(values: list[int]) -> None:
    column = np.array(values, np.int64)
    example = one_of_each(column, 10)
    assert all(values[example[value]] == value for value in values)
