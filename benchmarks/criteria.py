"""How fast criteria are answered: median of warm runs, beside S, a scan of 8 bytes a row.

    python -m benchmarks.criteria [--events 10000000] [--persons 200000] [--runs 7] [--data DIR]

On the events and traits of benchmarks/generated.py.
"""

from datetime import UTC, datetime

import click

from benchmarks.generated import median_ms, prepare, running_engine
from domain.conditions.text import parse
from infrastructure.analytics_engine import AnalyticsEngine
from projections.criteria import Asked, members

NOW = datetime(2026, 1, 31, tzinfo=UTC)
CRITERIA = {
    "3 times, not, trait": (
        "did `event 3` at least 3 times in 14 days and not did `event 10` in 14 days"
        ' and plan = "pro"'
    ),
    "3 times in 14 days": "did `event 3` at least 3 times in 14 days",
    "not in 14 days": "not did `event 10` in 14 days",
    "a trait": 'plan = "pro"',
    "ever": "did `event 3`",
    "with a condition": "did `event 3` where (amount > 50) in 30 days",
    "any event": "did any event at least 14 times in 30 days",
    "stopped": "stopped `event 3` for 7 days",
    "first": "first did `event 3` in 14 days",
    "sum": "sum of amount over `event 3` >= 100 in 30 days",
    "sequence": "did `event 3` then `event 10` within 3 days in 14 days",
    "drop-off": "did `event 3` then not `event 10` within 3 days in 14 days",
    "sample": 'sample 10% "a"',
}


@click.command()
@click.option("--events", default=10_000_000, show_default=True)
@click.option("--persons", default=200_000, show_default=True)
@click.option("--runs", default=7, show_default=True)
@click.option("--data", help="Where the events stay for the next run.")
def main(events: int, persons: int, runs: int, data: str | None) -> None:
    with running_engine(data) as engine:
        scan = prepare(engine, events, persons)
        click.echo(f"{events:,} events, S = sum(pid0): {scan:.1f} ms\n")
        click.echo(f"{'criteria':28}{'persons':>9}{'median ms':>10}{'worst':>8}{'/ S':>8}")
        for name, text in CRITERIA.items():
            show(engine, Asked(1, persons, NOW), name, text=text, runs=runs, scan=scan)
            few = Asked(1, persons, NOW, among=(6, 501, 5001))
            show(engine, few, "  of three persons", text=text, runs=runs, scan=scan)


def show(
    engine: AnalyticsEngine, asked: Asked, name: str, *, text: str, runs: int, scan: float
) -> None:
    query = members(parse(text), asked)
    sql = f"SELECT count() FROM ({query.sql})"

    def ask() -> int:
        ((found,),) = engine.query(sql, query.parameters).rows
        return int(found)

    median, worst = median_ms(ask, runs)
    click.echo(f"{name:28}{ask():>9}{median:>10.1f}{worst:>8.1f}{median / scan:>8.2f}")


if __name__ == "__main__":
    main()
