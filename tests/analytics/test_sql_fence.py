"""The fence around callers' SQL, against the real engine: what is asked is answered, what would
come through does not, and nothing of another app is ever in an answer or a refusal.
"""

import random
import re
import time
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlglot import exp

from domain.errors import AppizerError, Rejected
from domain.past import NOW, Past
from domain.sql import EXAMPLE, Question, check
from infrastructure.analytics_engine import AnalyticsEngine, EngineFailed
from infrastructure.person_writer import PersonWriter
from projections import sql
from projections.events import COLUMNS, create_table
from projections.person_map import CHANGES, NOW as PERSON_NOW
from projections.sql import functions, parsing, views
from projections.sql.answers import FORMAT, complaint, table
from tests.fixtures.sql import ACCEPTED, ATTEMPTS, MARKER

FIRST = datetime(2026, 1, 1, tzinfo=UTC)
MINE, THEIRS = 1, 2


@pytest.fixture(scope="module")
def engine(engine_url, tracked, block):
    """A database where app 1 has 60 events of 5 persons, all of whose values are numbers as text or
    `commit` and `merge`, and app 2 as many, with the marker in every string of theirs.
    """
    admin = AnalyticsEngine(engine_url)
    admin.command("CREATE DATABASE sql_fence")
    engine = AnalyticsEngine(engine_url.removesuffix("default") + "sql_fence")
    PersonWriter(engine).recover(UUID(int=1))
    engine.command(create_table("events", generation="test"))
    page = [
        tracked(
            position,
            FIRST + timedelta(hours=position),
            event="commit" if position % 3 else "merge",
            user=f"u{position % 5 + 1}",
            size=position,
        )
        for position in range(1, 61)
    ]
    engine.insert_rows("events", COLUMNS, block(page).data)
    texts = {"event", "kind", "source", "message_id", "distinct_id", "user_id", "anonymous_id"}
    texts |= {"properties", "context", "country", "browser", "os", "device"}
    copied = [f"'{MARKER}'" if name in texts else name for name in COLUMNS[1:]]
    engine.command(
        f"INSERT INTO events ({', '.join(COLUMNS)})"
        f" SELECT {THEIRS}, {', '.join(copied)} FROM events WHERE app_number = {MINE}"
    )
    engine.command("OPTIMIZE TABLE events FINAL")  # rows of both in one part
    for name, columns in ((CHANGES, "app_number, number, position, person"),):
        engine.command(f"INSERT INTO {name} ({columns}) VALUES (1, 2, 30, 1), (2, 3, 10, 1)")
    engine.command(f"INSERT INTO {PERSON_NOW} VALUES (1, 2, 1), (2, 3, 1)")
    yield engine
    engine.close()
    admin.command("DROP DATABASE sql_fence SYNC")
    admin.close()


@pytest.fixture(scope="module")
def ask(engine):
    """The answer as a table; Rejected, TooHeavy or Overloaded. Nothing else may be raised."""

    def _ask(query, *, past=NOW, seconds=5.0, app_number=MINE, **parameters):
        question = Question(query=query, parameters=parameters)
        check(question)
        plan = sql.plan(question, app_number=app_number, past=past, seconds=seconds)
        try:
            answer = engine.raw(plan.sql, plan.parameters, plan.settings, format_name=FORMAT)
        except EngineFailed as error:
            refusal = complaint(error.code, str(error))
            assert refusal is not None, (query, error)
            raise refusal from None
        assert MARKER.encode() not in answer, query
        return table(answer)

    return _ask


def rows(found):
    return [tuple(row.values()) for row in plain(found)]


def plain(found):
    import msgspec

    return [{n: msgspec.json.decode(v) for n, v in row.items()} for row in found.objects()]


@pytest.mark.parametrize("query", ACCEPTED)
def test_what_is_allowed_is_answered(ask, query):
    found = ask(query)
    assert found.columns
    for name in [column.name for column in found.columns]:
        assert "cte_" not in name
        assert "p0" not in name


INNER = re.compile(
    r"app_number|pid0|person_now|person_changes|joinGet|bitmap|__table|cte_|version 2|Stack"
    r"|DB::Exception|In scope|PREWHERE|\{p\d"
)


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


def plan_of(query, **parameters):
    question = Question(query=query, parameters=parameters)
    check(question)
    return sql.plan(question, app_number=MINE, past=NOW, seconds=1)


