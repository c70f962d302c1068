"""One question of every kind, beside its target: median of warm runs in units of S.

    python -m benchmarks.analytics [--events 10000000] [--persons 200000] [--runs 7] [--data DIR]
        [--only WORD]

`10 %` is an estimate from these persons.

On the events of benchmarks/generated.py, through the engine host over HTTP, as the API asks; what
is timed is the plan, the query and the answer's series. S, the engine's scan of eight bytes of each
event, is taken anew before every question, because the machine changes its speed meanwhile.
"""

import functools
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

import click

from benchmarks.generated import median_ms, prepare, running_engine, scan_ms
from benchmarks.machine import loop_seconds
from domain import funnels as funnel_questions
from domain import paths as path_questions
from domain import retention as retention_questions
from domain import sessions as session_questions
from domain import sql as sql_questions
from domain import trends as trend_questions
from domain.conditions.text import parse
from domain.errors import TooHeavy
from domain.funnels import Step
from domain.past import Past
from domain.questions import Breakdown
from infrastructure.analytics_engine import AnalyticsEngine
from projections import criteria, event_queries, funnels, paths, retention, sessions, sql, trends
from projections.event_queries import EventFilter
from projections.people_asked import Among
from projections.sql.answers import FORMAT, table

NOW = datetime(2026, 1, 31, tzinfo=UTC)
MONTH = {"start": "2026-01-01", "to": "2026-01-30"}
WEEK = {"start": "2026-01-23", "to": "2026-01-30"}
STEPS = tuple(Step(f"event {n}") for n in (1, 2, 3))
SEGMENT = (
    'did `event 3` at least 3 times in 14 days and not did `event 10` in 14 days and plan = "pro"'
)
TOP_EVENTS = """
SELECT event, count() AS events, uniq(person_id) AS persons FROM events
WHERE timestamp >= '2026-01-01' GROUP BY event ORDER BY events DESC LIMIT 10"""

Ask = Callable[[], object]


class Timed(NamedTuple):
    """`target`: in units of S, or in milliseconds where `in_ms`."""

    ask: Ask
    target: float | None = None
    in_ms: bool = False


def looked_at(estimate: float | None) -> Among | None:
    return None if estimate is None else Among(None, {}, estimate)


def trend(engine: AnalyticsEngine, **asked: Any) -> object:
    question = trend_questions.Question(**{**MONTH, **asked})
    buckets = trend_questions.check(question)
    made = trends.plan(question, buckets, app_number=1)
    rows, in_cells = engine.query(*made[:3]).rows, made.most is not None
    assert made.answers(rows)
    return trends.series(question, buckets, rows, now=NOW, in_cells=in_cells)


def funnel(engine: AnalyticsEngine, **asked: Any) -> object:
    question = funnel_questions.Question(steps=STEPS, window="7 days", **asked)
    checked, some = funnel_questions.check(question), looked_at(question.estimate)
    made = funnels.plan(question, checked, app_number=1, chosen=some)
    return funnels.series(question, engine.query(*made).rows)


def retained(engine: AnalyticsEngine, **asked: Any) -> object:
    question = retention_questions.Question(**{**MONTH, **asked})
    checked = retention_questions.check(question)
    some = looked_at(question.estimate)
    made = retention.plan(question, checked, app_number=1, chosen=some)
    return retention.series(question, checked, engine.query(*made[:3]).rows, now=NOW)


def session(engine: AnalyticsEngine, **asked: Any) -> object:
    question = session_questions.Question(**asked)
    buckets = session_questions.check(question)
    some = looked_at(question.estimate)
    made = sessions.plan(question, buckets, app_number=1, chosen=some)
    return sessions.series(question, buckets, engine.query(*made).rows, now=NOW)


def walked(engine: AnalyticsEngine, **asked: Any) -> object:
    question = path_questions.Question(**asked)
    checked, some = path_questions.check(question), looked_at(question.estimate)
    made = paths.plan(question, checked, app_number=1, chosen=some)
    return paths.paths(engine.query(*made).rows)


def written(engine: AnalyticsEngine, query: str) -> object:
    question = sql_questions.Question(query=query)
    made = sql.plan(question, app_number=1, past=Past(), seconds=60)
    return table(engine.raw(made.sql, made.parameters, made.settings, format_name=FORMAT))


def segment(engine: AnalyticsEngine, persons: int) -> object:
    made = criteria.members(parse(SEGMENT), criteria.Asked(1, persons, NOW))
    return engine.query(f"SELECT count() FROM ({made.sql})", made.parameters).rows


def timeline(engine: AnalyticsEngine, numbers: tuple[int, ...]) -> object:
    made = event_queries.newest(EventFilter(app_number=1, numbers=numbers), since=None, limit=50)
    return engine.query(*made).rows


