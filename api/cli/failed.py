"""`appizer failed`."""

import asyncio
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import chain
from typing import Any, NamedTuple
from uuid import UUID

import click
from sqlalchemy import Connection

from api.cli.apps import reading, streams_of, uuid_of
from api.cli.exits import Exit
from api.cli.instance import data_option, settings_for
from api.cli.output import escaped, json_option, print_json, print_records, say
from api.dialects.calls import readmit
from commands.ingest import NOT_REPLAYABLE, Replay, replay
from domain.errors import AppizerError, NotFound
from domain.tracking import Refused
from infrastructure.barred import BarredIds
from infrastructure.database import open_engine, open_log
from infrastructure.event_store.group_commit import GroupCommit
from infrastructure.parked import Parked, list_parked, retry_parked
from infrastructure.settings import Settings
from projections import apps, failed_events
from projections.catalogue import PROJECTIONS

_COLUMNS = ("id", "kind", "time", "app", "field", "issue", "body")
_NAMES = (*(projection.name for projection in PROJECTIONS), "events")
_PREVIEW_CHARS = 60
_DEFAULT_LIMIT = 100
_PAGE = 500


class Failure(NamedTuple):
    """`id` is a refusal's, or PROJECTION:POSITION of a parked event. `kind`: refused; row (of a
    file: no message could be made of it, or its message id is taken; nothing can
    replay it); parked.
    """

    id: str
    kind: str
    time: datetime
    app: UUID | None
    position: int
    field: str
    issue: str
    body: str = ""


@click.group()
def command() -> None:
    """List and replay what was refused at the edge or could not be taken by a read model.

    A refused message broke a rule and is kept with its reason. A parked event is on the log, but
    a read model could not take it. Neither holds up what follows. Of kind `row` are rows of files
    that could not be read: mend the file and import it again.
    """


@command.command("list")
@click.option("--app", metavar="APP_ID", help="Only this app's.")
@click.option(
    "--limit", type=click.IntRange(1), default=_DEFAULT_LIMIT, show_default=True,
    help="The newest ones.",
)  # fmt: skip
@click.option("--full", is_flag=True, help="The whole of each body.")
@data_option
@json_option
def list_(*, app: str | None, limit: int, full: bool, data: str | None, as_json: bool) -> None:
    """List what failed: refused messages, newest first, then parked events."""
    wanted = uuid_of(app, "--app") if app else None
    with reading(settings_for(data)) as connection:
        found = _failures(connection, wanted, limit)
    if not found:
        say("nothing failed")
    records = [one._asdict() for one in found[:limit]]
    for record in records:
        record["body"] = escaped(record["body"]) if full else _preview(record["body"])
    print_records(records, _COLUMNS, as_json=as_json)


def _preview(body: str) -> str:
    text = escaped(body)
    return text if len(text) <= _PREVIEW_CHARS else text[: _PREVIEW_CHARS - 1] + "…"


def _failures(connection: Connection, app_id: UUID | None, limit: int) -> list[Failure]:
    found = [
        _refusal(app, row)
        for app, number in apps.numbers(connection).items()
        if app_id in (None, app)
        for row in failed_events.list_refused(connection, number, limit=limit)
    ]
    found.sort(key=lambda failure: -failure.position)
    parked = list_parked(connection, _NAMES, app_id=app_id, limit=limit)
    return found + [_parked(one) for one in parked]


def _refusal(app: UUID, row: dict[str, Any]) -> Failure:
    body = bytes(row["body"]).decode(errors="backslashreplace")
    kind = "row" if row["dialect"] == NOT_REPLAYABLE else "refused"
    return Failure(
        str(row["failed_id"]), kind, row["received_at"], app, row["position"],
        row["field"], row["issue"], body,
    )  # fmt: skip


def _parked(one: Parked) -> Failure:
    return Failure(
        f"{one.projection}:{one.position}", "parked", one.parked_at, one.app_id, one.position,
        one.projection, one.reason,
    )  # fmt: skip