def test_there_are_enough_attempts():
    assert len(set(ATTEMPTS)) >= 250


# In one granule with rows on which these fail, or find something.
ORACLES = [
    "toUInt8(substring({c}, 1, 0) || '1') = 1 AND toUInt32({c}) >= 0",
    "toUInt32(replaceOne({c}, 'u', '')) > 0",
    "toDecimal32(length({c}) * 100000000, 1) >= 0",
    "intDiv(1, length({c}) - 10) != 7",
    "length(repeat_({c})) > 0",
    "has([1], toUInt8(replaceOne({c}, 'u', '')))",
    "toUInt8(replaceOne({c}, 'u', '')) IN (1, 2)",
    "parseDateTimeBestEffort(concat(replaceOne({c}, 'u', '197'), '0-01-01')) > toDateTime(0)",
    "range(toUInt64(length({c}) > 9) * 100000000) = []",
    "arrayExists(x -> toUInt8(replaceOne(x, 'u', '')) = 1, [{c}])",
    "{c} = '" + MARKER + "'",
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
    "SELECT max({o}) OVER (ORDER BY position) FROM events WHERE {o}",
]
NUMERIC = {"distinct_id": 60, "user_id": 60}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("oracle", [one for one in ORACLES if "repeat_" not in one])
def test_functions_that_fail_never_see_anothers_rows(ask, shape, oracle):
    """Of app 1 all ids are `u` and a digit, so nothing fails on its own rows; on the other's these
    would, and the engine's complaint would hold the value.
    """
    for column in ("distinct_id", "user_id"):
        if "toUInt32({c})" in oracle:
            continue  # fails on one's own
        assert rows(ask(shape.format(o=oracle.format(c=column))))


def test_dictionaries_are_not_shared_with_others(ask):
    """`event` is one of `commit` and `merge` here; toFixedString is not available, so a function
    that runs over a whole dictionary is looked for among those that are.
    """
    for expression in (
        "toUInt8(length(event) - 5) = 0",
        "intDiv(6, length(event) - 10)",
        "toUInt8(replaceRegexpAll(event, 'commit|merge', '1'))",
        "toDate(replaceRegexpAll(event, 'commit|merge', '2026-01-01'))",
        "arrayElement([1, 2, 3, 4, 5, 6], length(event))",
        "toDecimal32(if(length(event) > 9, '1e30', '1'), 2)",
        "JSONExtractRaw(replaceRegexpAll(event, 'commit|merge', '{}'))",
    ):
        for column in ("event", "country", "browser", "kind"):
            assert (
                rows(
                    ask(
                        f"SELECT {expression.replace('event', column)}, count() FROM events"
                        " GROUP BY 1"
                    )
                )
                if column == "event"
                else True
            )


def test_the_engine_itself_filters_by_app(engine):
    """Behind the fence: were a table left as the caller wrote it, this is what would be read."""
    plan = plan_of("SELECT 1")
    for name in ("events", "sql_fence.events", PERSON_NOW, CHANGES):
        asked = f"SELECT groupUniqArray(app_number) FROM {name} SETTINGS readonly = 1"
        (row,) = engine.query(asked, {}, plan.settings).rows
        assert row[0] == [MINE]
    for name in ("file('x', 'LineAsString')", "url('http://127.0.0.1:1', 'LineAsString')"):
        with pytest.raises(EngineFailed) as refused:
            engine.query(f"SELECT * FROM {name} SETTINGS readonly = 1", {}, plan.settings)
        assert refused.value.code == 164


def test_every_table_of_the_views_is_fenced_and_reserved():
    for past in (NOW, Past(known_at=7, as_of=FIRST)):
        fence = views.Fence(MINE, past)
        for view in views.NAMES:
            read = set(re.findall(r"(?:FROM|joinGet\(')\s*(\w+)", fence.view(view)))
            assert read <= {"events", CHANGES, PERSON_NOW}
            assert read <= set(fence.filters())
            assert read - {"events"} <= views.INNER
            assert fence.view(view).count(f"app_number = {MINE}") + fence.view(view).count(
                f"toUInt32({MINE})"
            ) >= len(read)


