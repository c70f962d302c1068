"""`appizer provision`."""

import click
import msgspec

from api.cli.apps import reading
from api.cli.instance import data_option, settings_for
from api.cli.output import json_option, print_records
from domain.errors import Conflict
from infrastructure.provisioning import provision
from projections import apps


@click.command()
@data_option
@json_option
def command(*, data: str | None, as_json: bool) -> None:
    """Make the first organisation and app of a new installation, and print their keys, once.

    `appizer up` does this by itself. Elsewhere: after `appizer run migrate`, with the projector
    running.

    \b
    appizer provision --json > keys.json
    """  # noqa: D301  \b is click's sign for lines to keep
    settings = settings_for(data)
    with reading(settings) as connection:
        if apps.all_organisations(connection):
            raise Conflict("there is an organisation already; make apps with: appizer apps create")
    made = msgspec.to_builtins(provision(settings))
    print_records([made], tuple(made), as_json=as_json)
