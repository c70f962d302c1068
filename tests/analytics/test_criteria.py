"""Criteria in ClickHouse and in memory, each against a plain evaluation written out here."""

import hashlib
import json
from datetime import datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from domain.conditions import Where
from domain.conditions.judging import Event, Person, evaluate
from domain.conditions.tree import (
    Aggregate,
    AllOf,
    AnyOf,
    Did,
    FirstDid,
    InSequence,
    Member,
    Not,
    OfTrait,
    Sample,
    Step,
    Stopped,
    Times,
    Window,
    check_criteria,
)
from domain.past import Past
from infrastructure.analytics_engine import AnalyticsEngine
from infrastructure.person_writer import PersonWriter
from projections import person_traits
from projections.criteria import Asked, Tables, members, members_of_many
from projections.events import create_table
from tests.analytics.stores import START, Happened, Merge, fill

TABLES = Tables("criteria_events", "criteria_traits")
MINUTE = 60_000_000
NOW = START + timedelta(hours=8)
IDS = 7
SEGMENTS = {"seg_1": [1, 3], "seg_2": []}
MEMBERS_OF = {
    name: f"SELECT arrayJoin(CAST({numbers}, 'Array(UInt64)')) AS person"
    for name, numbers in SEGMENTS.items()
}


@pytest.fixture(scope="module")
def engine(engine_url):
    client = AnalyticsEngine(engine_url)
    PersonWriter(client).recover(UUID(int=1))
    client.command(create_table(TABLES.events, generation="test"))
    client.command(person_traits.create_table(TABLES.traits, generation="test"))
    yield client
    client.command(f"DROP TABLE {TABLES.events} SYNC")
    client.command(f"DROP TABLE {TABLES.traits} SYNC")
    client.close()


# --- the plain evaluation: over (micros, position, name, properties), straight from the words -----


def holds(tree, number, traits, mine, now):  # noqa: C901, PLR0911, PLR0912  a case for each kind
    """`now` in microseconds since START; `mine` those of one person, in any order."""
    mine = sorted((e for e in mine if e[0] <= now), key=lambda e: e[:2])
    match tree:
        case AllOf(conditions=parts):
            return all(holds(part, number, traits, mine, now) for part in parts)
        case AnyOf(conditions=parts):
            return any(holds(part, number, traits, mine, now) for part in parts)
        case Not(condition=part):
            return not holds(part, number, traits, mine, now)
        case Member(segment=segment):
            return number in SEGMENTS[segment]
        case Sample(percent=percent, seed=seed):
            digest = hashlib.md5(f"{seed}:{number}".encode()).digest()[:8]
            return int.from_bytes(digest, "little") % 10_000 < percent * 100
        case OfTrait():
            return one_holds(tree.operator, tree.value, traits.get(tree.trait), now)
        case Did(event=event, where=where):
            found = [
                e for e in mine if is_it(event, where, e, now) and in_window(tree.within, e, now)
            ]
            bound = tree.times
            if bound.at_least is not None:
                return len(found) >= bound.at_least
            return (
                len(found) <= bound.at_most
                if bound.exactly is None
                else len(found) == bound.exactly
            )
        case FirstDid(event=event, where=where):
            found = [e for e in mine if is_it(event, where, e, now)]
            return bool(found) and in_window(tree.within, found[0], now)
        case Stopped(event=event, where=where):
            found = [e for e in mine if is_it(event, where, e, now)]
            recent = [e for e in found if in_window(Window(last=tree.last), e, now)]
            return bool(found) and not recent
        case InSequence():
            return in_sequence(tree, mine, now)
        case Aggregate():
            return reckoned(tree, mine, now)


def in_sequence(tree, mine, now):
    length = LENGTHS[tree.within]
    for place, x in enumerate(mine):
        if not (
            is_it(tree.first.event, tree.first.where, x, now) and in_window(tree.window, x, now)
        ):
            continue
        after = [
            y
            for y in mine[place + 1 :]
            if is_it(tree.then.event, tree.then.where, y, now) and y[0] <= x[0] + length
        ]
        if (after and tree.followed) or (not after and not tree.followed and now > x[0] + length):
            return True
    return False


