"""A person has so many traits and no more, the same ones in whatever order they were told."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain import traits as module
from domain.limits import MAX_TRAIT_LIST_BYTES
from domain.traits import fold, merged, take
from tests.people.test_traits_merged import EASY, said

names = st.sampled_from("abcdef")
operations = st.one_of(
    st.just({}),
    st.builds(lambda name: {"increment": {name: 2}}, names),
    st.builds(lambda name: {"unset": [name]}, names),
)
set_ = st.dictionaries(names, st.integers(0, 9), max_size=3)
messages = st.lists(st.tuples(st.integers(0, 5), set_, operations), max_size=12)


@pytest.fixture(scope="module", autouse=True)
def three_traits():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MAX_TRAITS", 3)
        yield


def _in_order_of_arrival(messages):
    """As the read model does it."""
    traits, told = {}, []
    for one in messages:
        told.append(one)
        if not take(traits, one):
            traits = fold(told)
    return traits


@EASY
@given(messages)
def test_the_same_are_kept_in_any_order_of_arrival(messages):
    told = [said(n, *one) for n, one in enumerate(messages)]
    assert _in_order_of_arrival(told) == fold(told)


@EASY
@given(messages, st.integers(0, 12))
def test_the_same_are_kept_when_two_persons_become_one(messages, first):
    told = [said(n, *one) for n, one in enumerate(messages)]
    together = merged([fold(told[:first]), fold(told[first:])])
    assert together in (None, fold(told))


def test_a_trait_that_was_forgotten_and_is_set_late_is_known_to_have_been_counted():
    counted = said(0, 0, {}, {"increment": {"y": 1}})
    others = [said(n, n, {name: n}, {}) for n, name in ((1, "a"), (3, "b"), (4, "c"))]
    late = said(5, 2, {"y": 7}, {})
    assert _in_order_of_arrival([counted, *others, late]) == fold([counted, *others, late])


def test_those_that_were_spoken_of_last_are_kept():
    told = [said(n, n, {name: n}, {}) for n, name in enumerate("abcda")]
    assert {name: trait.value for name, trait in fold(told).items()} == {
        "c": msgspec.Raw(b"2"), "d": msgspec.Raw(b"3"), "a": msgspec.Raw(b"4"),
    }  # fmt: skip


def test_what_was_counted_begins_anew_once_it_is_forgotten():
    counted = said(0, 0, {}, {"increment": {"logins": 5}})
    others = [said(n, n, {name: n}, {}) for n, name in enumerate("abc", 1)]
    again = said(4, 4, {}, {"increment": {"logins": 1}})
    assert fold([counted, *others, again])["logins"].value == msgspec.Raw(b"1")


def test_a_list_keeps_its_newest_values_within_its_bytes():
    told = [said(n, n, {}, {"append": {"notes": f"{n:02}" + "x" * 9_000}}) for n in range(30)]
    raw = bytes(fold(told)["notes"].value)
    values = msgspec.json.decode(raw)
    assert len(raw) <= MAX_TRAIT_LIST_BYTES < len(raw) + 9_005
    assert [value[:2] for value in values] == [f"{n:02}" for n in range(30 - len(values), 30)]
