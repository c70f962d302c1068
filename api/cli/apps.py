"""`appizer apps`."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import click
from sqlalchemy import Connection
from sqlalchemy.exc import ProgrammingError

from api.cli.instance import data_option, settings_for
from api.cli.output import json_option, print_records, say
from commands import apps as commands
from domain.apps import AppCreated, NewApp
from domain.errors import NotFound, Rejected
from infrastructure.database import open_engine
from infrastructure.embedded.instance import Instance
from infrastructure.event_store.recorder import AggregateStreams
from infrastructure.provisioning import now
from infrastructure.settings import Settings
from projections import apps

_COLUMNS = ("id", "name", "timezone", "data_retention_days", "created_at")
_MOST = 100_000


@click.group()
def command() -> None:
    """Create and list apps."""


@command.command("create")
@click.argument("name")
@click.option("--timezone", default="UTC", show_default=True, help="Of its days and weeks.")
@click.option("--organisation", metavar="ID", help="Whose. [default: the only one]")
@data_option
@json_option
def create(
    *, name: str, timezone: str, organisation: str | None, data: str | None, as_json: bool
) -> None:
    """Create an app called NAME. Make its keys with: appizer keys create --app ID

    \b
    appizer apps create "Web shop" --timezone Europe/Berlin
    """  # noqa: D301  \b is click's sign for lines to keep
    settings = settings_for(data)
    with streams_of(settings) as streams:
        owner = _organisation(settings, organisation)
        made = commands.create_app(streams, now, owner, NewApp(name=name, timezone=timezone))
    record = {"id": str(made.id), "name": name, "timezone": timezone, "position": made.position}
    print_records([record], ("id", "name", "timezone"), as_json=as_json)


@command.command("list")
@data_option
@json_option
def list_(*, data: str | None, as_json: bool) -> None:
    """List all apps, oldest first."""
    with reading(settings_for(data)) as connection:
        found = all_apps(connection)
    if not found:
        say("no apps yet; make one: appizer apps create NAME")
    print_records(found, _COLUMNS, as_json=as_json)


@command.command("show")
@click.argument("app_id", metavar="APP_ID")
@data_option
@json_option
def show(*, app_id: str, data: str | None, as_json: bool) -> None:
    """Show one app and its keys, which are named but not told."""
    wanted = uuid_of(app_id, "APP_ID")
    with reading(settings_for(data)) as connection:
        found = [app for app in all_apps(connection) if app["id"] == wanted]
        if not found:
            raise NotFound(f"no app {app_id}; see: appizer apps list")
        keys = apps.list_keys(connection, wanted)
    if as_json:
        print_records([found[0] | {"keys": keys}], (), as_json=True)
        return
    print_records(found, _COLUMNS, as_json=False)
    print_records(keys, ("key_id", "kind", "last_four", "label", "revoked"), as_json=False)


def all_apps(connection: Connection) -> list[dict[str, Any]]:
    """Oldest first, of all organisations."""
    found = []
    for organisation in apps.all_organisations(connection):
        owned, _ = apps.list_apps(
            connection, organisation["organisation_id"], limit=_MOST, offset=0
        )
        found.extend(owned)
    return sorted(found, key=lambda app: app["created_at"])


def chosen_app(settings: Settings, given: str | None) -> UUID:
    """`given`, else the app of the instance's first start, else the oldest. Raises NotFound."""
    app_id = uuid_of(given, "--app") if given else _first_app(settings)
    with streams_of(settings) as streams:
        if not any(isinstance(event, AppCreated) for event in streams.load(app_id)):
            raise NotFound(f"no app {app_id}; see: appizer apps list")
    return app_id


def _first_app(settings: Settings) -> UUID:
    quickstart = Instance(Path(settings.data)).quickstart() if settings.data else None
    if quickstart is not None:
        return UUID(quickstart.app_id)
    with reading(settings) as connection:
        found = all_apps(connection)
    if not found:
        raise NotFound("there is no app yet; make one: appizer apps create NAME")
    return UUID(str(found[0]["id"]))


def _organisation(settings: Settings, given: str | None) -> UUID:
    if given:
        return uuid_of(given, "--organisation")
    with reading(settings) as connection:
        found = apps.all_organisations(connection)
    if len(found) != 1:
        names = ", ".join(str(one["organisation_id"]) for one in found) or "none"
        raise Rejected("--organisation", f"say which one; there are {names}")
    return UUID(str(found[0]["organisation_id"]))


def uuid_of(text: str, name: str, *, see: str = "appizer apps list") -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise click.UsageError(f"{name} {text}: not an id; see: {see}") from None


@contextmanager
def streams_of(settings: Settings) -> Iterator[AggregateStreams]:
    streams = AggregateStreams(settings.database_url)
    try:
        yield streams
    finally:
        streams.close()


@contextmanager
def reading(settings: Settings) -> Iterator[Connection]:
    """One connection for read models. Raises NotFound while there are none."""
    engine = open_engine(settings.database_url, pool_size=1)
    try:
        with engine.connect() as connection:
            yield connection
    except ProgrammingError as error:
        if "UndefinedTable" not in str(error):
            raise
        raise NotFound("there are no read models yet; start the projector") from None
    finally:
        engine.dispose()
