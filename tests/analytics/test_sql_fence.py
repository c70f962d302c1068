"""The fence around callers' SQL, against the real engine: what is asked is answered, what would
come through does not, and nothing of another app is ever in an answer or a refusal.
"""

import random
import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlglot import exp

from domain.errors import AppizerError, Rejected
from domain.past import NOW, Past
from infrastructure.analytics_engine import EngineFailed
from projections.memberships import TABLE as MEMBERSHIPS
from projections.person_map import CHANGES
from projections.person_map import NOW as PERSON_NOW
from projections.person_traits import TABLE as TRAITS
from projections.sql import functions, parsing, views
from tests.fixtures.sql import ACCEPTED, ATTEMPTS, MARKER
from tests.fixtures.sql_store import FIRST, INNER, MINE, plan_of, rows


@pytest.mark.parametrize("query", ACCEPTED)
def test_what_is_allowed_is_answered(ask, query):
    found = ask(query)
    assert found.columns
    for name in [column.name for column in found.columns]:
        assert "cte_" not in name
        assert "p0" not in name


@pytest.mark.parametrize("query", ATTEMPTS, ids=lambda query: query[:60])
def test_no_attempt_comes_through(query):
    """It is refused before the engine is asked."""
    started = time.perf_counter()
    with pytest.raises(Rejected) as refused:
        plan_of(query)
    assert refused.value.field in ("query", "parameters.x")
    assert len(refused.value.issue) > 10
    assert "sqlglot" not in refused.value.issue
    assert MARKER not in refused.value.issue
    assert time.perf_counter() - started < 3


def test_there_are_enough_attempts():
    assert len(set(ATTEMPTS)) >= 250


# In one granule with rows on which these fail, or find something.
ORACLES = [
    "toUInt32(replaceOne({c}, 'u', '')) > 0",
    "toDecimal32(length({c}) * 100000000, 1) >= 0",
    "intDiv(1, length({c}) - 10) != 7",
    "has([1], toUInt8(replaceOne({c}, 'u', '')))",
    "toUInt8(replaceOne({c}, 'u', '')) IN (1, 2)",
    "range(toUInt64(length({c}) > 9) * 100000000) = []",
    "arrayExists(x -> toUInt8(replaceOne(x, 'u', '')) = 1, [{c}])",
    "{c} = 'zebra' || '-7f3a'",
    "CAST(replaceOne({c}, 'u', '') AS UInt8) > 0",
]
SHAPES = [
    "SELECT count() FROM events WHERE {o}",
    "SELECT count() FROM events WHERE day > '2000-01-01' AND position > 0 AND {o}",
    "SELECT sum({o}) FROM events",
    "SELECT event, count() FROM events GROUP BY event HAVING max({o}) >= 0",
    "SELECT position FROM events ORDER BY {o}, position LIMIT 1",
    "SELECT count() FROM people WHERE person_id IN (SELECT person_id FROM events WHERE {o})",
    "SELECT count() FROM events AS e JOIN people AS p ON e.person_id = p.person_id AND {o}",
    "WITH a AS (SELECT * FROM events WHERE {o}) SELECT count() FROM a WHERE day > '2000-01-01'",
    "SELECT max({o}) OVER (ORDER BY position) FROM events",
]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("oracle", ORACLES)
def test_functions_that_fail_never_see_anothers_rows(ask, shape, oracle):
    """Of app 1 all ids are `u` and a digit, so nothing fails on its own rows; on the other's these
    would, and the engine's complaint would hold the value.
    """
    for column in ("distinct_id", "user_id"):
        assert rows(ask(shape.format(o=oracle.format(c=column))))


def test_dictionaries_are_not_shared_with_others(ask):
    """`event` is one of `commit` and `merge` here, and the other's is longer."""
    for expression in (
        "intDiv(6, length(event) - 10)",
        "toUInt8(replaceRegexpAll(event, 'commit|merge', '1'))",
        "toDate(replaceRegexpAll(event, 'commit|merge', '2026-01-01'))",
        "arrayElement([1, 2, 3, 4, 5, 6], length(event))",
        "range(toUInt64(length(event) > 9) * 100000000)",
    ):
        assert rows(ask(f"SELECT {expression} AS x, count() FROM events GROUP BY x"))