def reckoned(tree, mine, now):  # noqa: PLR0911, PLR0912  a case for each operator
    found = [
        e[3].get(tree.property)
        for e in mine
        if is_it(tree.event, tree.where, e, now) and in_window(tree.within, e, now)
    ]
    if tree.function == "count_distinct":
        scalars = [v for v in found if isinstance(v, str | int | float)]
        amount = len({(isinstance(v, bool), v) for v in scalars})
    else:
        numbers = [v for v in found if isinstance(v, int | float) and not isinstance(v, bool)]
        if not numbers and tree.function != "sum":
            return False
        amount = {
            "sum": sum(numbers),
            "avg": sum(numbers) / len(numbers) if numbers else 0,
            "min": min(numbers, default=0),
            "max": max(numbers, default=0),
        }[tree.function]
    match tree.operator:
        case "between":
            return tree.value[0] <= amount <= tree.value[1]
        case "equals":
            return amount == tree.value
        case "greater":
            return amount > tree.value
        case "greater_or_equal":
            return amount >= tree.value
        case "less":
            return amount < tree.value
        case _:
            return amount <= tree.value


LENGTHS = {"1 hour": 60 * MINUTE, "2 hours": 120 * MINUTE, "30 minutes": 30 * MINUTE}


def in_window(window, event, now):
    if window is None:
        return True
    if window.last is not None:
        return now - LENGTHS[window.last] <= event[0] <= now
    at = START + timedelta(microseconds=event[0])
    return datetime.fromisoformat(window.start) <= at < datetime.fromisoformat(window.to)


def is_it(name, where, event, now):
    if name not in {None, event[2]}:
        return False
    return all(one_holds(w.operator, w.value, event[3].get(w.property), now) for w in where)


def one_holds(operator, value, found, now):  # noqa: PLR0911  a case for each operator
    is_number = isinstance(found, int | float) and not isinstance(found, bool)
    match operator:
        case "equals":
            return found == value and isinstance(found, bool) == isinstance(value, bool)
        case "not_equals":
            return not one_holds("equals", value, found, now)
        case "greater":
            return is_number and found > value
        case "is_set":
            return found is not None
        case "is_not_set":
            return found is None
        case "in_last":
            if not isinstance(found, str):
                return False
            at = datetime.fromisoformat(found)
            moment = START + timedelta(microseconds=now)
            return moment - timedelta(microseconds=LENGTHS[value]) <= at <= moment
    raise AssertionError(operator)


# --- what is asked, of whom ----------------------------------------------------------------------

