"""However the log is cut into pages, the tables come out the same, byte for byte."""

from datetime import timedelta
from itertools import pairwise
from uuid import UUID

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.apps import AppCreated, KeyIssued, KeyRevoked, OrganisationCreated
from domain.tracking import (
    Aliased,
    Client,
    Grouped,
    Identified,
    RefusalReplayed,
    Refused,
    Tracked,
    Unmerged,
)
from projections import people
from projections.projection import Recorded

EASY = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
APPS = [UUID(int=n) for n in (11, 12, 13)]
ids = st.sampled_from(["ada", "bob", "eve", "Zoë", "browser 1", "browser 2", "⚡", "a'b\\c"])
hours = st.integers(-30, 30)
values = st.sampled_from([None, True, 1, 1.5, "pro", "", [1, 2], {"a": "\x00"}, "ü"])
traits = st.dictionaries(st.sampled_from(["plan", "city", "e mail", "näme"]), values, max_size=3)
kinds = st.sampled_from(
    [
        *("track", "track", "identify", "identify", "operate", "alias", "force", "unmerge"),
        *("group", "refuse", "replay", "key"),
    ]
)
steps = st.lists(st.tuples(kinds, st.sampled_from(APPS), ids, ids, hours, traits), max_size=40)


def of(noon, steps):
    """A log that could have been: apps and keys before their messages."""
    events, made, refused = [], [], []
    for number, step in enumerate(steps):
        if step[1] not in made:
            made.append(step[1])
            events += _founded(noon, step[1])
        events.append((step[1], _event(noon, number, step, refused)))
    return [
        Recorded(
            position,
            getattr(event, "originator_id", UUID(int=position)),
            app,
            event.TOPIC,
            noon + timedelta(seconds=position),
            event,
        )
        for position, (app, event) in enumerate(events, start=1)
    ]


def _founded(noon, app):
    owner = UUID(int=app.int + 100)
    same = {"originator_version": 1, "occurred_at": noon}
    yield None, OrganisationCreated(originator_id=owner, name="Us", **same)
    yield app, AppCreated(originator_id=app, app_id=app, organisation_id=owner, name="A", **same)


def _event(noon, number, step, refused):
    kind, _, user, other, hour, said = step
    envelope = {
        "message_id": str(number),
        "timestamp": noon + timedelta(hours=hour),
        "received_at": noon,
    }
    raw = msgspec.Raw(msgspec.json.encode(said))
    if kind in {"track", "group"}:
        return _told(kind, user, other, hour, raw, envelope)
    if kind in {"identify", "operate"}:
        anonymous_id = other if kind == "identify" else None
        fields = {"traits": raw} if kind == "identify" else {"operations": _operations(said, hour)}
        return Identified(user_id=user, anonymous_id=anonymous_id, **fields, **envelope)
    if kind in {"alias", "force"}:
        forced = {"forced_by": "key", "reason": "asked"} if kind == "force" else {}
        return Aliased(user_id=user, previous_id=other, **forced, **envelope)
    if kind == "unmerge":
        del envelope["message_id"]
        return Unmerged(user_id=user, pairs=((user, other),), done_by="key", **envelope)
    return _other(noon, number, step, refused)


def _told(kind, user, other, hour, raw, envelope):
    if kind == "group":
        return Grouped(user_id=user, group_id="g", traits=raw, **envelope)
    who = {"user_id": user, "anonymous_id": other} if hour % 2 else {"anonymous_id": user}
    return Tracked(event="seen", properties=raw, **envelope, **who)


def _operations(said, hour):
    kind = ("set_once", "append", "increment", "unset")[hour % 4]
    of = {"increment": dict.fromkeys(said, hour), "unset": list(said)}.get(kind, said)
    return msgspec.Raw(msgspec.json.encode({kind: of}))


def _other(noon, number, step, refused):
    kind, app, _, _, hour, _ = step
    if kind == "refuse":
        refused.append(number)
        return _refused(noon, number)
    if kind == "key":
        return _key(noon, number, app, revoke=hour < 0)
    which = UUID(int=refused[hour % len(refused)] if refused else 1)
    return RefusalReplayed(refused_id=which.hex, event_id="evt_1", replayed_at=noon)


