"""`appizer failed`."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID

import click
from sqlalchemy import Connection

from api.cli.apps import reading, streams_of, uuid_of
from api.cli.exits import Exit
from api.cli.instance import data_option, settings_for
from api.cli.output import escaped, json_option, print_json, print_records, say
from api.dialects.calls import readmit
from commands.ingest import Replay, replay
from domain.errors import AppizerError, NotFound
from domain.tracking import Refused
from infrastructure.database import open_engine, open_log
from infrastructure.event_store.group_commit import GroupCommit
from infrastructure.parked import list_parked, retry_parked
from infrastructure.settings import Settings
from projections import apps, failed_events
from projections.catalogue import PROJECTIONS

_COLUMNS = ("id", "kind", "time", "app", "field", "issue", "body")
_NAMES = (*(projection.name for projection in PROJECTIONS), "events")
_PREVIEW_CHARS = 60
_DEFAULT_LIMIT = 100
_MOST = 10_000_000


class Failure(NamedTuple):
    """`id` is a refusal's, or PROJECTION:POSITION of a parked event."""

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
    a read model could not take it. Neither holds up what follows.
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
    return found + [
        Failure(
            f"{one.projection}:{one.position}", "parked", one.parked_at, one.app_id, one.position,
            one.projection, one.reason,
        )
        for one in parked
    ]  # fmt: skip


def _refusal(app: UUID, row: dict[str, Any]) -> Failure:
    body = bytes(row["body"]).decode(errors="backslashreplace")
    return Failure(
        str(row["failed_id"]), "refused", row["received_at"], app, row["position"],
        row["field"], row["issue"], body,
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

    What is taken after all counts with its own time, once, however often it is replayed. The exit
    code is 1 when something still fails.

    \b
    appizer failed replay people:4711
    appizer failed replay --all
    """  # noqa: D301  \b is click's sign for lines to keep
    if bool(ids) == everything:
        raise click.UsageError("say --all, or the ids that `appizer failed list` shows")
    settings = settings_for(data)
    wanted = uuid_of(app, "--app") if app else None
    with reading(settings) as connection:
        found = {one.id: one for one in _failures(connection, wanted, _MOST)}
    unknown = [name for name in ids if name not in found]
    if unknown:
        raise NotFound(f"not among what failed: {', '.join(unknown)}")
    chosen = list(found.values()) if everything else [found[name] for name in dict.fromkeys(ids)]
    return _finish(_replayed(settings, chosen), as_json=as_json)


def _replayed(settings: Settings, chosen: Sequence[Failure]) -> list[tuple[Failure, str | None]]:
    """Each with the reason that it still fails, or None."""
    refused = [one for one in chosen if one.kind == "refused"]
    results = asyncio.run(_take_refused(settings, refused)) if refused else []
    parked = sorted((one for one in chosen if one.kind == "parked"), key=lambda one: one.position)
    return results + (_take_parked(settings, parked) if parked else [])


async def _take_refused(
    settings: Settings, refused: Sequence[Failure]
) -> list[tuple[Failure, str | None]]:
    log = GroupCommit(
        settings.database_url,
        queue_events=settings.queue_events,
        commit_events=settings.commit_events,
    )
    log.start()
    try:
        with streams_of(settings) as streams:
            results = []
            for one in refused:
                (event,) = streams.load(UUID(one.id))
                assert isinstance(event, Refused)
                results.append((one, await _take(log, one, event)))
            return results
    finally:
        await log.close()


async def _take(log: GroupCommit, failure: Failure, refused: Refused) -> str | None:
    assert failure.app is not None
    wanted = Replay(failure.app, UUID(failure.id).bytes, refused, readmit)
    try:
        outcome = await replay(log, wanted, datetime.now(UTC))
    except AppizerError as error:
        return error.message
    return None if outcome.status != "conflict" else f"{outcome.field} {outcome.reason}"


def _take_parked(settings: Settings, parked: Sequence[Failure]) -> list[tuple[Failure, str | None]]:
    engine = open_engine(settings.database_url, pool_size=1)
    results: list[tuple[Failure, str | None]] = []
    try:
        with open_log(settings.database_url) as log:
            for one in parked:
                name, _, position = one.id.rpartition(":")
                retried = retry_parked(engine, log, name, int(position))
                results.append((one, retried.reason))
    finally:
        engine.dispose()
    return results


def _finish(results: Sequence[tuple[Failure, str | None]], *, as_json: bool) -> int:
    still = [(failure, reason) for failure, reason in results if reason is not None]
    if as_json:
        for failure, reason in results:
            taken = reason is None
            print_json({"id": failure.id, "kind": failure.kind, "taken": taken, "reason": reason})
    else:
        for failure, reason in still:
            say(f"{failure.id}: {escaped(reason)}")
        click.echo(f"{len(results) - len(still):,} taken, {len(still):,} still fail")
    return Exit.FAILED if still else Exit.OK