def test_columns_are_those_of_the_page(ask):
    found = ask("SELECT * FROM events LIMIT 1")
    assert [column.name for column in found.columns] == list(views.EVENTS)
    assert "LowCardinality" not in str([column.type for column in found.columns])
    found = ask("SELECT * FROM people LIMIT 1")
    assert [column.name for column in found.columns] == list(views.PEOPLE)


def test_figures_are_those_of_the_events(ask):
    assert rows(ask("SELECT event, count() FROM events GROUP BY event ORDER BY event")) == [
        ("commit", 40),
        ("merge", 20),
    ]
    # u1 and u2 are one person.
    assert rows(ask("SELECT uniqExact(person_id), uniqExact(distinct_id) FROM events")) == [(4, 5)]
    assert rows(ask("SELECT person_id, events, distinct_ids FROM people ORDER BY 1 LIMIT 2")) == [
        (1, 24, ["u1", "u2"]),
        (3, 12, ["u3"]),
    ]
    assert rows(ask("SELECT max(position) FROM events", app_number=3)) == [(0,)]


def test_a_past_is_that_of_the_log_and_of_who_was_whom(ask):
    people = "SELECT count(), sum(events) FROM people"
    assert rows(ask(people)) == [(4, 60)]
    assert rows(ask(people, past=Past(known_at=60))) == [(4, 60)]
    assert rows(ask(people, past=Past(known_at=29))) == [(5, 29)]
    assert rows(ask(people, past=Past(known_at=30))) == [(4, 30)]
    assert rows(ask(people, past=Past(as_of=FIRST + timedelta(hours=10)))) == [(4, 10)]
    late = Past(known_at=29, as_of=FIRST + timedelta(hours=10))
    assert rows(ask(people, past=late)) == [(5, 10)]
    assert rows(ask("SELECT max(position) FROM events", past=Past(known_at=0))) == [(0,)]


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("String", "it's \\ 'ü' {p0:String} `x`\t\n"),
        ("Int64", -5),
        ("UInt64", 2**53),
        ("Float64", 0.1),
        ("Bool", True),
        ("Nullable(String)", None),
        ("Array(String)", ["a'b", "\\", ""]),
        ("Array(Int64)", [1, -2]),
        ("Date", "2026-01-31"),
        ("DateTime64(3, 'UTC')", "2026-01-31 12:00:00.5"),
    ],
)
def test_parameters_come_as_they_were_given(ask, kind, value):
    (row,) = rows(ask(f"SELECT {{x:{kind}}} AS x", x=value))
    expected = {"Date": value, "DateTime64(3, 'UTC')": "2026-01-31T12:00:00.500Z"}
    assert row == (expected.get(kind, value),)


def test_parameters_are_values_and_nothing_else(ask):
    found = ask("SELECT count() FROM events WHERE event IN {e:Array(String)}", e=["merge", "x"])
    assert rows(found) == [(20,)]
    assert rows(ask("SELECT event FROM events LIMIT {n:UInt8}", n=1)) == [("commit",)]
    injected = "x') OR 1 = 1 -- "
    assert rows(ask("SELECT count() FROM events WHERE event = {e:String}", e=injected)) == [(0,)]
    with pytest.raises(Rejected, match="parameters.y: stands nowhere"):
        ask("SELECT 1", y=1)
    with pytest.raises(Rejected, match="parameters.z: stands in the query and is not given"):
        ask("SELECT {z:String}")
    with pytest.raises(Rejected):
        ask("SELECT {x:UInt8}", x="no number")


STRINGS = ["'", "\\", "\\'", "''", "`", '"', "{p0:String}", "{x:String}", "%s", "%(a)s", "--", "/*"]


