"""Events at random, in the engine, that trends are asked about."""

import random
from datetime import UTC, datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
import pytest

from domain.trends import check
from infrastructure.analytics_engine import AnalyticsEngine
from infrastructure.person_writer import PersonWriter
from projections.events import COLUMNS, create_table
from projections.trends import CELLS, plan, series
from tests.analytics.stores import reads_rollup

# Both ends of summer time in all zones below lie in these months.
FIRST, LAST = datetime(2026, 2, 20, tzinfo=UTC), datetime(2026, 11, 20, tzinfo=UTC)
ZONES = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Asia/Kolkata",
    "Australia/Lord_Howe",
    "America/Santiago",  # summer time begins at midnight: that day has none
]
NOW = datetime(2026, 10, 25, 1, 30, tzinfo=UTC)
FACTS = {"$country": "", "$browser": "Firefox", "$os": ""}


@pytest.fixture(scope="session")
def happened(tracked):
    """Events at random, and many around the changes of the clocks."""
    dice = random.Random(2)
    seconds = int((LAST - FIRST).total_seconds())
    times = [FIRST + timedelta(seconds=dice.random() * seconds) for _ in range(4000)]
    changes = ["2026-03-08 07", "2026-03-29 01", "2026-04-04 15", "2026-04-05 03"]
    changes += ["2026-09-06 04", "2026-10-03 15", "2026-10-25 01", "2026-11-01 06"]
    for change in changes:
        at = datetime.fromisoformat(f"{change}:00").replace(tzinfo=UTC)
        times += [at + timedelta(minutes=dice.randint(-180, 180)) for _ in range(150)]
    return [
        tracked(
            position,
            at,
            event=dice.choice(["commit", "commit", "merge", "tag ö'\\"]),
            user=f"u{dice.randint(1, 60)}",
            **_properties(dice),
        )
        for position, at in enumerate(times, 1)
    ]


def _properties(dice):
    found = {"size": dice.choice([1, 5, 5.0, 2.5, "5", -0.0, 0, True, "true", "[]", []])}
    if dice.random() < 0.8:
        found["ext"] = dice.choice(["py", "rs", "ts", "c", "$none", "$other", "go", None])
    if dice.random() < 0.5:
        found["file"] = {"depth": dice.randint(0, 9)}
    return found


@pytest.fixture(scope="session")
def filled(engine_url, happened, block):
    """The table has the events in several parts, and another app's beside them."""
    engine = AnalyticsEngine(engine_url)
    PersonWriter(engine).recover(UUID(int=1))
    engine.command(create_table("trend_events", generation="test"))
    for at in range(0, len(happened), 1500):
        engine.insert_rows("trend_events", COLUMNS, block(happened[at : at + 1500]).data)
    columns = ", ".join(COLUMNS[1:])
    engine.command(
        f"INSERT INTO trend_events (app_number, {columns})"
        f" SELECT 2, {columns} FROM trend_events WHERE app_number = 1 AND position < 500"
    )
    yield engine
    engine.command("DROP TABLE trend_events SYNC")
    engine.close()


@pytest.fixture(scope="session")
def ask_trends(filled):
    """`ask_trends(question)`: the series, and the source that was used. Where there are two ways to
    the answer it is the same by both.
    """

    def _by(question, cells):
        buckets = check(question)
        made = plan(question, buckets, app_number=1, table="trend_events", cells=cells)
        assert made.source == "rows" or reads_rollup(filled, made, "trend_events")
        rows = filled.query(made.sql, made.parameters, made.settings).rows
        assert made.answers(rows)
        told = series(question, buckets, rows, now=NOW, in_cells=made.most is not None)
        return told, made.source, made.most

    def _ask(question):
        found, source, most = _by(question, CELLS)
        if most is not None:
            assert found == _by(question, 0)[0]
        return found, source

    return _ask


def bucket_key(at, zone, interval):
    """What a clock and a calendar in the zone show: equal within a bucket."""
    local = at.astimezone(ZoneInfo(zone))
    match interval:
        case "hour":
            return (local.date(), local.hour, local.utcoffset())
        case "day":
            return local.date()
        case "week":
            return local.isocalendar()[:2]
        case _:
            return (local.year, local.month)


def told(value):
    """What differs where values do: by their type too, while 5 and 5.0 are one."""
    if value is None or isinstance(value, str):
        return value and f'"{value}'
    whole = isinstance(value, float) and value.is_integer()
    return msgspec.json.encode(int(value) if whole else value).decode()
