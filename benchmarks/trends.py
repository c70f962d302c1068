"""How fast trends are answered: median of warm runs, beside S, a scan of 8 bytes a row.

    python -m benchmarks.trends [--events 10000000] [--persons 200000] [--runs 15] [--data DIR]
        [--json]

The events of benchmarks/generated.py are asked about through the engine host over HTTP, as the API
does. What is timed is the whole of a question: the plan, the query and the answer's series.
"""

import json
from datetime import UTC, datetime
from typing import Any, NamedTuple

import click

from benchmarks.generated import median_ms, prepare, running_engine
from domain.conditions import Where
from domain.questions import Breakdown
from domain.trends import Question, check
from infrastructure.analytics_engine import AnalyticsEngine
from projections.trends import plan, series

RANGE = {"start": "2026-01-01", "to": "2026-01-30"}
NOW = datetime(2026, 2, 1, tzinfo=UTC)

QUESTIONS: dict[str, dict[str, Any]] = {
    "daily total, all events": {},
    "daily total, one event": {"event": "event 3"},
    "daily unique, all events": {"measure": "unique"},
    "daily unique, one event": {"measure": "unique", "event": "event 3"},
    "daily total by event": {"breakdown": Breakdown("$event")},
    "daily unique by event": {"measure": "unique", "breakdown": Breakdown("$event")},
    "daily total, Berlin": {"timezone": "Europe/Berlin"},
    "daily unique, Berlin": {"timezone": "Europe/Berlin", "measure": "unique"},
    "hourly total": {"interval": "hour"},
    "hourly unique": {"interval": "hour", "measure": "unique"},
    "daily total, Kolkata (no rollup)": {"timezone": "Asia/Kolkata"},
    "daily unique, Kolkata (no rollup)": {"timezone": "Asia/Kolkata", "measure": "unique"},
    "one event by a column": {"event": "event 3", "breakdown": Breakdown("$country")},
    "all by a column": {"breakdown": Breakdown("$country")},
    "one event by a property": {"event": "event 3", "breakdown": Breakdown("plan")},
    "all by a property": {"breakdown": Breakdown("plan")},
    "all where a property is greater": {"where": (Where("amount", "greater", 50),)},
}


class Timing(NamedTuple):
    question: str
    source: str
    median_ms: float
    worst_ms: float
    of_scan: float  # median in units of S


@click.command()
@click.option("--events", default=10_000_000, show_default=True)
@click.option("--persons", default=200_000, show_default=True)
@click.option("--runs", default=15, show_default=True)
@click.option("--data", help="Where the events stay for the next run.")
@click.option("--json", "as_json", is_flag=True)
def main(events: int, persons: int, runs: int, data: str | None, *, as_json: bool) -> None:
    with running_engine(data) as engine:
        scan = prepare(engine, events, persons)
        found = [timed(engine, name, runs=runs, scan=scan) for name in QUESTIONS]
        size = engine.query("SELECT sum(bytes_on_disk) FROM system.parts WHERE active").rows[0][0]
    if as_json:
        report = {"events": events, "bytes": size, "scan_ms": scan}
        click.echo(json.dumps({**report, "questions": [t._asdict() for t in found]}))
        return
    click.echo(f"{events:,} events, {size / 1e6:,.0f} MB; S = sum(pid0): {scan:.1f} ms\n")
    click.echo(f"{'question':36}{'source':8}{'median ms':>10}{'worst':>8}{'/ S':>8}")
    for timing in found:
        click.echo(
            f"{timing.question:36}{timing.source:8}{timing.median_ms:>10.1f}"
            f"{timing.worst_ms:>8.1f}{timing.of_scan:>8.2f}"
        )


def timed(engine: AnalyticsEngine, name: str, *, runs: int, scan: float) -> Timing:
    question = Question(**{**RANGE, **QUESTIONS[name]})
    source = plan(question, check(question), app_number=1).source

    def ask() -> None:
        buckets = check(question)
        made = plan(question, buckets, app_number=1)
        rows = engine.query(*made[:3]).rows
        series(question, buckets, rows, now=NOW, in_cells=made.most is not None)

    median, worst = median_ms(ask, runs)
    return Timing(name, source, median, worst, median / scan)


if __name__ == "__main__":
    main()