NAMES = ["view", "buy", "ö'\\"]
# Around the ends of the windows below, and some at the same instants.
EDGES = [0, 60, 120, 180, 360, 390, 420, 450, 480, 540]
MICROS = st.one_of(
    st.builds(lambda at, off: at * MINUTE + off, st.sampled_from(EDGES), st.integers(-1, 1)),
    st.sampled_from([at * MINUTE for at in EDGES]),
)
AMOUNT = st.sampled_from(
    [1, 2, 2.5, 0.25, -3, 5.0, "5", "", True, None, [5], {"a": 1}, "ü", 0, -0.0]
)
WHEN = st.builds(lambda at: (START + timedelta(microseconds=at)).isoformat(), MICROS)
PROPERTIES = st.fixed_dictionaries(
    {}, optional={"amount": AMOUNT, "plan": st.sampled_from(["pro", "free", 5]), "at": WHEN}
)
TRAITS = st.fixed_dictionaries(
    {}, optional={"plan": st.sampled_from(["pro", "free", 5, None]), "at": WHEN}
)
OPERATORS = st.one_of(
    st.tuples(
        st.just("plan"), st.sampled_from(["equals", "not_equals"]), st.sampled_from(["pro", 5])
    ),
    st.tuples(st.just("plan"), st.sampled_from(["is_set", "is_not_set"]), st.none()),
    st.tuples(st.just("amount"), st.just("greater"), st.sampled_from([1, 2])),
    st.tuples(st.just("at"), st.just("in_last"), st.sampled_from(list(LENGTHS))),
)
WHERE = st.lists(OPERATORS.map(lambda one: Where(*one)), max_size=2).map(tuple)
EVENT = st.sampled_from([*NAMES, *NAMES, None])
LENGTH = st.sampled_from(list(LENGTHS))
WINDOW = st.one_of(
    st.none(),
    LENGTH.map(lambda last: Window(last=last)),
    st.sampled_from([(60, 180), (360, 480), (0, 60), (120, 600)]).map(
        lambda pair: Window(
            start=(START + timedelta(minutes=pair[0])).isoformat(),
            to=(START + timedelta(minutes=pair[1])).isoformat(),
        )
    ),
)
TIMES = st.one_of(
    st.integers(1, 3).map(lambda n: Times(at_least=n)),
    st.integers(0, 2).map(lambda n: Times(at_most=n)),
    st.integers(0, 2).map(lambda n: Times(exactly=n)),
)
STEP = st.builds(Step, EVENT, WHERE)
VALUE = st.sampled_from([0, 1, 2, 2.5, 4, -3])
CLAUSE = st.one_of(
    OPERATORS.map(lambda one: OfTrait(trait=one[0], operator=one[1], value=one[2])),
    st.builds(Did, event=EVENT, where=WHERE, times=TIMES, within=WINDOW),
    st.builds(FirstDid, event=EVENT, where=WHERE, within=WINDOW),
    st.builds(Stopped, event=EVENT, where=WHERE, last=LENGTH),
    st.builds(
        InSequence, first=STEP, then=STEP, within=LENGTH, followed=st.booleans(), window=WINDOW
    ),
    st.builds(
        Aggregate,
        function=st.sampled_from(["sum", "avg", "min", "max", "count_distinct"]),
        event=EVENT,
        property=st.just("amount"),
        where=WHERE,
        operator=st.sampled_from(
            ["greater", "greater_or_equal", "less", "less_or_equal", "equals"]
        ),
        value=VALUE,
        within=WINDOW,
    ),
    st.builds(
        Aggregate,
        function=st.sampled_from(["sum", "avg", "min", "max", "count_distinct"]),
        event=EVENT,
        property=st.just("amount"),
        operator=st.just("between"),
        value=st.lists(VALUE, min_size=2, max_size=2).map(sorted),
        within=WINDOW,
    ),
    st.sampled_from([Member(segment="seg_1"), Member(segment="seg_2")]),
    st.builds(
        Sample,
        percent=st.sampled_from([0, 0.01, 33.33, 50, 100]),
        seed=st.sampled_from(["", "ü'", "b"]),
    ),
)
TREE = st.recursive(
    CLAUSE,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: AllOf(conditions=tuple(parts))),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: AnyOf(conditions=tuple(parts))),
        inner.map(lambda part: Not(condition=part)),
    ),
    max_leaves=5,
)
HAPPENED = st.lists(
    st.builds(Happened, st.integers(1, IDS - 1), MICROS, st.sampled_from(NAMES), PROPERTIES),
    max_size=25,
)
MERGES = st.lists(
    st.tuples(st.integers(1, 25), st.sampled_from([(4, 1), (5, 1), (5, 3), (5, 5), (7, 6)])),
    max_size=3,
    unique_by=lambda merge: (merge[0], merge[1][0]),
)
TOLD = st.lists(
    st.tuples(st.integers(1, IDS), st.integers(1, 25), TRAITS),
    max_size=8,
    unique_by=lambda told: told[:2],
)
PAST = st.one_of(st.none(), st.integers(0, 25))
AMONG = st.one_of(st.none(), st.lists(st.integers(1, IDS), min_size=1, max_size=3, unique=True))


