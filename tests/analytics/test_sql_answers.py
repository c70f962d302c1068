"""What callers' SQL is answered, with the real engine: figures, pasts, values, limits."""

import time
from datetime import timedelta
from pathlib import Path

import pytest

from domain.errors import AppizerError, Rejected
from domain.limits import MAX_SQL_CHARS, MAX_SQL_ROWS, MAX_SQL_STRINGS
from domain.past import Past
from domain.sql import EXAMPLE
from projections.sql import views
from projections.sql.functions import AGGREGATE, PLAIN, WINDOW
from tests.fixtures.sql_store import FIRST, INNER, OURS, plan_of, rows


def test_columns_are_those_of_the_page(ask):
    found = ask("SELECT * FROM events LIMIT 1")
    assert [column.name for column in found.columns] == list(views.EVENTS)
    assert "LowCardinality" not in str([column.type for column in found.columns])
    found = ask("SELECT * FROM people LIMIT 1")
    assert [column.name for column in found.columns] == [*views.PEOPLE, "traits"]


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
        ("Date32", "1900-01-01"),
        ("UInt8", 255),
        ("Int8", -128),
        ("UUID", "0198a3f0-0000-7000-8000-00000000000a"),
    ],
)
def test_parameters_come_as_they_were_given(ask, kind, value):
    (row,) = rows(ask(f"SELECT {{x:{kind}}} AS x", x=value))
    assert row == (value,)


@pytest.mark.parametrize(
    ("kind", "value", "shown"),
    [
        ("DateTime64(3, 'UTC')", "2026-01-31 12:00:00.5", "2026-01-31T12:00:00.500Z"),
        ("DateTime64(6, 'UTC')", "2026-01-31T12:00:00.123456Z", "2026-01-31T12:00:00.123456Z"),
        ("DateTime('UTC')", "2026-01-31T12:00:00+01:00", "2026-01-31T11:00:00Z"),
        ("DateTime('Europe/Berlin')", "2026-01-31T12:00:00Z", "2026-01-31T12:00:00Z"),
        ("DateTime('Europe/Berlin')", "2026-01-31 12:00:00", "2026-01-31T11:00:00Z"),
        ("DateTime('UTC')", 1790000000, "2026-09-21T14:13:20Z"),
        ("Int64", "-9223372036854775808", -(2**63)),
        ("Decimal(10, 2)", 1.25, 1.25),
    ],
)
def test_times_and_large_numbers_have_several_forms(ask, kind, value, shown):
    (row,) = rows(ask(f"SELECT {{x:{kind}}} AS x", x=value))
    assert row == (shown,)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("Date", "2026-02-30"),
        ("Date", "2026-13-45"),
        ("Date", "2150-01-01"),
        ("Date", 5),
        ("Int8", 300),
        ("UInt8", 256),
        ("UInt8", -1),
        ("UInt64", "18446744073709551616"),
        ("Int64", "9223372036854775808"),
        ("Int64", 1.5),
        ("Int64", True),
        ("String", None),
        ("String", True),
        ("String", 5),
        ("String", ["x"]),
        ("Bool", 1),
        ("Float64", "0.1"),
        ("Decimal(10, 2)", 1.255),
        ("Decimal(3, 2)", 10),
        ("Decimal(3)", 1.5),
        ("UUID", "x"),
        ("DateTime", "2026-01-31 12:00:00.5"),
        ("DateTime", "1969-12-31 23:59:59"),
        ("DateTime64(3)", "soon"),
        ("Array(String)", "x"),
        ("Array(String)", ["x", None]),
        ("Array(Nullable(UInt8))", [None, 256]),
        ("Array(Array(UInt8))", "[[1]]"),
        ("Map(String, UInt8)", "{'x':1}"),
        ("Tuple(UInt8, String)", "(1,'x')"),
    ],
)
def test_a_value_that_its_type_can_not_hold_is_refused(ask, kind, value):
    with pytest.raises(Rejected) as refused:
        ask(f"SELECT {{x:{kind}}} AS x", x=value)
    assert refused.value.field.startswith("parameters.x")


def test_parameters_are_values_and_nothing_else(ask):
    found = ask("SELECT count() FROM events WHERE event IN {e:Array(String)}", e=["merge", "x"])
    assert rows(found) == [(20,)]
    assert rows(ask("SELECT event FROM events LIMIT {n:UInt8}", n=1)) == [("commit",)]
    injected = "x') OR 1 = 1 -- "
    assert rows(ask("SELECT count() FROM events WHERE event = {e:String}", e=injected)) == [(0,)]
    with pytest.raises(Rejected, match=r"parameters\.y: stands nowhere"):
        ask("SELECT 1", y=1)
    with pytest.raises(Rejected, match=r"parameters\.z: stands in the query and is not given"):
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
    with pytest.raises(Rejected, match="two columns are called x"):
        ask("SELECT 1 AS x, 1 AS x").objects()


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
        (
            "SELECT uniqExact(a.position, b.position, c.position, arrayJoin(range(1000)))"
            " FROM events a, events b, events c"
        ),
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


def test_the_page_names_every_column_and_every_function():
    page = (Path(__file__).parents[2] / "docs/analytics.md").read_text()
    named = {
        *views.EVENTS,
        *views.PEOPLE,
        *views.SEGMENTS,
        *WINDOW.split(),
        *AGGREGATE.split(),
        *PLAIN.split(),
    }
    assert {name for name in named if f"`{name}`" not in page} == set()
    for limit in (MAX_SQL_CHARS, MAX_SQL_STRINGS, MAX_SQL_ROWS):
        assert f"{limit:,}" in page


def test_segments_have_their_members_then(ask):
    asked = "SELECT segment, segment_id, person_id FROM segments ORDER BY 1, 3"
    one, two = map(str, OURS)
    assert rows(ask(asked)) == [("segment 1", one, 1), ("segment 2", two, 5)]
    # Numbers 1 and 2 were two persons, and 4 had not left.
    assert rows(ask(asked, past=Past(known_at=26))) == [("segment 1", one, n) for n in (1, 2, 4)]
    assert rows(ask(asked, past=Past(as_of=FIRST + timedelta(hours=24)))) == []
    joined = "SELECT count() FROM events JOIN segments USING person_id WHERE segment = 'segment 2'"
    assert rows(ask(joined)) == [(12,)]
    entered = "SELECT toString(entered_at) FROM segments WHERE person_id = 5"
    assert rows(ask(entered)) == [("2026-01-03 02:00:00.000000",)]