def questions(engine: AnalyticsEngine, persons: int, events: int) -> Mapping[str, Timed]:
    def of(ask: Callable[..., object], *given: Any, **asked: Any) -> Ask:
        return functools.partial(ask, engine, *given, **asked)

    large = events >= 50_000_000
    by_country, by_plan = Breakdown("$country"), Breakdown("plan")
    unique: dict[str, Any] = {"measure": "unique"}
    weekly: dict[str, Any] = {"kind": "recurring", "period_zero": "cohort"}
    resolved = 0.3 if large else 1.2
    return {
        "trend, daily": Timed(of(trend), 0.2),
        "trend, one event": Timed(of(trend, event="event 3"), 0.2),
        "uniques, daily": Timed(of(trend, **unique), resolved),
        "uniques, one event": Timed(of(trend, **unique, event="event 3"), resolved),
        "breakdown by event": Timed(of(trend, breakdown=Breakdown("$event")), 0.2),
        "breakdown by country": Timed(of(trend, breakdown=by_country), 0.2),
        "breakdown by country, uniques": Timed(of(trend, **unique, breakdown=by_country)),
        "breakdown by property": Timed(of(trend, event="event 3", breakdown=by_plan)),
        "retention, weekly": Timed(of(retained, **weekly), resolved),
        "retention, first time": Timed(of(retained)),
        "retention, first, 10 %": Timed(of(retained, estimate=10)),
        "retention, one event": Timed(of(retained, start_event="event 3")),
        "funnel, 30 days": Timed(of(funnel, **MONTH), 4),
        "funnel, 30 days by country": Timed(of(funnel, **MONTH, breakdown=by_country), 4),
        "funnel, 30 days by property": Timed(of(funnel, **MONTH, breakdown=by_plan)),
        "funnel, 30 days, 10 %": Timed(of(funnel, **MONTH, estimate=10)),
        "funnel, 7 days": Timed(of(funnel, **WEEK), 1.2),
        "funnel, 7 days by country": Timed(of(funnel, **WEEK, breakdown=by_country)),
        "funnel, 7 days with times": Timed(of(funnel, **WEEK, times=True)),
        "sessions, 30 days": Timed(of(session, **MONTH)),
        "sessions, 30 days, 10 %": Timed(of(session, **MONTH, estimate=10)),
        "sessions, 7 days": Timed(of(session, **WEEK)),
        "sessions, 7 days by country": Timed(of(session, **WEEK, breakdown=by_country)),
        "paths, 7 days": Timed(of(walked, **WEEK)),
        "paths, 7 days, 10 %": Timed(of(walked, **WEEK, estimate=10)),
        "SQL, ten events with persons": Timed(of(written, TOP_EVENTS)),
        "segment, behaviour and trait": Timed(of(segment, persons), 0.8),
        "timeline, a busy person": Timed(of(timeline, (1, 2)), 30, in_ms=True),
        "timeline, a usual person": Timed(of(timeline, (persons // 4,)), 30, in_ms=True),
    }


@click.command(help=__doc__)
@click.option("--events", default=10_000_000, show_default=True)
@click.option("--persons", default=200_000, show_default=True)
@click.option("--runs", default=7, show_default=True)
@click.option("--data", help="Where the events stay for the next run.")
@click.option("--only", default="", help="Questions whose name has this in it.")
def main(events: int, persons: int, runs: int, data: str | None, only: str) -> None:
    click.echo(f"an empty loop of Python: {loop_seconds()} s")
    with running_engine(data) as engine:
        prepare(engine, events, persons)
        click.echo(f"{events:,} events\n")
        click.echo(f"{'question':32}{'median ms':>10}{'worst':>8}{'S':>8}{'/ S':>8}{'target':>8}")
        for name, timed in questions(engine, persons, events).items():
            if only in name:
                show(name, timed, scan=scan_ms(engine), runs=runs)


def show(name: str, timed: Timed, *, scan: float, runs: int) -> None:
    try:
        median, worst = median_ms(timed.ask, runs)
    except TooHeavy as error:
        click.echo(f"{name:32} {error}")
        return
    reached = (median if timed.in_ms else median / scan) <= (timed.target or 0)
    target = "" if timed.target is None else f"{timed.target:g}{' ms' if timed.in_ms else ''}"
    mark = "" if timed.target is None or reached else "  not reached"
    click.echo(
        f"{name:32}{median:>10.1f}{worst:>8.1f}{scan:>8.1f}{median / scan:>8.2f}{target:>8}{mark}"
    )


if __name__ == "__main__":
    main()