def test_traits_are_those_of_the_app_and_of_the_past(ask):
    """Person 1 has a plan from position 20 and another from 40 on; person 4 never had a trait."""
    asked = (
        "SELECT person_id, JSONExtractString(traits, 'plan') AS plan, traits FROM people"
        " WHERE person_id IN (1, 4) ORDER BY person_id"
    )

    def plans(**past):
        return [(int(row[0]), row[1]) for row in rows(ask(asked, past=Past(**past)))]

    assert plans() == [(1, "pro"), (4, "")]
    assert plans(known_at=39) == [(1, "free"), (4, "")]
    assert plans(known_at=19) == [(1, ""), (4, "")]
    assert rows(ask("SELECT traits FROM people WHERE person_id = 4")) == [("{}",)]
    assert rows(ask("SELECT * FROM people WHERE person_id = 1"))[0][-1] == '{"plan": "pro"}'


@pytest.mark.parametrize("oracle", ORACLES)
def test_functions_that_fail_never_see_anothers_traits(ask, oracle):
    """All values of app 1 are numbers here; those of the other have the marker."""
    plan = "JSONExtractString(traits, 'plan')"
    column = f"multiIf({plan} = '', 'u1', {plan} IN ('pro', 'free'), 'u2', {plan})"
    assert rows(ask(f"SELECT count() FROM people WHERE {oracle.format(c=column)}"))
    assert rows(ask(f"SELECT max({oracle.format(c=column)}) FROM people"))


@pytest.mark.parametrize(
    "oracle",
    ["intDiv(1, toInt64(person_id) - 3) != 7", "person_id != 3", "NOT has([3], person_id)"],
)
def test_members_of_another_app_are_never_seen(ask, oracle):
    """Its person 3 is in a segment of the same id as one of ours."""
    for query in (
        "SELECT count() FROM segments WHERE {o}",
        "SELECT countIf({o}) FROM segments WHERE segment != ''",
        "SELECT count() FROM segments WHERE person_id IN (SELECT person_id FROM segments WHERE {o})",
    ):
        assert rows(ask(query.format(o=oracle))) == [(2,)]


def test_the_engine_itself_filters_by_app(sql_engine):
    """Behind the fence: were a table left as the caller wrote it, this is what would be read."""
    plan = plan_of("SELECT 1")
    for name in ("events", "sql_fence.events", PERSON_NOW, CHANGES, TRAITS, MEMBERSHIPS):
        asked = f"SELECT groupUniqArray(app_number) FROM {name} SETTINGS readonly = 1"
        (row,) = sql_engine.query(asked, {}, plan.settings).rows
        assert row[0] == [MINE]
    for name in ("file('x', 'LineAsString')", "url('http://127.0.0.1:1', 'LineAsString')"):
        with pytest.raises(EngineFailed) as refused:
            sql_engine.query(f"SELECT * FROM {name} SETTINGS readonly = 1", {}, plan.settings)
        assert refused.value.code == 164


def test_every_table_of_the_views_is_fenced_and_reserved():
    for past in (NOW, Past(known_at=7, as_of=FIRST)):
        fence = views.Fence(MINE, past)
        for view in views.NAMES:
            read = set(re.findall(r"(?:FROM|joinGet\(')\s*(\w+)", fence.view(view)))
            assert read <= {"events", CHANGES, PERSON_NOW, TRAITS, MEMBERSHIPS}
            assert read <= set(fence.filters())
            assert read - {"events"} <= views.INNER
            assert fence.view(view).count(f"app_number = {MINE}") + fence.view(view).count(
                f"toUInt32({MINE})"
            ) >= len(read)


