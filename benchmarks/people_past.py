"""Unique persons as the log stood, beside those of now: a ratio, by how many ids have moved.

    python -m benchmarks.people_past [--events 1000000] [--persons 200000] [--runs 9] [--json]

The events are those of benchmarks/generated.py. The limit, in this run, is S: the engine's scan of
eight bytes a row.
"""

import json
from typing import Any

import click

from benchmarks.generated import fill, median_ms, running_engine, scan_ms
from benchmarks.machine import loop_seconds
from benchmarks.trends import NOW, RANGE
from domain.past import Past
from domain.trends import Question, check
from infrastructure.analytics_engine import AnalyticsEngine
from projections import person_map
from projections.trends import plan, series

MOVED = (0, 1_000, 50_000)
QUESTIONS: dict[str, dict[str, Any]] = {
    "all": {"measure": "unique"},
    "one_event": {"measure": "unique", "event": "event 3"},
}
# Ids spread over all that there are, each moved to the one before it, halfway through the log.
MOVE = """
INSERT INTO {changes} SELECT 1, number * {step} + 1, {position}, number * {step}
FROM numbers({moved})"""


def measure(events: int, persons: int, runs: int) -> dict[str, Any]:
    found: dict[str, Any] = {"python_loop_seconds": [loop_seconds()], "events": events}
    with running_engine() as engine:
        fill(engine, events, persons)
        found["scan_ms"] = round(scan_ms(engine), 1)
        for moved in MOVED:
            _move(engine, moved, step=persons // max(MOVED), position=events // 2)
            for name, asked in QUESTIONS.items():
                now = _ask(engine, asked, Past(), runs)
                then = _ask(engine, asked, Past(known_at=events), runs)
                found[f"{name}_{moved}_moved_now_ms"] = round(now, 1)
                found[f"{name}_{moved}_moved_known_at_ms"] = round(then, 1)
                found[f"{name}_{moved}_moved_ratio"] = round(then / now, 2)
    found["python_loop_seconds"].append(loop_seconds())
    return found


def _move(engine: AnalyticsEngine, moved: int, *, step: int, position: int) -> None:
    for table in (person_map.CHANGES, person_map.NOW):
        engine.command(f"DROP TABLE IF EXISTS {table} SYNC")
    engine.command(person_map.create_changes(person_map.CHANGES, generation="benchmark"))
    engine.command(person_map.create_now(person_map.NOW))
    engine.command(
        MOVE.format(changes=person_map.CHANGES, step=step, position=position, moved=moved)
    )
    engine.command(person_map.FILL_NOW.format(now=person_map.NOW, changes=person_map.CHANGES))


def _ask(engine: AnalyticsEngine, asked: dict[str, Any], past: Past, runs: int) -> float:
    question = Question(**{**RANGE, **asked})

    def ask() -> None:
        buckets = check(question)
        made = plan(question, buckets, app_number=1, past=past)
        rows = engine.query(*made[:3]).rows
        series(question, buckets, rows, now=NOW, in_cells=made.most is not None)

    return median_ms(ask, runs)[0]


@click.command(help=__doc__)
@click.option("--events", default=1_000_000, show_default=True)
@click.option("--persons", default=200_000, show_default=True)
@click.option("--runs", default=9, show_default=True)
@click.option("--json", "as_json", is_flag=True)
def main(events: int, persons: int, runs: int, as_json: bool) -> None:  # noqa: FBT001  click's flag
    found = measure(events, persons, runs)
    if as_json:
        click.echo(json.dumps(found))
        return
    for name, value in found.items():
        click.echo(f"{name.replace('_', ' '):<34} {value}")


if __name__ == "__main__":
    main()
