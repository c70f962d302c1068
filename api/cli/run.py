"""`appizer run ROLE`."""

import importlib
import os
from collections.abc import Callable

import click

from api.cli.instance import warn_of_settings
from infrastructure.settings import Settings, load

# Role -> module:function; the function takes the settings and returns after SIGTERM, or when all
# is done, if it has an end.
ROLES = {
    "migrate": "infrastructure.migrate:run",
    "commands": "api.serve:run_commands",
    "queries": "api.serve:run_queries",
    "api": "api.serve:run_api",
    "projector": "infrastructure.projector:run",
    "relay": "infrastructure.relay:run",
    "reactor": "infrastructure.reactor:run",
    "engine": "infrastructure.engine_host:run",
}
_NICE = 5


def entry_point(role: str) -> Callable[[Settings], None]:
    module, _, name = ROLES[role].partition(":")
    found: Callable[[Settings], None] = getattr(importlib.import_module(module), name)
    return found


@click.command()
@click.argument("role", type=click.Choice(list(ROLES)))
@click.option("--background", is_flag=True, help="Leave the processors to others first (nice 5).")
def command(role: str, *, background: bool) -> None:
    """Run ROLE until SIGTERM, configured by APPIZER_* variables alone.

    \b
    migrate    brings the database's schema up to date, and ends
    commands   takes events in and changes things
    queries    answers questions
    api        both of them on one port
    projector  keeps the read models up with the log
    relay      publishes the log on NATS
    reactor    keeps live segments up with the events
    engine     hosts the embedded analytics engine
    """  # noqa: D301  click's mark for a paragraph that keeps its lines
    warn_of_settings()
    settings = load()
    if background:
        os.nice(_NICE)
    _use_uvloop()
    entry_point(role)(settings)


def _use_uvloop() -> None:
    try:
        import uvloop
    except ImportError:  # not made for this platform: slower, not different
        return
    uvloop.install()