def _refused(noon, number):
    return Refused(
        body=b"\x00\xff{" + str(number).encode(),
        field="event_name",
        issue="is missing",
        received_at=noon,
        dialect="native",
        client=Client(ip="192.0.2.1"),
    )


def _key(noon, number, app, *, revoke):
    same = {
        "originator_id": app,
        "originator_version": number + 2,
        "occurred_at": noon,
        "app_id": app,
    }
    if revoke:
        return KeyRevoked(key_id=UUID(int=max(number - 1, 0)), **same)
    return KeyIssued(
        key_id=UUID(int=number), kind="write", digest=f"{number:064}", last_four="abcd", **same
    )


@pytest.fixture
def applied(models, contents, empty):
    """What the tables hold after these pages, from nothing."""

    def apply(*pages):
        empty()
        for page in pages:
            models.apply(page)
        return contents()

    return apply


@EASY
@given(steps=steps, data=st.data())
def test_any_split_gives_the_same_tables(applied, noon, steps, data):
    log = of(noon, steps)
    cuts = data.draw(st.sets(st.integers(1, max(len(log) - 1, 1))), label="cuts")
    edges = [0, *sorted(cuts), len(log)]
    pages = [log[a:b] for a, b in pairwise(edges)]
    assert applied(*(page for page in pages if page)) == applied(*([log] if log else []))


@EASY
@given(steps=steps)
def test_numbers_are_dense_and_in_the_order_of_first_mention(applied, engine, noon, steps):
    log = of(noon, steps)
    applied(*([log] if log else []))
    expected = {}
    apps = list(dict.fromkeys(r.app_id for r in log if r.topic == "app.created.v1"))
    for recorded in log:
        for name in _mentioned(recorded.event):
            known = expected.setdefault(apps.index(recorded.app_id) + 1, [])
            if name not in known:
                known.append(name)
    with engine.connect() as connection:
        rows = connection.execute(people.distinct_ids.select()).all()
    found = {(row.app_number, row.number): row.distinct_id for row in rows}
    assert found == {(a, n): d for a, ds in expected.items() for n, d in enumerate(ds, start=1)}


def _mentioned(event):
    if isinstance(event, Unmerged):
        return [one for pair in event.pairs for one in pair]
    if not isinstance(event, Tracked | Identified | Aliased | Grouped):
        return []
    also = event.anonymous_id if event.user_id else None
    previous = event.previous_id if isinstance(event, Aliased) else None
    return [name for name in (event.distinct_id, also, previous) if name]


@EASY
@given(
    said=st.lists(st.tuples(ids, st.integers(-3, 3), traits), max_size=20),
    data=st.data(),
)
def test_the_last_writer_of_a_trait_wins_by_time_then_event_id(applied, engine, noon, said, data):
    """In whatever order they arrived: an independent recount over the log says the same."""
    order = data.draw(st.permutations(said), label="order")
    log = of(noon, [("identify", APPS[0], user, user, hour, t) for user, hour, t in order])
    cut = data.draw(st.integers(0, len(log)), label="cut")
    applied(*(page for page in (log[:cut], log[cut:]) if page))
    newest = {}
    for recorded in log:
        if isinstance(recorded.event, Identified):
            for name, value in msgspec.json.decode(recorded.event.traits).items():
                key = (recorded.event.user_id, name)
                at = (recorded.event.timestamp, recorded.position)
                newest[key] = max(newest.get(key, (at, value)), (at, value), key=lambda v: v[0])
    with engine.connect() as connection:
        for user in {user for user, _, _ in said}:
            profile = people.find_profile(connection, 1, user)
            found = {
                (user, name): ((source.timestamp, source.position), profile.traits[name])
                for name, source in profile.trait_sources.items()
            }
            assert found == {key: value for key, value in newest.items() if key[0] == user}
