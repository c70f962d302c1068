"""Which instance a command means."""

import os
from pathlib import Path
from typing import Any

import click

from api.cli.exits import Exit
from infrastructure import settings
from infrastructure.embedded.instance import Instance, default_directory


class NotRunning(click.ClickException):
    exit_code = Exit.NOT_RUNNING


def chosen_directory(
    _ctx: click.Context, _option: click.Parameter, given: str | None
) -> str | None:
    """An empty one is a variable of somebody's script that is not set, not the default."""
    if given is not None and not given.strip():
        raise click.BadParameter("is empty; name a directory, or leave the option out")
    return given


def data_option(command: Any) -> Any:
    """The option --data of every command that talks to an instance."""
    return click.option(
        "--data",
        metavar="DIR",
        type=click.Path(file_okay=False),
        callback=chosen_directory,
        help="The instance's directory. [default: APPIZER_DATA, else the APPIZER_* settings]",
    )(command)


def settings_for(data: str | None) -> settings.Settings:
    """Those of the instance in `data`, else in APPIZER_DATA; else those that APPIZER_* variables
    give; else of the instance in the default directory. Raises NotRunning, SettingsError.
    """
    if is_configured_elsewhere(data):
        return settings.load()
    return running(instance_for(data)).settings()


def instance_for(data: str | None) -> Instance:
    chosen = data or os.environ.get("APPIZER_DATA")
    return Instance(Path(chosen).expanduser().absolute() if chosen else default_directory())


def running(instance: Instance) -> Instance:
    """`instance` itself. Raises NotRunning, which names the mend."""
    option = f" --data {instance.directory}" if instance.directory != default_directory() else ""
    if not instance.exists():
        message = f"there is no instance in {instance.directory}; start one: appizer up{option}"
        raise NotRunning(message)
    if instance.running_pid() is None:
        message = f"the instance in {instance.directory} does not run; start it: appizer up{option}"
        raise NotRunning(message)
    return instance


def is_configured_elsewhere(data: str | None) -> bool:
    """True if neither --data nor APPIZER_DATA names an instance, and APPIZER_* settings do."""
    names = ("APPIZER_DATABASE_URL", "APPIZER_DATABASE_URL_FILE", "DATABASE_URL")
    named = data is not None or "APPIZER_DATA" in os.environ
    return not named and any(name in os.environ for name in names)


def warn_of_settings() -> None:
    """A variable with a typing error would do nothing, silently."""
    for sentence in settings.unknown():
        click.echo(f"warning: {sentence}", err=True)
