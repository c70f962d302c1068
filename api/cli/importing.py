"""`appizer import csv | jsonl | git | users`."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import click

from api.cli.dates import GitDate
from api.cli.import_run import OF_EVENTS, OF_USERS, Kind, Options, Origin, run
from api.cli.instance import data_option
from api.cli.output import json_option
from commands.import_plan import Row, Wanted
from infrastructure import git_history
from infrastructure.git_history import GitRows, History
from infrastructure.import_files import EventFile

_Decorator = Callable[[Any], Any]


class _Kinds(click.Group):
    """Says what is missing where a file stands in the place of its kind."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in self.commands and Path(name).exists():
            kind = "git" if Path(name).is_dir() else "jsonl" if ".json" in name else "csv"
            raise click.UsageError(f"say what kind it is: appizer import {kind} {name}", ctx)
        return super().resolve_command(ctx, args)


@click.group(cls=_Kinds)
def command() -> None:
    """Import events from a file or a git repository, or people from a file, straight to the log.

    The rules are those of the API. Importing the same again, or a longer version of it, adds only
    what is new; after an interruption (Ctrl-C, exit code 130) run the same command again.

    The exit code is 1 when a row was rejected, or is in conflict: its message id belongs to another
    event. Each is told and kept: appizer failed list
    """


def _common(function: Any) -> Any:
    for option in reversed(
        (
            data_option,
            click.option("--app", metavar="APP_ID", help="Whose. [default: the first app]"),
            click.option("--dry-run", is_flag=True, help="Show the first events; import nothing."),
            click.option("--limit", type=click.IntRange(1), help="Stop after that many rows."),
            click.option(
                "--batch", type=click.IntRange(1, 5000), default=1000, show_default=True,
                help="Rows that are appended at once.",
            ),
            click.option(
                "--rejects", metavar="FILE", type=click.Path(dir_okay=False, writable=True),
                help="Write the rows that were not taken there, as JSON lines.",
            ),
            click.option(
                "--wait", metavar="SECONDS", type=click.FloatRange(0), default=120,
                show_default=True, help="How long to wait for the read models at the end.",
            ),
            click.option(
                "--no-wait", "wait", flag_value=0, type=float, help="The same as --wait 0."
            ),
            json_option,
        )
    ):  # fmt: skip
        function = option(function)
    return function


def _mapping(fields: str, other: str) -> _Decorator:
    """`fields`: what a column may be; `other`: what a column is called that is none of them."""
    options = (
        click.argument("file", type=click.Path(dir_okay=False, exists=True, allow_dash=True)),
        click.option(
            "--map", "columns", metavar="FIELD=COLUMN", multiple=True,
            help=f"Which column is {fields}. Usual names are found without it.",
        ),
        click.option(
            "--set", "constants", metavar="NAME=VALUE", multiple=True,
            help=f"A field or a {other} that every row gets.",
        ),
        click.option(
            "--timezone", default="UTC", show_default=True,
            help="Of timestamps that name no offset.",
        ),
    )  # fmt: skip
    return _all_of(options)


def _text(function: Any) -> Any:
    """How CSV is read."""
    options = (
        click.option(
            "--types", type=click.Choice(["auto", "text"]), default="auto", show_default=True,
            help="auto: a column whose first 1,000 values are all numbers, or all true and false,"
            " is read as such. text: everything stays text.",
        ),
        click.option("--encoding", default="utf-8-sig", show_default=True, help="Such as latin-1."),
        click.option("--delimiter", metavar="CHARACTER", help="[default: found in the first line]"),
    )  # fmt: skip
    return _all_of(options)(function)


def _all_of(options: Sequence[Any]) -> _Decorator:
    def decorate(function: Any) -> Any:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


_of_events = _mapping("event, user_id, anonymous_id, timestamp or message_id", "property")


@command.command("csv")
@_of_events
@_text
@_common
def import_csv(file: str, encoding: str, delimiter: str | None, **given: Any) -> int:
    """Import a CSV file, plain or .gz; FILE may be - for standard input.

    The first line names the columns. Columns that are no field become properties; empty cells
    are left out. A row with a quoted cell that is not closed, or with text behind its closing
    quote, is rejected with its line; the next line goes on. Elsewhere a quote is a character.

    \b
    appizer import csv activity.csv.gz
    appizer import csv visits.csv --map user_id=customer --map timestamp=at --set event=visit
    """  # noqa: D301  \b is click's sign for lines to keep
    return _from_file(
        file, given, lambda f: f.csv_rows(encoding=_codec(encoding), delimiter=_one(delimiter))
    )


