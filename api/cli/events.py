"""`appizer events`."""

import asyncio
import contextlib
from contextlib import aclosing
from datetime import UTC, datetime, timedelta

import click
import msgspec

from api.cli.apps import all_apps, chosen_app, reading
from api.cli.instance import data_option, settings_for
from api.cli.output import escaped, json_option, print_json, say
from domain.catalogue import CATEGORIES
from domain.errors import NotFound
from infrastructure import feed, relay
from infrastructure.cloud_events import SYSTEM, CloudEvent
from infrastructure.database import open_log
from infrastructure.event_store.reader import read_head
from infrastructure.message_bus import BusError
from infrastructure.settings import Settings

# What stands last in a subject. A topic of a newer version is `other`; `feed` says that the feed
# begins again, in a message without events.
FEED_CATEGORIES = (*sorted(set(CATEGORIES.values())), "other", "feed")
_NAMED_APPS = 10
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class Since(click.ParamType[datetime]):
    """`10m`, `2h`, `1d`, or a time such as 2026-05-01T12:00:00Z (UTC if it names no zone)."""

    name = "when"

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        if value[:-1].isdigit() and value[-1] in _UNITS:
            return datetime.now(UTC) - timedelta(**{_UNITS[value[-1]]: int(value[:-1])})
        try:
            time = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is neither 10m, 2h, 1d nor 2026-05-01T12:00:00Z", param, ctx)
        return time if time.tzinfo else time.replace(tzinfo=UTC)


class Wanted(msgspec.Struct, frozen=True):
    """`count`: how many events, None for all there will ever be."""

    subjects: str
    start: datetime | int | None
    count: int | None


@click.group()
def command() -> None:
    """Watch events as they are published on NATS."""


@command.command("tail")
@click.option(
    "--app", metavar="APP_ID",
    help=f"Of this app only; `{SYSTEM}` for what belongs to no app.",
)  # fmt: skip
@click.option("--category", type=click.Choice(FEED_CATEGORIES), help="Of this category only.")
@click.option("--from-position", type=click.IntRange(1), help="From this position of the log on.")
@click.option("--since", type=Since(), help="What was published since: 10m, 2h, 1d, or a time.")
@click.option("--count", type=click.IntRange(1), help="Stop after so many events.")
@data_option
@json_option
def tail(  # noqa: PLR0913  one per option
    *,
    app: str | None,
    category: str | None,
    from_position: int | None,
    since: datetime | None,
    count: int | None,
    data: str | None,
    as_json: bool,
) -> None:
    """Print new events as they come, or all since a position or a time.

    NATS keeps them for a week, see APPIZER_RETENTION_OF_FEED_SECONDS; `appizer events refill`
    brings back older ones.

    \b
    appizer events tail
    appizer events tail --since 10m --category tracked --json
    appizer events tail --from-position 1 --count 10
    """  # noqa: D301  \b is click's sign for lines to keep
    if from_position is not None and since is not None:
        raise click.UsageError("give --from-position or --since, not both")
    settings = settings_for(data)
    if from_position is not None:
        _check_is_on_log(settings, from_position)
    owner = "*" if app is None else _owner(settings, app)
    wanted = Wanted(f"appizer.v1.{owner}.{category or '*'}", from_position or since, count)
    asyncio.run(_print(settings.nats_url, wanted, as_json=as_json))


def _check_is_on_log(settings: Settings, position: int) -> None:
    """Else it would wait until so much is written. The very next one may be waited for."""
    with open_log(settings.database_url) as log:
        head = read_head(log)
    if position > head + 1:
        raise click.UsageError(
            f"--from-position: {position} is beyond the end of the log, position {head}"
        )


def _owner(settings: Settings, app: str) -> str:
    """The part of the subject. Nobody publishes for an app that there is not: it would wait for
    ever.
    """
    if app == SYSTEM:
        return app
    try:
        return str(chosen_app(settings, app))
    except (click.UsageError, NotFound):
        known = ", ".join([*_known_apps(settings), SYSTEM])
        raise click.UsageError(f"--app {app}: no such app; there are {known}") from None


def _known_apps(settings: Settings) -> list[str]:
    with contextlib.suppress(NotFound), reading(settings) as connection:
        return [str(app["id"]) for app in all_apps(connection)][:_NAMED_APPS]
    return []


@command.command("refill")
@click.option(
    "--from", "first", type=click.IntRange(1), default=1, show_default=True, metavar="POSITION",
    help="The first position to publish again.",
)  # fmt: skip
@data_option
@json_option
def refill(*, first: int, data: str | None, as_json: bool) -> None:
    """Fill the NATS stream again from the log.

    What the stream holds is dropped, and the relay publishes everything from POSITION on again.
    Followers get those events once more, with the same ids.

    \b
    appizer events refill --from 1
    """  # noqa: D301  \b is click's sign for lines to keep
    try:
        asyncio.run(relay.refill(settings_for(data), first))
    except BusError as error:
        raise click.ClickException(str(error)) from None
    if as_json:
        print_json({"from_position": first})
    else:
        say(f"the relay publishes the log again from position {first}")


async def _print(nats_url: str, wanted: Wanted, *, as_json: bool) -> None:
    left = wanted.count
    following = feed.follow(
        nats_url, wanted.subjects, wanted.start, lambda error: say(f"{error}; trying again")
    )
    async with aclosing(following) as events:
        async for event in events:
            if as_json:
                print_json(event)
            else:
                click.echo(_line(event))
            left = None if left is None else left - 1
            if left == 0:
                return


def _line(event: CloudEvent) -> str:
    """Time, position, topic, app, payload: what one looks for stands on the left."""
    data = bytes(event.data).decode() if isinstance(event.data, msgspec.Raw) else "-"
    owner = event.source.rpartition("/")[2]
    return f"{event.time:%H:%M:%S} {event.position:>9} {event.type:<14} {owner:<36} {escaped(data)}"
