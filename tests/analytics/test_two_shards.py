"""Two shards answer as one table does: ClickHouse's Distributed planner, in the embedded engine.

Both shards are the engine itself, which therefore plans for two without a network between them, and
a filter gives each the rows of half of the distinct ids. So persons with several ids lie on both.
"""

import random
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from domain import funnels as funnel_questions
from domain import paths as path_questions
from domain import retention as retention_questions
from domain import sessions as session_questions
from domain import sql as sql_questions
from domain import trends as trend_questions
from domain.conditions.text import parse
from domain.funnels import Step
from domain.past import Past
from domain.questions import Breakdown
from infrastructure.analytics_engine import AnalyticsEngine
from infrastructure.person_writer import PersonWriter
from projections import (
    criteria,
    event_queries,
    events,
    funnels,
    memberships,
    paths,
    person_map,
    person_traits,
    retention,
    sessions,
    sql,
    trends,
)
from projections.event_queries import EventFilter
from projections.sql.answers import FORMAT, table
from tests.analytics.stores import START, Happened, Merge, fill
from tests.fixtures.engine import EngineProcess

IDS = 60
DAYS = 20
EVENTS = 1500
SHARDS = """
    <tcp_port>9000</tcp_port>
    <remote_servers><two>
        <shard><replica><host>127.0.0.1</host><port>9000</port></replica></shard>
        <shard><replica><host>127.0.0.1</host><port>9000</port></replica></shard>
    </two></remote_servers>
    <user_directories><users_xml><path>engine.xml</path></users_xml></user_directories>
    <profiles><default/></profiles>
    <quotas><default/></quotas>
    <users><default>
        <password></password>
        <networks><ip>::/0</ip></networks>
        <databases><sharded><events_local>
            <filter>cityHash64(pid0) % 2 = shardNum() - 1</filter>
        </events_local></sharded></databases>
    </default></users>
</clickhouse>"""
RUN = f"""
from infrastructure import engine_host
from infrastructure.settings import load
plain = engine_host._CONFIGURATION
engine_host._CONFIGURATION = plain.replace("</clickhouse>", '''{SHARDS}''')
engine_host.run(load())
"""
TRAITS = """
INSERT INTO person_traits SELECT {app}, number, number, if(number % 2 = 0, '{{"plan":"pro"}}', '{{}}')
FROM numbers(1, {ids})"""
SEGMENTS = {UUID(int=2): "two", UUID(int=3): "three"}  # each number that it divides
ENTERED = """
INSERT INTO segment_memberships (app_number, segment_id, person, position, entered, at)
SELECT {app}, '{segment}', number, number * 20, true,
    toDateTime64('2026-03-14', 6, 'UTC') + toIntervalHour(number * 8)
FROM numbers(1, {ids}) WHERE number % {every} = 0"""


class _TwoShards(EngineProcess):
    code = RUN


def _happened():
    dice = random.Random(5)
    return [
        Happened(
            dice.randint(1, IDS),
            dice.randint(0, DAYS * 1440) * 60_000_000,  # minutes, so that some are the same
            dice.choice(["view", "view", "view", "cart", "buy"]),
            {"amount": dice.randint(1, 90), "plan": dice.choice(["free", "pro", None])},
        )
        for _ in range(EVENTS)
    ]