@command.command("jsonl")
@_of_events
@_common
def import_jsonl(file: str, **given: Any) -> int:
    """Import JSON lines, plain or .gz; FILE may be - for standard input.

    Members that are no field become properties; those of a member `properties` too. --map finds
    members of members by a path, such as user_id=user.id. Ids are strings, and no key comes twice.

    \b
    appizer import jsonl events.jsonl.gz
    zcat old.gz | appizer import jsonl - --map event=type --dry-run
    """  # noqa: D301  \b is click's sign for lines to keep
    return _from_file(file, given | {"types": "text"}, EventFile.json_rows)


@command.command("users")
@click.option("--id-column", metavar="COLUMN", help="Which column is user_id; as --map has it.")
@_mapping("user_id, anonymous_id, email, phone, timestamp or message_id", "trait")
@_text
@_common
def import_users(
    file: str, id_column: str | None, encoding: str, delimiter: str | None, **given: Any
) -> int:
    """Import people from a file, CSV or JSON lines, plain or .gz; FILE may be - for standard input.

    Each row is an upsert: what it names changes, everything else about the person stays. Columns
    that are no field become traits; empty cells are left out. Members of JSON lines may also have
    the names that POST /v1/users has, such as traits, origin, increment or unset.

    A row may have a timestamp: what it says counts from then on. Without one it counts from the
    import on. Of rows about one person the last counts.

    \b
    appizer import users customers.csv --id-column customer_number
    zcat people.jsonl.gz | appizer import users - --dry-run
    """  # noqa: D301  \b is click's sign for lines to keep
    if id_column is not None:
        given["columns"] = (*given["columns"], f"user_id={id_column}")
    codec, one = _codec(encoding), _one(delimiter)

    def rows(found: EventFile) -> Iterator[Row]:
        if found.begins_as_json():
            return found.json_rows()
        return found.csv_rows(encoding=codec, delimiter=one)

    return _from_file(file, given, rows, OF_USERS)


@command.command("git")
@click.argument("path", type=click.Path(file_okay=False, exists=True), default=".")
@click.option("--project", help="The property `project`. [default: the directory's name]")
@click.option(
    "--since", metavar="DATE", type=GitDate(),
    help="Only commits after it, as git understands dates.",
)  # fmt: skip
@click.option("--lines/--no-lines", default=True, help="Count lines; without it is faster.")
@click.option("--plain-emails", is_flag=True, help="user_id is the e-mail address, not its hash.")
@_common
def import_git(path: str, **given: Any) -> int:
    """Import the history of the git repository at PATH (default: here).

    Events are commit, merge, file_added, file_modified and file_deleted; --limit counts commits.
    user_id is a hash of the author's e-mail address, so that no address is stored.

    Of a file, the property `file` is its whole path, `folder` the path without its name, `path`
    the first part alone (a folder, or a file at the top), `ext` its ending.

    \b
    appizer import git ~/src/linux --since 2020-01-01 --no-lines
    """  # noqa: D301  \b is click's sign for lines to keep
    history = History(
        path=path,
        project=given.pop("project") or git_history.top_level(path),
        since=given.pop("since"),
        limit=given["limit"],
        lines=given.pop("lines"),
        plain_emails=given.pop("plain_emails"),
    )
    source = GitRows(history)
    options = Options(**given | {"limit": None})
    chosen = "--project, --lines or --plain-emails"
    return run(options, Origin(source, source.rows(), chosen), Wanted(typed=False))


def _from_file(
    name: str,
    given: dict[str, Any],
    rows: Callable[[EventFile], Iterator[Row]],
    kind: Kind = OF_EVENTS,
) -> int:
    wanted = Wanted(
        columns=_pairs(given.pop("columns"), "--map"),
        constants=_pairs(given.pop("constants"), "--set"),
        zone=_zone(given.pop("timezone")),
        typed=given.pop("types") == "auto",
    )
    with closing(EventFile(name)) as file:
        origin = Origin(file, rows(file), "--map or --set", name)
        return run(Options(**given), origin, wanted, kind)


def _pairs(given: Sequence[str], option: str) -> dict[str, str]:
    pairs = dict(pair.partition("=")[::2] for pair in given)
    for name, value in pairs.items():
        if not name or not value:
            raise click.UsageError(f"{option} {name}: say NAME=VALUE")
    return pairs


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise click.UsageError(f"--timezone {name}: not an IANA time zone") from None
    return name


def _codec(name: str) -> str:
    try:
        "".encode(name)
    except LookupError:
        raise click.UsageError(f"--encoding {name}: no such encoding") from None
    return name


def _one(delimiter: str | None) -> str | None:
    delimiter = "\t" if delimiter == "\\t" else delimiter
    if delimiter is not None and len(delimiter) != 1:
        raise click.UsageError("--delimiter is one character; \\t for a tab")
    return delimiter
