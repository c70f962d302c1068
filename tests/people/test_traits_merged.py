"""Two persons' traits together are those of all that was said of either."""

from datetime import UTC, datetime, timedelta

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.traits import Said, fold, merged

NOON = datetime(2026, 3, 14, 12, tzinfo=UTC)
names = st.sampled_from(["plan", "city", "logins"])
set_ = st.dictionaries(names, st.sampled_from([None, 1, "pro"]), max_size=3)
operations = st.one_of(
    st.just({}),
    st.builds(lambda name: {"increment": {name: 2}}, names),
    st.builds(lambda name: {"append": {name: "x"}}, names),
    st.builds(lambda name: {"unset": [name]}, names),
)
messages = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 5), set_, operations), max_size=12)
EASY = settings(max_examples=300, deadline=None)


def said(number, hour, traits, operation):
    return Said(
        NOON + timedelta(hours=hour),
        bytes([number]),
        number,
        number,
        msgspec.json.encode(traits),
        msgspec.json.encode(operation),
    )


def _of(messages, person):
    return [said(n, *one[1:]) for n, one in enumerate(messages) if one[0] == person]


@EASY
@given(messages)
def test_they_are_the_fold_of_all_that_was_said_or_not_told(messages):
    parts = [_of(messages, person) for person in (0, 1)]
    together = merged([fold(part) for part in parts])
    assert together in (None, fold([one for part in parts for one in part]))


@EASY
@given(messages)
def test_of_what_was_only_set_and_unset_they_are_always_told(messages):
    plain = [
        (person, hour, traits, {k: v for k, v in operation.items() if k == "unset"})
        for person, hour, traits, operation in messages
    ]
    assert merged([fold(_of(plain, person)) for person in (0, 1)]) is not None


def test_what_was_counted_on_both_sides_is_not_told():
    parts = [fold([said(n, n, {}, {"increment": {"logins": 1}})]) for n in (0, 1)]
    assert merged(parts) is None
