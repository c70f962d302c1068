"""`appizer keys`."""

from typing import cast
from uuid import UUID

import click
from sqlalchemy import Connection

from api.cli.apps import all_apps, chosen_app, reading, streams_of, uuid_of
from api.cli.exits import Exit
from api.cli.instance import data_option, settings_for
from api.cli.output import json_option, print_json, print_records, say
from commands import apps as commands
from domain.apps import KeyKind
from domain.errors import NotFound
from infrastructure.provisioning import now
from infrastructure.settings import Settings
from projections import apps

_COLUMNS = ("key_id", "app_id", "kind", "last_four", "label", "issued_at", "revoked")


@click.group()
def command() -> None:
    """Create, list and revoke keys.

    A write key sends events and may be public; a secret key reads the app too; an admin key may
    also force merges and erase people.
    """


@command.command("create")
@click.option("--app", metavar="APP_ID", help="Whose. [default: the instance's first app]")
@click.option(
    "--kind", type=click.Choice(["write", "secret", "admin"]), required=True, help="What it may do."
)
@click.option("--label", default="", help="What it is for.")
@data_option
@json_option
def create(*, app: str | None, kind: str, label: str, data: str | None, as_json: bool) -> None:
    """Create a key and print it. It is shown this once: only a digest is stored.

    \b
    appizer keys create --app ID --kind write --label "web site"
    """  # noqa: D301  \b is click's sign for lines to keep
    settings = settings_for(data)
    app_id = chosen_app(settings, app)
    with streams_of(settings) as streams:
        made = commands.issue_key(streams, now, app_id, kind=cast("KeyKind", kind), label=label)
    if as_json:
        print_json({"app_id": app_id, **_told(made)})
        return
    click.echo(made.key)
    say(f"key_id {made.key_id}, of kind {kind}, for app {app_id}; it is not shown again")


def _told(made: commands.CreatedKey) -> dict[str, object]:
    return {
        "key_id": made.key_id,
        "key": made.key,
        "kind": made.kind,
        "position": made.position,
    }


@command.command("list")
@click.option("--app", metavar="APP_ID", help="Only this app's.")
@data_option
@json_option
def list_(*, app: str | None, data: str | None, as_json: bool) -> None:
    """List keys, also revoked ones, by their last four characters."""
    wanted = uuid_of(app, "--app") if app else None
    with reading(settings_for(data)) as connection:
        owners = [wanted] if wanted else _owners(connection)
        keys = [key for owner in owners for key in apps.list_keys(connection, owner)]
    print_records(keys, _COLUMNS, as_json=as_json)


@command.command("revoke")
@click.argument("key_id", metavar="KEY_ID")
@click.option("--yes", is_flag=True, help="Don't ask.")
@data_option
@json_option
def revoke(*, key_id: str, yes: bool, data: str | None, as_json: bool) -> int:
    """Revoke a key for ever. Requests with it are refused within seconds."""
    wanted = uuid_of(key_id, "KEY_ID", see="appizer keys list")
    settings = settings_for(data)
    owner_id, last_four = _owner_of(settings, wanted)
    if not (yes or _agreed(f"Revoke the key that ends in {last_four}?")):
        raise click.ClickException("not revoked")
    with streams_of(settings) as streams:
        position = commands.revoke_key(streams, now, owner_id, wanted)
    if as_json:
        print_json({"key_id": wanted, "revoked": True, "position": position})
    else:
        click.echo(f"revoked {wanted}")
    return Exit.OK


def _agreed(question: str) -> bool:
    """Nobody there to answer is a no."""
    try:
        return click.confirm(question, err=True)
    except click.Abort:
        click.echo(err=True)  # ends the line of the question
        return False


def _owner_of(settings: Settings, key_id: UUID) -> tuple[UUID, str]:
    with reading(settings) as connection:
        for owner in _owners(connection):
            for key in apps.list_keys(connection, owner):
                if key["key_id"] == key_id:
                    return owner, key["last_four"]
    raise NotFound(f"no key {key_id}; see: appizer keys list")


def _owners(connection: Connection) -> list[UUID]:
    """All apps and organisations."""
    owners = [app["id"] for app in all_apps(connection)]
    return owners + [one["organisation_id"] for one in apps.all_organisations(connection)]
