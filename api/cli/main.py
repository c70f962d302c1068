"""The command `appizer`. Each subcommand is a module of its own, imported when it is used."""

import importlib
import json
import os
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NamedTuple

import click

from api.cli.exits import Exit


class Subcommand(NamedTuple):
    """`module` has a click command named `command`."""

    module: str
    summary: str


SUBCOMMANDS: dict[str, Subcommand] = {
    "up": Subcommand("api.cli.up", "Run everything on this machine."),
    "run": Subcommand("api.cli.run", "Run one role against configured servers."),
    "doctor": Subcommand("api.cli.doctor", "Say what is wrong and how to mend it."),
    "import": Subcommand("api.cli.importing", "Import events or people from files."),
    "provision": Subcommand("api.cli.provision", "Make the first app and keys of an installation."),
    "apps": Subcommand("api.cli.apps", "Create and list apps."),
    "keys": Subcommand("api.cli.keys", "Create, list and revoke keys."),
    "projections": Subcommand("api.cli.projections", "List, check and rebuild the read models."),
    "failed": Subcommand("api.cli.failed", "List and replay what was refused."),
    "events": Subcommand("api.cli.events", "Watch events as they are published."),
}


class _Lazy(click.Group):
    """--help prints the summaries above and imports nothing."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  click's signature
        return list(SUBCOMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in SUBCOMMANDS:
            return None
        module = SUBCOMMANDS[cmd_name].module
        try:
            found: click.Command = importlib.import_module(module).command
        except ModuleNotFoundError as error:
            if error.name == module:
                return None
            raise
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, each.summary) for name, each in SUBCOMMANDS.items()])


def _print_version(ctx: click.Context, _option: click.Parameter, wanted: bool) -> None:  # noqa: FBT001  click's signature
    if not wanted or ctx.resilient_parsing:
        return
    try:
        click.echo(f"appizer {version('appizer')}")
    except PackageNotFoundError:
        click.echo("appizer, from a source tree")
    ctx.exit()


@click.command(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version,
    help="Show the version and exit.",
)  # fmt: skip
def appizer() -> None:
    """Open, self-hosted product analytics on an event log.

    `appizer up` runs everything on this machine; the other commands find it by --data DIR,
    APPIZER_DATA, or the APPIZER_* settings.

    Exit codes: 0 done, 1 failed, 2 wrong usage, 3 the instance does not run, 130 Ctrl-C. With
    --json an error is a JSON object on stderr, as the API has it: {"error", "message", "code",
    "details"}.
    """


def main() -> None:
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """The exit code. What is expected to go wrong is one line on stderr, never a traceback."""
    try:
        code: Any = appizer.main(arguments, prog_name="appizer", standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        _show(error, arguments)
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        return Exit.INTERRUPTED
    except BrokenPipeError:
        # Whatever is still buffered goes nowhere, or the interpreter complains as it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.PIPE_CLOSED
    except Exception as error:
        if not _is_expected(error):
            raise
        code = getattr(error, "code", Exit.FAILED.name)
        _tell(_said(error), code, getattr(error, "details", {}), as_json="--json" in arguments)
        return Exit.FAILED
    return code if isinstance(code, int) else Exit.OK


def _show(error: click.ClickException, arguments: list[str]) -> None:
    """Wrong usage comes with the command's own usage, a group without a command with its help."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        error.show()
        return
    as_json = "--json" in arguments
    if isinstance(error, click.UsageError) and error.ctx is not None and not as_json:
        click.echo(f"{error.ctx.get_usage()}\nTry `{error.ctx.command_path} --help`.\n", err=True)
    _tell(error.format_message(), Exit(error.exit_code).name, {}, as_json=as_json)


def _tell(message: str, code: str, details: object, *, as_json: bool) -> None:
    """On stderr: stdout is for what was asked for."""
    if as_json:
        error = code.replace("_", " ").capitalize()
        problem = {"error": error, "message": message, "code": code, "details": details}
        click.echo(json.dumps(problem, default=str), err=True)
    else:
        click.echo(f"error: {message}", err=True)


def _said(error: Exception) -> str:
    """SQLAlchemy adds a line about its documentation."""
    return str(error).partition("\n(Background on")[0]


def _is_expected(error: Exception) -> bool:
    """Looked up by name, in modules that are loaded if they can have raised it: importing them
    here would make every command slower.
    """
    expected = (
        ("domain.errors", "AppizerError"),
        ("infrastructure.settings", "SettingsError"),
        ("infrastructure.embedded.processes", "CannotStart"),
        ("infrastructure.migrate", "MigrationChanged"),
        ("infrastructure.message_bus", "BusError"),
        ("infrastructure.database", "AWAY"),
    )
    kinds = [
        getattr(sys.modules[module], name) for module, name in expected if module in sys.modules
    ]
    return isinstance(error, tuple(kinds))


if __name__ == "__main__":
    main()
