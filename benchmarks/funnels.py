"""How fast funnels are answered: median of warm runs, beside S, a scan of 8 bytes a row.

    python -m benchmarks.funnels [--events 10000000] [--persons 200000] [--runs 7] [--data DIR]

On the events of benchmarks/generated.py.
"""

from typing import Any

import click

from benchmarks.generated import median_ms, prepare, running_engine
from domain.funnels import Question, Step, check
from domain.questions import Breakdown
from infrastructure.analytics_engine import AnalyticsEngine
from projections.funnels import plan, series

MONTH = {"start": "2026-01-01", "to": "2026-01-30", "window": "7 days"}
WEEK = MONTH | {"start": "2026-01-23"}
STEPS = tuple(Step(f"event {n}") for n in (1, 2, 3))

QUESTIONS: dict[str, dict[str, Any]] = {
    "30 days": MONTH,
    "30 days, by a column": MONTH | {"breakdown": Breakdown("$country")},
    "30 days, by a property": MONTH | {"breakdown": Breakdown("plan")},
    "7 days": WEEK,
    "7 days, by a column": WEEK | {"breakdown": Breakdown("$country")},
    "7 days, with times": WEEK | {"times": True},
    "7 days, with an exclusion": WEEK | {"exclusions": (Step("event 4"),)},
    "7 days, any order": WEEK | {"order": "any"},
    "7 days, strict": WEEK | {"order": "strict"},
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
        click.echo(f"{'three steps':28}{'median ms':>10}{'worst':>8}{'/ S':>8}")
        for name, asked in QUESTIONS.items():
            median, worst = timed(engine, Question(steps=STEPS, **asked), runs)
            click.echo(f"{name:28}{median:>10.1f}{worst:>8.1f}{median / scan:>8.2f}")


def timed(engine: AnalyticsEngine, question: Question, runs: int) -> tuple[float, float]:
    def ask() -> None:
        made = plan(question, check(question), app_number=1)
        series(question, engine.query(made.sql, made.parameters).rows)

    return median_ms(ask, runs)


if __name__ == "__main__":
    main()
