"""`appizer doctor`."""

import os
from collections.abc import Iterator

import click
import msgspec
from rich.console import Console
from rich.text import Text

from api.cli.exits import Exit
from api.cli.instance import data_option, instance_for, is_configured_elsewhere
from infrastructure import settings
from infrastructure.doctor import Finding, examine_machine, examine_parts, examine_system
from infrastructure.embedded.instance import Instance

_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


@click.command()
@data_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def command(data: str | None, as_json: bool) -> int:  # noqa: FBT001  click passes options by name
    """Say what is wrong and how to mend it.

    Looks at this machine and, when an instance runs (or APPIZER_* settings name one), at its
    servers. Exits with 1 if anything fails.
    """
    failed = False
    for finding in _findings(data):
        failed = failed or finding.level == "fail"
        _show(finding, as_json=as_json)
    return Exit.FAILED if failed else Exit.OK


def _findings(data: str | None) -> Iterator[Finding]:
    if is_configured_elsewhere(data):
        given = settings.load()
        yield from examine_machine(None, host=given.host, port=given.port)
        yield from examine_system(given)
        return
    instance = instance_for(data)
    yield from examine_machine(instance, host=_host(instance), port=_port(instance))
    if instance.running_pid() is None:
        mend = f"appizer up --data {instance.directory}"
        yield Finding("instance", "fail", f"nothing runs in {instance.directory}", mend)
        return
    yield Finding("instance", "ok", f"runs, pid {instance.running_pid()}")
    yield from examine_parts(instance)
    yield from examine_system(instance.settings())


def _host(instance: Instance) -> str:
    known = instance.environment()
    return known.get("APPIZER_HOST") or os.environ.get("APPIZER_HOST", "127.0.0.1")


def _port(instance: Instance) -> int:
    """The one that it has, else the one that its next start will take."""
    given = None if instance.running_pid() else os.environ.get("APPIZER_PORT")
    return int(given or instance.port() or 8080)


def _show(finding: Finding, *, as_json: bool) -> None:
    if as_json:
        click.echo(msgspec.json.encode(finding).decode())
        return
    line = Text.assemble(
        (f"{finding.level:5}", _COLOURS[finding.level]), f"{finding.check:20} {finding.what}"
    )
    if finding.mend:
        line.append(f"\n     {'':20} {finding.mend}", style="italic")
    Console(soft_wrap=True).print(line)
