"""However what was said of people arrives, there are the same persons with the same profiles."""

from datetime import timedelta
from itertools import pairwise
from uuid import UUID

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from domain.apps import AppCreated, OrganisationCreated
from domain.tracking import Aliased, Identified, Tracked, Unmerged
from projections.projection import Recorded

EASY = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
APP, OWNER = UUID(int=11), UUID(int=12)
users = st.sampled_from(["ada", "bob", "eve"])
devices = st.sampled_from(["phone", "tablet", "laptop", "watch"])
ids = users | devices
values = st.dictionaries(st.sampled_from(["plan", "city", "visits"]), st.integers(0, 3), max_size=2)
operations = st.sampled_from(["set_once", "increment", "append", "unset"])
said = st.one_of(
    st.tuples(st.just("identify"), users, devices, values),
    st.tuples(st.just("operate"), users, operations, values),
    st.tuples(st.just("device"), devices, devices, values),
    st.tuples(st.just("alias"), users, ids, values),
    st.tuples(st.just("force"), users, ids, values),
    st.tuples(st.just("unmerge"), ids, ids, values),
    st.tuples(st.just("track"), users, devices, values),
    st.tuples(st.just("track"), devices, devices, values),
)
histories = st.lists(said, max_size=18)


def events_of(noon, history):
    """Each with a time of its own, so that it says when it happened whenever it arrives."""
    return [_event(noon, number, one) for number, one in enumerate(history, start=1)]


def _event(noon, number, one):
    kind, who, other, traits = one
    at = noon + timedelta(minutes=number)
    received = noon + timedelta(hours=12)
    own = {"message_id": str(number), "timestamp": at, "received_at": received}
    raw = msgspec.Raw(msgspec.json.encode(traits))
    match kind:
        case "identify":
            return Identified(user_id=who, anonymous_id=other, traits=raw, **own)
        case "operate":
            return Identified(user_id=who, operations=_operations(other, traits), **own)
        case "device":
            return Identified(anonymous_id=who, traits=raw, **own)
        case "track":
            key = "user_id" if who in {"ada", "bob", "eve"} else "anonymous_id"
            return Tracked(event="seen", **{key: who}, **own)
        case "unmerge":
            return _cut(who, other, at)
        case _:
            forced = {"forced_by": "key", "reason": "asked"} if kind == "force" else {}
            return Aliased(user_id=who, previous_id=other, **forced, **own)


def _operations(kind, traits):
    return msgspec.Raw(msgspec.json.encode({kind: list(traits) if kind == "unset" else traits}))


def _cut(who, other, at):
    return Unmerged(user_id=who, pairs=((who, other),), timestamp=at, received_at=at, done_by="key")


def log_of(noon, events):
    """As they arrive. What an event is called does not depend on when."""
    same = {"originator_version": 1, "occurred_at": noon}
    founded = [
        (None, OWNER, OrganisationCreated(originator_id=OWNER, name="Us", **same)),
        (
            APP,
            APP,
            AppCreated(originator_id=APP, app_id=APP, organisation_id=OWNER, name="A", **same),
        ),
    ]
    arrived = [(APP, UUID(int=1000 + number), event) for number, event in events]
    return [
        Recorded(position, stream, app, event.TOPIC, noon + timedelta(days=1), event)
        for position, (app, stream, event) in enumerate([*founded, *arrived], start=1)
    ]


@pytest.fixture
def people_after(models, engine, empty):
    """Every person, by their ids: traits, what each id has sent and when, and nothing parked."""

    def read(*pages):
        empty()
        for page in filter(None, pages):
            models.apply(page)
        with engine.connect() as connection:
            assert connection.execute(text("SELECT * FROM projections.parked")).all() == []
            rows = connection.execute(
                text("SELECT * FROM people.distinct_ids ORDER BY distinct_id")
            ).all()
            traits = dict(
                connection.execute(text("SELECT person, traits FROM people.persons")).all()
            )
        found = {}
        for row in rows:
            found.setdefault(row.person, []).append(
                (row.distinct_id, row.messages, row.first_seen, row.last_seen, row.known_since)
            )
        return {tuple(members): traits.get(person, {}) for person, members in found.items()}

    return read


def _cut_up(data, log):
    cuts = data.draw(st.sets(st.integers(1, max(len(log) - 1, 1))), label="cuts")
    return [log[a:b] for a, b in pairwise([0, *sorted(cuts), len(log)])]


@EASY
@given(history=histories, data=st.data())
def test_any_order_and_any_batches_give_the_same_people(people_after, noon, history, data):
    events = list(enumerate(events_of(noon, history)))
    shuffled = data.draw(st.permutations(events), label="order")
    expected = people_after(log_of(noon, events))
    assert people_after(*_cut_up(data, log_of(noon, shuffled))) == expected


@EASY
@given(history=histories, data=st.data())
def test_saying_it_again_changes_nobody(people_after, noon, history, data):
    """The same link, un-merge or set of traits in another message; counts grow, that is all."""
    events = list(enumerate(events_of(noon, history)))
    repeated = [(n, e) for n, e in events if not isinstance(e, Tracked) and not _has_operations(e)]
    again = data.draw(st.lists(st.sampled_from(repeated), max_size=6)) if repeated else []
    told = [*events, *((100 + place, event) for place, (_, event) in enumerate(again))]
    shuffled = data.draw(st.permutations(told), label="order")
    expected = people_after(log_of(noon, events))
    found = people_after(*_cut_up(data, log_of(noon, shuffled)))
    assert _uncounted(found) == _uncounted(expected)


def _has_operations(event):
    return isinstance(event, Identified) and bytes(event.operations) != b"{}"


def _uncounted(people):
    return {tuple(one[0] for one in members): traits for members, traits in people.items()}


@EASY
@given(history=histories, merges=st.lists(st.tuples(users, ids), max_size=6), data=st.data())
def test_merged_and_unmerged_is_as_never_merged(people_after, noon, history, merges, data):
    mentioned = [{"ada", "bob", "eve", "phone", "tablet", "laptop", "watch"}]
    everybody = [("device", one, one, {}) for one in sorted(mentioned[0])]
    base = events_of(noon, [*everybody, *history])
    linked = {frozenset(pair) for one in base for pair in _pairs(one)}
    fresh = sorted({(a, b) for a, b in merges if a != b and frozenset((a, b)) not in linked})
    start = len(base)
    forced = [_event(noon, start + n, ("force", *pair, {})) for n, pair in enumerate(fresh, 1)]
    end = noon + timedelta(minutes=start + len(fresh) + 1)
    undone = [_cut(*pair, end) for pair in data.draw(st.permutations(fresh))]
    told = list(enumerate([*base, *forced, *undone]))
    found = people_after(*_cut_up(data, log_of(noon, told)))
    expected = people_after(log_of(noon, list(enumerate(base))))
    assert _uncounted(found) == _uncounted(expected)


def _pairs(event):
    match event:
        case Aliased():
            return [(event.user_id, event.previous_id)]
        case Identified():
            return [(event.user_id, event.anonymous_id)]
        case Unmerged():
            return event.pairs
        case _:
            return []
