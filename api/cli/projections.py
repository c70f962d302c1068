"""`appizer projections`."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Protocol

import click
import msgspec
import psycopg
from rich.live import Live
from sqlalchemy import Connection, Engine, text

from api.cli.exits import Exit
from api.cli.import_screen import Screen
from api.cli.instance import data_option, settings_for
from api.cli.output import json_option, print_json, print_records, table_of
from infrastructure import checkpoints, garbage
from infrastructure.database import open_engine, open_log
from infrastructure.parked import count_parked
from infrastructure.positions import Positions, Standing
from infrastructure.rebuild import Progress, Rebuild, Rebuilt
from infrastructure.settings import Settings
from projections import people
from projections.catalogue import PROJECTIONS

EVENTS = "events"
NAMES = (*(projection.name for projection in PROJECTIONS), EVENTS)
_VERSIONS = {projection.name: projection.version for projection in PROJECTIONS}
_COLUMNS = ("name", "version", "position", "head", "lag", "lag_seconds", "parked", "state")
_WATCH_SECONDS = 1.0
_SIZE = text(
    "SELECT c.relname AS table, c.reltuples::bigint AS rows_estimated,"
    " pg_total_relation_size(c.oid) AS bytes FROM pg_class c"
    " JOIN pg_namespace n ON n.oid = c.relnamespace"
    " WHERE n.nspname = :name AND c.relkind = 'r' ORDER BY c.relname"
)


class Builder(Protocol):
    def swap(self, progress: Progress) -> Rebuilt: ...

    def verify(self, progress: Progress) -> Rebuilt: ...


@click.group()
def command() -> None:
    """List, check and rebuild the read models."""


@command.command("list")
@data_option
@json_option
def list_(*, data: str | None, as_json: bool) -> None:
    """List the read models, their versions and what they hold."""
    with _engine(settings_for(data)) as engine, engine.connect() as connection:
        stored = {c.name: c.version for c in checkpoints.read_all(connection)}
        found = [_held(connection, name, stored.get(name)) for name in NAMES]
    print_records(found, ("name", "version", "held_in", "tables", "mib"), as_json=as_json)


def _held(connection: Connection, name: str, version: int | None) -> dict[str, Any]:
    if name == EVENTS:
        return {"name": name, "version": version, "held_in": "ClickHouse", "tables": [EVENTS]}
    tables = connection.execute(_SIZE, {"name": name}).mappings().all()
    return {
        "name": name,
        "version": version,
        "held_in": "Postgres",
        "tables": [table["table"] for table in tables],
        "mib": round(sum(table["bytes"] for table in tables) / 2**20, 1),
    }


@command.command("status")
@click.option("--watch", is_flag=True, help="Every second, until Ctrl-C.")
@data_option
@json_option
def status(*, watch: bool, data: str | None, as_json: bool) -> int:
    """Show how far each read model is behind the log.

    lag is in positions; lag seconds is for how long the oldest event that is missing has been on
    the log. Exits with 1 when a read model is missing, outdated, or has parked events.
    """
    with _engine(settings_for(data)) as engine:
        if watch:
            _watch(engine, as_json=as_json)
        found = _standings(engine)
    print_records(found, _COLUMNS, as_json=as_json)
    return Exit.OK if all(one["state"] in ("current", "behind") for one in found) else Exit.FAILED


def _watch(engine: Engine, *, as_json: bool) -> None:
    """Ends by Ctrl-C only."""
    if as_json:
        while True:
            for one in _standings(engine):
                print_json({"at": datetime.now(UTC)} | one)
            time.sleep(_WATCH_SECONDS)
    with Live(table_of(_standings(engine), _COLUMNS), auto_refresh=False) as live:
        while True:
            live.update(table_of(_standings(engine), _COLUMNS), refresh=True)
            time.sleep(_WATCH_SECONDS)


def _standings(engine: Engine) -> list[dict[str, Any]]:
    standings = {standing.name: standing for standing in Positions(engine).all()}
    with engine.connect() as connection:
        versions = {c.name: c.version for c in checkpoints.read_all(connection)}
        parked = count_parked(connection)
    return [
        _standing(name, versions.get(name), parked.get(name, 0), standings.get(name))
        for name in NAMES
    ]


def _standing(
    name: str, version: int | None, parked: int, standing: Standing | None
) -> dict[str, Any]:
    record = {"name": name, "version": version, "parked": parked}
    if standing is None:
        return record | {"state": "missing"}
    return record | {
        "position": standing.position,
        "head": standing.head,
        "lag": standing.lag,
        "lag_seconds": round(standing.lag_ms / 1000, 1),
        "state": _state(name, version, parked, standing),
    }


def _state(name: str, version: int | None, parked: int, standing: Standing) -> str:
    if version != _VERSIONS.get(name, version):
        return "outdated"
    if parked:
        return "parked"
    return "behind" if standing.lag else "current"


@command.command("rebuild")
@click.argument("names", metavar="NAME...", nargs=-1, type=click.Choice(NAMES))
@click.option("--all", "everything", is_flag=True, help="All read models, in their order.")
@click.option(
    "--verify", is_flag=True, help="Build it beside the live one and compare; change nothing."
)
@data_option
@json_option
def rebuild(
    *, names: tuple[str, ...], everything: bool, verify: bool, data: str | None, as_json: bool
) -> int:
    """Build read models anew from the log, beside the live ones, which answer until the end.

    After an interruption the same command goes on where it was. With --verify nothing is
    replaced: the new one is compared with the live one at the same position, byte for byte, and
    the exit code is 1 when they differ.

    The rows of events hold the numbers that people give to ids, so whoever rebuilds people
    rebuilds events as well.

    \b
    appizer projections rebuild people --verify
    appizer projections rebuild --all
    """  # noqa: D301  \b is click's sign for lines to keep
    if bool(names) == everything:
        raise click.UsageError(f"say --all, or which: {', '.join(NAMES)}")
    settings = settings_for(data)
    wanted = set(NAMES) if everything else set(names)
    if people.name in wanted and not verify and _has_events(settings):
        wanted.add(EVENTS)
    results = [
        _rebuild(settings, name, verify=verify, as_json=as_json) for name in NAMES if name in wanted
    ]
    return Exit.FAILED if any(result.equal is False for result in results) else Exit.OK


def _has_events(settings: Settings) -> bool:
    with _engine(settings) as engine, engine.connect() as connection:
        return checkpoints.read(connection, EVENTS) is not None


def _rebuild(settings: Settings, name: str, *, verify: bool, as_json: bool) -> Rebuilt:
    began = time.monotonic()
    with _builder(settings, name) as builder, Screen(None) as screen:
        build = builder.verify if verify else builder.swap
        result = build(_progress(screen, name))
    seconds = time.monotonic() - began
    if as_json:
        print_json({**msgspec.to_builtins(result), "seconds": round(seconds, 2)})
    else:
        click.echo(_sentence(result, seconds))
    return result


def _progress(screen: Screen, name: str) -> Progress:
    resumed: list[int] = []

    def progress(done: int, of: int) -> None:
        """The rate is of this run; what an interrupted one did is not counted."""
        if not resumed:
            resumed.append(done)
        screen.total = of
        screen.update(done, done - resumed[0], f"{name}: {done:,} of {of:,}")

    return progress


def _sentence(result: Rebuilt, seconds: float) -> str:
    at = f"{result.name}, position {result.position:,}, {seconds:,.1f} s"
    if result.equal is None:
        return f"rebuilt: {at}"
    return f"equal: {at}" if result.equal else f"DIFFERENT: {at}: {'; '.join(result.differing)}"


@contextmanager
def _builder(settings: Settings, name: str) -> Iterator[Builder]:
    garbage.seldom()
    with _engine(settings) as engine, open_log(settings.database_url) as log:
        if name == EVENTS:
            with _events_builder(settings, engine, log) as builder:
                yield builder
        else:
            projection = next(one for one in PROJECTIONS if one.name == name)
            yield Rebuild(engine, log, projection)


@contextmanager
def _events_builder(
    settings: Settings, engine: Engine, log: psycopg.Connection[Any]
) -> Iterator[Builder]:
    """Imported here: only this one needs the analytics engine and the user agent parser."""
    from infrastructure.analytics_engine import AnalyticsEngine
    from infrastructure.rebuild_events import RebuildEvents

    analytics = AnalyticsEngine(settings.analytics_url)
    try:
        yield RebuildEvents(engine, log, analytics, settings)
    finally:
        analytics.close()


@contextmanager
def _engine(settings: Settings) -> Iterator[Engine]:
    engine = open_engine(settings.database_url, pool_size=2)
    try:
        yield engine
    finally:
        engine.dispose()