def _merges():
    """A third of the ids belong to another one's person, half of these only late in the log."""
    return [
        Merge(EVENTS // 2 * (1 + number % 2), number, number - 1)
        for number in range(2, IDS + 1)
        if number % 3 == 0
    ]


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """(engine of one table, engine of two shards, app number); the same rows in both."""
    host = _TwoShards(tmp_path_factory.mktemp("shards"))
    try:
        host.start()
        base = AnalyticsEngine(host.url)
        for name in ("single", "sharded"):
            base.command(f"CREATE DATABASE {name}")
        single, sharded = (
            AnalyticsEngine(host.url.removesuffix("default") + name)
            for name in ("single", "sharded")
        )
        app = _fill(single, sharded)
        yield single, sharded, app
        for engine in (base, single, sharded):
            engine.close()
    finally:
        host.close()


def _fill(single, sharded):
    for engine in (single, sharded):
        PersonWriter(engine).recover(UUID(int=1))
        engine.command(person_traits.create_table(person_traits.TABLE, generation="test"))
        engine.command(memberships.create_table(memberships.TABLE, generation="test"))
    single.command(events.create_table(events.TABLE, generation="test"))
    sharded.command(events.create_table("events_local", generation="test"))
    distributed = events.create_distributed(events.TABLE, local="events_local", cluster="two")
    sharded.command(distributed)
    app = fill(single, events.TABLE, _happened(), _merges()).app_number
    single.command(TRAITS.format(app=app, ids=IDS))
    for one in SEGMENTS:
        single.command(ENTERED.format(app=app, segment=one, ids=IDS, every=one.int))
    columns = ", ".join(events.COLUMNS)
    sharded.command(f"INSERT INTO events_local ({columns}) SELECT {columns} FROM single.events")
    for name in (person_map.CHANGES, person_map.NOW, person_traits.TABLE, memberships.TABLE):
        sharded.command(f"INSERT INTO {name} SELECT * FROM single.{name}")
    return app


def test_each_shard_has_a_part_of_the_rows_and_some_persons_are_on_both(stores):
    _, sharded, app = stores
    person = person_map.person(app, None)
    known = person_map.scalars(app, None)
    rows = sharded.query(
        f"WITH {known} SELECT shardNum() AS shard, count(), groupUniqArray({person})"
        " FROM events GROUP BY shard ORDER BY shard"
    ).rows
    (_, first, here), (_, second, there) = rows
    assert first + second == EVENTS
    assert min(first, second) > EVENTS / 4
    assert set(here) & set(there)


# --- the same question to both ---------------------------------------------------------------

NOW = START + timedelta(days=DAYS + 1)
RANGE = {"start": "2026-03-14", "to": "2026-04-02"}
PASTS = [Past(known_at=EVENTS // 2 + 1), Past(as_of=START + timedelta(days=9))]
BY_PLAN = Breakdown("plan")


def asked_trends(engine, app, past, **asked):
    question = trend_questions.Question(**{**RANGE, **asked})
    buckets = trend_questions.check(question)
    made = trends.plan(question, buckets, app_number=app, past=past)
    rows, now = engine.query(*made[:3]).rows, datetime(2026, 5, 1, tzinfo=UTC)
    in_cells = made.most is not None
    return made.source, trends.series(question, buckets, rows, now=now, in_cells=in_cells)


def asked_funnels(engine, app, past, **asked):
    steps = tuple(map(Step, ("view", "cart", "buy")))
    question = funnel_questions.Question(steps=steps, window="2 days", **RANGE, **asked)
    made = funnels.plan(question, funnel_questions.check(question), app_number=app, past=past)
    return funnels.series(question, engine.query(*made).rows)


def asked_retention(engine, app, past, **asked):
    question = retention_questions.Question(**RANGE, **asked)
    checked = retention_questions.check(question)
    made = retention.plan(question, checked, app_number=app, past=past)
    rows = engine.query(*made[:3]).rows
    return made.source, retention.series(question, checked, rows, now=NOW)


def asked_sessions(engine, app, past, **asked):
    question = session_questions.Question(**RANGE, **asked)
    buckets = session_questions.check(question)
    made = sessions.plan(question, buckets, app_number=app, past=past)
    return sessions.series(question, buckets, engine.query(*made).rows, now=NOW)


def asked_paths(engine, app, past, **asked):
    question = path_questions.Question(**RANGE, **asked)
    made = paths.plan(question, path_questions.check(question), app_number=app, past=past)
    return paths.paths(engine.query(*made).rows)


def asked_sql(engine, app, past, query):
    question = sql_questions.Question(query=query)
    made = sql.plan(question, app_number=app, past=past, seconds=20, segments=SEGMENTS)
    answer = engine.raw(made.sql, made.parameters, made.settings, format_name=FORMAT)
    return table(answer)._replace(read=None)  # what it took to answer is not the answer


def asked_criteria(engine, app, past, text, **asked):
    made = criteria.members(parse(text), criteria.Asked(app, IDS, NOW, past, **asked))
    return sorted(row[0] for row in engine.query(*made).rows)


def asked_events(engine, app, past, **asked):
    made = event_queries.newest(
        EventFilter(app_number=app, past=past, **asked), since=None, limit=50
    )
    return [row[9] for row in engine.query(*made).rows]  # positions


SQL = "SELECT event, count() AS n, uniqExact(person_id) AS persons FROM events GROUP BY ALL ORDER BY n"
PEOPLE = (
    "SELECT person_id, events, distinct_ids FROM people ORDER BY events DESC, person_id LIMIT 20"
)
BEHAVED = 'did buy at least 3 times in 30 days and not did cart in 5 days and plan = "pro"'
MEMBERS = """SELECT s.segment, count() AS n, uniqExact(e.person_id) AS persons FROM events AS e
JOIN segments AS s ON e.person_id = s.person_id WHERE e.timestamp >= s.entered_at
GROUP BY s.segment ORDER BY n"""
IN_SEGMENT = """SELECT event, count() AS n FROM events
WHERE person_id IN (SELECT person_id FROM segments WHERE segment = 'two') GROUP BY event ORDER BY n"""
JOINED = """SELECT a.person_id, count() AS n FROM events AS a
JOIN (SELECT person_id FROM events WHERE event = 'buy' GROUP BY person_id HAVING count() > 4) AS b
ON a.person_id = b.person_id GROUP BY a.person_id ORDER BY n DESC, a.person_id"""

AMONG = """SELECT event, count() AS n FROM events
WHERE person_id IN (SELECT person_id FROM events WHERE event = 'buy' GROUP BY ALL HAVING count() > 4)
GROUP BY event ORDER BY event"""

QUESTIONS = {
    "totals from rollups": (asked_trends, {}),
    "totals by event": (asked_trends, {"breakdown": Breakdown("$event", 2)}),
    "uniques from rollups": (asked_trends, {"measure": "unique"}),
    "uniques by event": (asked_trends, {"measure": "unique", "breakdown": Breakdown("$event")}),
    "monthly active": (asked_trends, {"measure": "monthly_active"}),
    "uniques by property": (asked_trends, {"measure": "unique", "breakdown": BY_PLAN}),
    "a percentile": (asked_trends, {"measure": "p90", "property": "amount"}),
    "a funnel": (asked_funnels, {}),
    "a funnel by property": (asked_funnels, {"breakdown": BY_PLAN}),
    "a funnel with times": (asked_funnels, {"times": True}),
    "a funnel without a step between": (asked_funnels, {"exclusions": (Step("view"),)}),
    "a strict funnel": (asked_funnels, {"order": "strict"}),
    "a funnel in any order": (asked_funnels, {"order": "any"}),
    "retention": (asked_retention, {}),
    "retention by activity": (asked_retention, {"kind": "recurring", "period_zero": "cohort"}),
    "retention by property": (asked_retention, {"start_event": "view", "breakdown": BY_PLAN}),
    "unbounded retention": (asked_retention, {"interval": "day", "unbounded": True}),
    "sessions": (asked_sessions, {"gap_minutes": 240}),
    "sessions by property": (asked_sessions, {"gap_minutes": 240, "breakdown": BY_PLAN}),
    "paths": (asked_paths, {"gap_minutes": 240}),
    "SQL": (asked_sql, {"query": SQL}),
    "SQL over people": (asked_sql, {"query": PEOPLE}),
    "SQL that joins": (asked_sql, {"query": JOINED}),
    "SQL over segments": (asked_sql, {"query": MEMBERS}),
    "SQL with the members of a segment": (asked_sql, {"query": IN_SEGMENT}),
    "SQL with a set": (asked_sql, {"query": AMONG}),
    "criteria": (asked_criteria, {"text": BEHAVED}),
    "criteria of some persons": (asked_criteria, {"text": "did view", "among": (1, 2, 5, 20)}),
    "criteria in sequence": (asked_criteria, {"text": "did cart then buy within 3 days in 20 days"}),
    "events of a person": (asked_events, {"numbers": (2, 3)}),
    "newest events": (asked_events, {}),
}  # fmt: skip


# One of each kind is asked about the past too.
OF_THE_PAST = ("uniques by event", "a funnel", "retention", "SQL", "SQL over segments", "criteria")
CASES = [(name, Past()) for name in QUESTIONS] + [
    (name, past) for name in OF_THE_PAST for past in PASTS
]


@pytest.mark.parametrize(("name", "past"), CASES)
def test_two_shards_answer_as_one_table_does(stores, name, past):
    single, sharded, app = stores
    ask, asked = QUESTIONS[name]
    expected = ask(single, app, past, **asked)
    assert expected
    assert ask(sharded, app, past, **asked) == expected