def people(store, told, known_at):
    """Person -> (traits, events), of those that there are."""
    until = 10**9 if known_at is None else known_at
    person_of = {number: number for number in range(1, IDS + 1)}
    for merge in sorted(store.merges):
        if merge.position <= until:
            person_of[merge.number] = merge.person
    found = {number: ({}, []) for number, person in person_of.items() if number == person}
    for person, position, event in store.seen(known_at):
        found[person][1].append((event.micros, position, event.name, dict(event.properties)))
    for number, position, traits in sorted(told, key=lambda one: one[1]):
        if position <= until and number in found:
            found[number] = (traits, found[number][1])
    return found


def in_memory(tree, number, traits, mine):
    events = [
        Event(START + timedelta(microseconds=at), name, properties, {}, position)
        for at, position, name, properties in mine
    ]
    person = Person(number, traits, events)
    return evaluate(tree, person, NOW, lambda segment: number in SEGMENTS[segment])


def in_engine(engine, tree, store, known_at, among):
    asked = Asked(
        app_number=store.app_number,
        ids=IDS,
        now=NOW,
        past=Past(known_at),
        members_of=MEMBERS_OF,
        among=among,
        tables=TABLES,
    )
    query = members(tree, asked)
    return sorted(row[0] for row in engine.query(query.sql, query.parameters).rows)


def at_once(engine, trees, store, known_at, among):
    """All trees from one query, asked of those that a query gives."""
    rows = "SELECT arrayJoin(CAST({}, 'Array(UInt64)')) AS person"
    asked = Asked(
        app_number=store.app_number,
        ids=IDS,
        now=NOW,
        past=Past(known_at),
        members_of=MEMBERS_OF,
        among=None if among is None else rows.format(among),
        tables=TABLES,
        is_newest=known_at is not None and all(m.position <= known_at for m in store.merges),
    )
    query = members_of_many(dict(enumerate(trees)), asked)
    return sorted(map(tuple, engine.query(query.sql, query.parameters).rows))


def compare(engine, trees, happened, merges, told, *, known_at=None, among=None):
    store = fill(engine, TABLES.events, happened, [Merge(at, *who) for at, who in merges])
    rows = "".join(
        f"{store.app_number}\t{number}\t{position}\t{json.dumps(traits)}\n".replace("\\", "\\\\")
        for number, position, traits in told
    )
    if rows:
        engine.insert_rows(TABLES.traits, person_traits.COLUMNS, rows.encode(), format_name="TSV")
    there = people(store, told, known_at)
    now = 480 * MINUTE
    pairs = []
    for key, tree in enumerate(trees):
        check_criteria(tree)
        expected = [n for n, (traits, mine) in there.items() if holds(tree, n, traits, mine, now)]
        told_ = [n for n, (traits, mine) in there.items() if in_memory(tree, n, traits, mine)]
        assert told_ == expected, ("memory", tree)
        wanted = [n for n in expected if among is None or n in among]
        assert in_engine(engine, tree, store, known_at, among) == wanted, ("engine", tree)
        pairs += [(key, number) for number in wanted]
    assert at_once(engine, trees, store, known_at, among) == sorted(pairs)


CASES = st.tuples(st.lists(TREE, min_size=1, max_size=4), HAPPENED, MERGES, TOLD)
QUIET = {"deadline": None, "suppress_health_check": list(HealthCheck)}


@settings(max_examples=25, phases=[Phase.generate], derandomize=True, **QUIET)
@given(CASES, PAST, AMONG)
def test_engine_and_memory_say_what_the_words_say(engine, case, known_at, among):
    compare(engine, *case, known_at=known_at, among=among)


@pytest.mark.long
@settings(max_examples=800, phases=[Phase.generate, Phase.shrink], **QUIET)
@given(CASES, PAST, AMONG)
def test_engine_and_memory_say_what_the_words_say_long(engine, case, known_at, among):
    compare(engine, *case, known_at=known_at, among=among)