@command.command("replay")
@click.argument("ids", metavar="ID...", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Everything that `list` shows.")
@click.option("--app", metavar="APP_ID", help="With --all: only this app's.")
@data_option
@json_option
def replay_(
    *, ids: tuple[str, ...], everything: bool, app: str | None, data: str | None, as_json: bool
) -> int:
    """Judge refused messages by the rules of today, and apply parked events again.

    What is taken after all counts with its own time, once, however often it is replayed. --all
    passes over rows of files. The exit code is 1 when something still fails.

    \b
    appizer failed replay people:4711
    appizer failed replay --all
    """  # noqa: D301  \b is click's sign for lines to keep
    if bool(ids) == everything:
        raise click.UsageError("say --all, or the ids that `appizer failed list` shows")
    if app and not everything:
        raise click.UsageError("--app goes with --all: an id names its app already")
    settings = settings_for(data)
    tally = _Tally(as_json=as_json, passes_over_rows=everything)
    if everything:
        wanted = uuid_of(app, "--app") if app else None
        refused, parked = _refused_pages(settings, wanted), _parked_pages(settings, wanted)
    else:
        found = _named(settings, list(dict.fromkeys(ids)))
        refused = iter([[one for one in found if one.kind != "parked"]])
        parked = iter([[one for one in found if one.kind == "parked"]])
    asyncio.run(_take_refused(settings, refused, tally))
    _take_parked(settings, parked, tally)
    return tally.finish()


# --- what is chosen, a page at a time: there may be millions -------------------------------

Pages = Iterator[list[Failure]]


def _refused_pages(settings: Settings, app_id: UUID | None) -> Pages:
    with reading(settings) as connection:
        numbers = apps.numbers(connection)
    for app in [app for app in numbers if app_id in (None, app)]:
        before = None
        while True:
            with reading(settings) as connection:
                rows = failed_events.list_refused(
                    connection, numbers[app], limit=_PAGE, before=before
                )
            if not rows:
                break
            before = rows[-1]["position"]
            yield [_refusal(app, row) for row in rows]


def _parked_pages(settings: Settings, app_id: UUID | None) -> Pages:
    after = None
    while True:
        with reading(settings) as connection:
            found = list_parked(connection, _NAMES, app_id=app_id, limit=_PAGE, after=after)
        if not found:
            break
        after = found[-1].projection, found[-1].position
        yield [_parked(one) for one in found]


def _named(settings: Settings, ids: Sequence[str]) -> list[Failure]:
    """Parked ones in the order of the log. Raises NotFound for those that did not fail."""
    with reading(settings) as connection:
        found = {name: _find(connection, name) for name in ids}
    unknown = [name for name, failure in found.items() if failure is None]
    if unknown:
        raise NotFound(f"not among what failed: {', '.join(unknown)}")
    return sorted((one for one in found.values() if one), key=lambda one: one.position)


def _find(connection: Connection, name: str) -> Failure | None:
    projection, _, position = name.rpartition(":")
    if projection in _NAMES and position.isdecimal():
        before = projection, int(position) - 1
        parked = list_parked(connection, [projection], limit=1, after=before)
        return next((_parked(one) for one in parked if str(one.position) == position), None)
    try:
        failed_id = UUID(name)
    except ValueError:
        return None
    owners = {number: app for app, number in apps.numbers(connection).items()}
    row = failed_events.find_refused(connection, owners.keys(), failed_id)
    return None if row is None else _refusal(owners[row["app_number"]], row)


# --- taking it -----------------------------------------------------------------------------


class _Tally:
    """Tells each as it is tried, with the reason that it still fails, or None."""

    def __init__(self, *, as_json: bool, passes_over_rows: bool) -> None:
        self._as_json = as_json
        self.passes_over_rows = passes_over_rows
        self.taken = 0
        self.failing = 0
        self.passed_over = 0

    def add(self, failure: Failure, reason: str | None) -> None:
        if reason is None:
            self.taken += 1
        else:
            self.failing += 1
        if self._as_json:
            taken = reason is None
            print_json({"id": failure.id, "kind": failure.kind, "taken": taken, "reason": reason})
        elif reason is not None:
            say(f"{failure.id}: {escaped(reason)}")

    def finish(self) -> int:
        if self.passed_over:
            many = f"{self.passed_over:,} are rows of files"
            rows = "1 is a row of a file" if self.passed_over == 1 else many
            say(f"{rows} and can't be replayed; mend what the rows say and import the files again")
        if not self._as_json:
            click.echo(f"{self.taken:,} taken, {self.failing:,} still fail")
        return Exit.FAILED if self.failing else Exit.OK


async def _take_refused(settings: Settings, pages: Pages, tally: _Tally) -> None:
    log = GroupCommit(
        settings.database_url,
        queue_events=settings.queue_events,
        commit_events=settings.commit_events,
    )
    engine = open_engine(settings.database_url, pool_size=1)
    barred = BarredIds(engine)
    log.start()
    try:
        with streams_of(settings) as streams:
            for one in chain.from_iterable(pages):
                if one.kind == "row" and tally.passes_over_rows:
                    tally.passed_over += 1
                    continue
                (event,) = streams.load(UUID(one.id))
                assert isinstance(event, Refused)
                tally.add(one, await _take(log, one, event, barred))
    finally:
        await log.close()
        barred.close()
        engine.dispose()


async def _take(
    log: GroupCommit, failure: Failure, refused: Refused, barred: BarredIds
) -> str | None:
    assert failure.app is not None
    wanted = Replay(failure.app, UUID(failure.id).bytes, refused, readmit)
    try:
        outcome = await replay(log, wanted, datetime.now(UTC), await barred.of(failure.app))
    except AppizerError as error:
        return error.message
    return None if outcome.status != "conflict" else f"{outcome.field} {outcome.reason}"


def _take_parked(settings: Settings, pages: Pages, tally: _Tally) -> None:
    engine = open_engine(settings.database_url, pool_size=1)
    try:
        with open_log(settings.database_url) as log:
            for one in chain.from_iterable(pages):
                name, _, position = one.id.rpartition(":")
                tally.add(one, retry_parked(engine, log, name, int(position)).reason)
    finally:
        engine.dispose()
