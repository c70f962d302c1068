"""`appizer up`."""

import json
import os
import shlex
import sys
import time

import click
from rich.console import Console
from rich.status import Status

from api.cli.instance import chosen_directory, instance_for, warn_of_settings
from infrastructure.embedded.instance import Instance, Quickstart
from infrastructure.embedded.supervisor import Supervisor

_PORT = 8080


class Screen:
    """A spinner for the step at work on a terminal; plain lines elsewhere."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self._console = Console(highlight=False, soft_wrap=True)
        self._status: Status | None = None
        self._label = ""
        self._began = self._first = time.monotonic()

    def step(self, label: str) -> None:
        self._finish_step()
        self._label, self._began = label, time.monotonic()
        if self._console.is_terminal:
            self._status = self._console.status(label)
            self._status.start()

    def ready(self, quickstart: Quickstart, position: int) -> None:
        self._finish_step()
        seconds = time.monotonic() - self._first
        self._say(f"\nStarted in {seconds:.1f} s. Keys: {self._instance.quickstart_file}\n")
        self._say("Send an event:\n" + send_example(quickstart))
        self._say(
            "\nAsk for it; min_position, which the first command answers, waits for the event:\n"
            + ask_example(quickstart, position)
        )
        self._say("\nCtrl-C stops everything.")
        self._say(f"ready {quickstart.url}")

    def notice(self, text: str) -> None:
        self.close()
        self._say(text)

    def close(self) -> None:
        if self._status is not None:
            self._status.stop()
            self._status = None

    def _finish_step(self) -> None:
        self.close()
        if self._label:
            self._say(f"  {time.monotonic() - self._began:5.1f} s  {self._label}")
            self._label = ""

    def _say(self, text: str) -> None:
        self._console.print(text, markup=False)
        sys.stdout.flush()


def send_example(quickstart: Quickstart) -> str:
    """A command for a shell."""
    body = json.dumps({"event_name": "signed_up", "user_id": "ada"})
    return (
        f"  curl -X POST {quickstart.url}/v1/events"
        f" -H {shlex.quote(f'Authorization: Bearer {quickstart.write_key}')}"
        f" -H 'Content-Type: application/json' -d {shlex.quote(body)}"
    )


def ask_example(quickstart: Quickstart, position: int) -> str:
    """A command for a shell. Without a position it would be too early, straight after the event."""
    url = shlex.quote(f"{quickstart.url}/v1/users/ada/events?min_position={position}")
    return f"  curl {url} -H {shlex.quote(f'Authorization: Bearer {quickstart.secret_key}')}"


@click.command()
@click.option(
    "--data", metavar="DIR", type=click.Path(file_okay=False), callback=chosen_directory,
    help="Where everything is kept. [default: APPIZER_DATA, else /var/lib/appizer as root,"
    " ~/.local/share/appizer else]",
)  # fmt: skip
@click.option(
    "--port", type=click.IntRange(1, 65535), envvar="APPIZER_PORT",
    help="Where HTTP is served. [default: where it was at the last start; 8080 at the first]",
)  # fmt: skip
@click.option(
    "--host", default="127.0.0.1", envvar="APPIZER_HOST", show_default=True,
    help="The address to listen on; 0.0.0.0 for all. There is no TLS: put a proxy in front.",
)  # fmt: skip
def command(data: str | None, port: int | None, host: str) -> None:
    """Run everything on this machine: Postgres, NATS, the analytics engine and all roles.

    The first start makes an app and its keys and writes them to DIR/quickstart.json. The last
    line of a start begins with `ready`. Ctrl-C stops everything; nothing that was acknowledged
    is lost, not even by kill -9.
    """
    instance = instance_for(data)
    chosen = port or instance.port() or _PORT
    warn_of_settings()
    if os.environ.get("APPIZER_METRICS_PORT", "0") != "0":
        told = f"APPIZER_METRICS_PORT is not used by `up`: /metrics on port {chosen} has it all"
        click.echo(f"warning: {told}", err=True)
    screen = Screen(instance)
    try:
        Supervisor(instance, host=host, port=chosen, watcher=screen).run()
    finally:
        screen.close()