@pytest.mark.parametrize(
    "text", [*STRINGS, "\t\n\r\b", "ü€😀", ";", "$$", "$x$", "?", "' OR 1=1 --"]
)
def test_strings_arrive_as_they_were_written(ask, text):
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    assert rows(ask(f"SELECT '{escaped}' AS x, length('{escaped}')")) == [
        (text, len(text.encode()))
    ]


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("SELECT nothing FROM events", "Unknown expression identifier `nothing`"),
        ("SELECT e.nothing FROM events e", "nothing"),
        ("SELECT event + 1 FROM events", "plus"),
        ("SELECT sum(event) FROM events", "sum"),
        ("SELECT toUInt8(event) FROM events", "Cannot parse string"),
        ("SELECT event FROM events GROUP BY day", "event"),
        ("SELECT upper(1, 2, 3)", "upper"),
        ("SELECT match(event, '(') FROM events", "regular"),
        ("WITH a AS (SELECT 1 AS x) SELECT y FROM a", "Unknown expression identifier `y`"),
        ("SELECT count() FROM events WHERE count() > 1", "Aggregate function"),
        ("SELECT 1 / 0 FROM events e JOIN people p ON e.x = p.y", "e.x"),
    ],
)
def test_the_engines_complaints_are_told_without_our_names(ask, query, says):
    with pytest.raises(Rejected) as refused:
        ask(query)
    assert says.lower() in refused.value.issue.lower()
    assert not INNER.search(refused.value.issue), refused.value.issue


def test_two_columns_of_one_name_must_be_told_apart(ask):
    found = ask("SELECT a.event, b.event FROM events a JOIN events b ON a.position = b.position")
    with pytest.raises(Rejected, match="two columns are called event"):
        found.objects()


@pytest.mark.parametrize(
    "query",
    [
        "SELECT count() FROM events a, events b, events c, events d, events e, events f",
        "SELECT arrayJoin(range(1000000000))",
        "SELECT sum(arrayJoin(range(1000000)) + arrayJoin(range(1000001)))",
        "SELECT arraySum(arrayMap(x -> arraySum(range(x)), range(100000)))",
        "SELECT groupArray(a.context) FROM events a, events b, events c, events d, events e",
        "SELECT leftPad('x', 1000000000)",
        "SELECT length(arrayStringConcat(arrayMap(x -> leftPad('x', 100000), range(100000))))",
        "WITH 1 AS a0, "
        + ", ".join(f"a{n} + a{n} + position AS a{n + 1}" for n in range(40))
        + " SELECT a40 FROM events",
        "SELECT uniqExact(a.position, b.position, c.position, arrayJoin(range(1000)))"
        " FROM events a, events b, events c",
    ],
)
def test_bombs_end_in_time(ask, query):
    started = time.perf_counter()
    with pytest.raises(AppizerError) as refused:
        ask(query, seconds=1.0)
    assert refused.value.code in ("INVALID_REQUEST", "QUERY_TOO_HEAVY")
    assert not INNER.search(refused.value.message)
    assert time.perf_counter() - started < 15


def test_answers_end_at_the_limit_and_say_so(ask):
    found = ask("SELECT arrayJoin(range(20000)) AS n ORDER BY n DESC")
    assert (len(found.rows), found.truncated) == (10_000, True)
    assert rows(found)[0] == (19_999,)
    found = ask("SELECT arrayJoin(range(10000)) AS n")
    assert (len(found.rows), found.truncated) == (10_000, False)
    found = ask("SELECT arrayJoin(range(9000)) AS n UNION ALL SELECT arrayJoin(range(9000))")
    assert (len(found.rows), found.truncated) == (10_000, True)
    assert ask("SELECT event FROM events LIMIT 3").truncated is False


def test_names_in_csv_and_values_that_need_quotation(ask):
    found = ask("SELECT 'a,\"b\"\\n' AS `x y`, NULL AS n, [1, 2] AS l, 1.5 AS f, true AS t")
    assert found.csv() == 'x y,n,l,f,t\r\n"a,""b""\n",,"[1,2]",1.5,true\r\n'


@pytest.mark.parametrize(
    "text",
    [
        "how many users bought something last week?",
        "Show me the top events",
        "what is our retention",
        "¿cuántos usuarios?",
        "?",
    ],
)
def test_natural_language_is_refused_and_pointed_to_sql(text):
    with pytest.raises(Rejected) as refused:
        plan_of(text)
    assert EXAMPLE in refused.value.issue
    assert "not available" in refused.value.issue


def test_the_example_of_the_refusals_is_answered(ask):
    assert len(ask(EXAMPLE).rows) == 2


def test_every_function_on_the_list_exists(engine):
    """In the engine, under that name, whatever its case."""
    found = engine.query("SELECT name FROM system.functions").rows
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
    try:
        ask(query, seconds=2.0)
    except AppizerError as refused:
        assert (
            not INNER.search(refused.message.replace(query, "")) or "there is no" in refused.message
        )
        assert MARKER not in refused.message
        return False
    return True


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