def test_every_function_on_the_list_exists(sql_engine):
    """In the engine, under that name, whatever its case."""
    found = sql_engine.query("SELECT name FROM system.functions").rows
    known = {row[0].lower() for row in found}
    plain = set(functions.PLAIN.split()) | set(functions.AGGREGATE.split())
    assert {name for name in plain if name.lower() not in known} == set()


def test_every_part_that_may_be_there_exists_in_the_parser():
    for kind, parts in parsing.PARTS.items():
        assert parts <= set(kind.arg_types) | {"quoted"}, kind


# --- Accepted queries, changed at random. ---

WORDS = [
    *("system.tables", "default.events", "person_now", "person_changes", "app_number", "pid0"),
    *(
        "events",
        "people",
        "`events`",
        "FINAL",
        "SETTINGS readonly = 0",
        "FORMAT Null",
        "PREWHERE 1",
    ),
    *("IN events", "IN (events)", "url('x')", "numbers(10)", "{x:Identifier}", "COLUMNS('.*')"),
    *(
        "* EXCEPT(event)",
        "UNION ALL SELECT number FROM person_now",
        "joinGet('person_now', 'person')",
    ),
    *(
        "AS app_number",
        "AS events",
        "WITH events AS (SELECT 1)",
        "(",
        ")",
        "'",
        "`",
        "--",
        "/*",
        "*/",
    ),
    *(";", ",", "\\", ".", "x ->", "GLOBAL", "NULL", "SELECT * FROM", "moved", "events.app_number"),
    *(
        "__table1.pid0",
        "SAMPLE 1",
        "INTO OUTFILE 'x'",
        "UNION ALL",
        "AS `a.b`",
        "ARRAY JOIN",
        "[1]",
    ),
]
PIECE = re.compile(r"\w+|'[^']*'|`[^`]*`|\s+|.")


def mutated(dice, query):
    pieces = PIECE.findall(query)
    for _ in range(dice.randint(1, 3)):
        at = dice.randrange(len(pieces))
        match dice.randrange(5):
            case 0:
                pieces[at] = f" {dice.choice(WORDS)} "
            case 1:
                pieces.insert(at, f" {dice.choice(WORDS)} ")
            case 2:
                del pieces[at]
                pieces = pieces or ["SELECT"]
            case 3:
                other = PIECE.findall(dice.choice(ACCEPTED))
                start = dice.randrange(len(other))
                pieces[at:at] = other[start : start + dice.randint(1, 12)]
            case _:
                pieces[at] = f" {dice.choice(dice.choice([WORDS, pieces]))} "
    return "".join(pieces)


def _is_held(ask, query):
    """Refused in words, or answered without anything of the other's; returns whether answered."""
    said = ""
    try:
        ask(query, seconds=2.0)
    except AppizerError as refused:
        said = refused.message
    shown = INNER.search(said)
    assert shown is None or shown[0] in query, (query, said)
    assert MARKER not in said
    return not said


def _mutants(ask, seed, count):
    dice = random.Random(seed)
    return sum(_is_held(ask, mutated(dice, dice.choice(ACCEPTED))) for _ in range(count))


def test_changed_queries_are_held_by_the_fence(ask):
    assert _mutants(ask, 1, 300) > 10


@pytest.mark.long
def test_many_changed_queries_are_held_by_the_fence(ask):
    assert _mutants(ask, 2, 6000) > 200


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60))
def test_any_text_is_refused_or_planned(text):
    for query in (text, f"SELECT {text}", f"SELECT * FROM {text}", f"SELECT '{text}' FROM events"):
        try:
            plan = plan_of(query)
        except Rejected:
            continue
        assert plan.sql.endswith(" SETTINGS readonly = 1")


def test_what_is_written_is_of_known_nodes_only():
    """A node that sqlglot has and PARTS has not is refused wherever it stands."""
    unknown = [kind for kind in exp.ALL_FUNCTIONS if kind not in parsing.PARTS]
    assert len(unknown) > 300
    for kind in unknown[:50]:
        with pytest.raises(Rejected):
            parsing._check(exp.Select(expressions=[kind()]))
