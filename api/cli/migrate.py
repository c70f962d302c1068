"""`appizer migrate`."""

import click

from api.cli.instance import data_option, settings_for


@click.command()
@data_option
def command(data: str | None) -> None:
    """Bring the database's schema up to date.

    `appizer up` does it by itself. Running it twice, or several at once, does no harm.
    """
    from infrastructure.migrate import migrate

    applied = migrate(settings_for(data).database_url)
    for name in applied:
        click.echo(name)
    click.echo("applied" if applied else "nothing to apply", err=True)
