"""Running an import: what it needs, what it shows meanwhile, and how it ends."""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TextIO
from uuid import UUID

import click
import msgspec

from api.cli.apps import chosen_app
from api.cli.exits import Exit
from api.cli.import_screen import Screen, wait_for_read_models
from api.cli.instance import settings_for
from api.cli.output import escaped, print_json, say
from api.dialects import native, users
from commands.import_plan import EVENTS, SAMPLE_ROWS, USERS, Plan, Row, Shape, Wanted, plan
from commands.importing import ROW, Drafting, Import, Refusal, Settled, import_rows
from commands.ingest import Message
from domain.admission import Arrival, arrived
from domain.errors import AppizerError, Rejected
from domain.tracking import Client
from infrastructure.barred import BarredIds
from infrastructure.csv_rows import Unreadable
from infrastructure.database import open_engine, open_log
from infrastructure.event_store.group_commit import GroupCommit
from infrastructure.event_store.reader import read_log_id
from infrastructure.import_files import Milestone, digest
from infrastructure.settings import Settings

_SHOWN_REFUSALS = 5
_SHOWN_DRY = 5
_MILESTONE_SECONDS = 1.0
_COUNTING = 2  # raise it when the same file has other rows than before


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What all kinds of import understand. `wait`: seconds for the read models to catch up."""

    data: str | None
    app: str | None
    as_json: bool
    dry_run: bool
    limit: int | None
    batch: int
    rejects: str | None
    wait: float


class Source(Protocol):
    """How far it is read, in units of its own; `total` is None when nobody knows. `columns` are
    those that its head names, if it has one.
    """

    total: int | None
    columns: list[str]

    @property
    def done(self) -> int: ...


class Origin(NamedTuple):
    """`file`: a name under which the same rows are found again in the same order. `options`: those
    that decide what a row says, so that another choice makes another event of it.
    """

    source: Source
    rows: Iterator[Row]
    options: str
    file: str | None = None


class Kind(NamedTuple):
    """What the rows are, and the dialect by whose rules they are judged."""

    noun: str
    shape: Shape
    dialect: str
    admit: Callable[[bytes, Arrival], Message]


OF_EVENTS = Kind("event", EVENTS, native.NAME, native.admit)
OF_USERS = Kind("user", USERS, users.NAME, users.admit)


class Summary(msgspec.Struct, kw_only=True):
    """`conflicts`: rows whose message id belongs to another event, which stays as it is;
    `repeated`: those of them for which that is another row of the same import; `skipped`: rows
    that an interrupted run is known to have done; `complete`: to the last row.
    """

    accepted: int = 0
    duplicates: int = 0
    conflicts: int = 0
    repeated: int = 0
    rejected: int = 0
    skipped: int = 0
    seconds: float = 0.0
    events_per_second: int = 0
    position: int = 0
    caught_up: bool | None = None
    complete: bool = False

    def add(self, settled: Settled) -> None:
        counts = {"accepted": 0, "duplicate": 0, "conflict": 0, "rejected": 0}
        for outcome in settled.outcomes:
            counts[outcome.status] += 1
        self.position = max(self.position, settled.position)
        self.accepted += counts["accepted"]
        self.duplicates += counts["duplicate"]
        self.conflicts += counts["conflict"]
        self.rejected += counts["rejected"]
        self.repeated += sum(refusal.repeats for refusal in settled.refusals)

    @property
    def refused(self) -> int:
        return self.rejected + self.conflicts

    @property
    def rows(self) -> int:
        return self.accepted + self.duplicates + self.conflicts + self.rejected


def run(options: Options, origin: Origin, wanted: Wanted, kind: Kind = OF_EVENTS) -> int:
    """The exit code. Raises NotAllTaken. Says what was stored when Ctrl-C ends it."""
    summary = Summary()
    try:
        return _run(options, origin, wanted, kind, summary)
    except KeyboardInterrupt:
        say(_interrupted(summary))
        raise


def _run(options: Options, origin: Origin, wanted: Wanted, kind: Kind, summary: Summary) -> int:
    sample = list(islice(origin.rows, SAMPLE_ROWS))
    if not sample:
        summary.complete = True
        return _finish(options, summary, origin)
    planned = _planned(origin.source.columns, sample, wanted, kind)
    if options.dry_run:
        return _preview(planned, sample, kind)
    settings = settings_for(options.data)
    rows = islice(chain(sample, origin.rows), options.limit)
    job = _Job(options, settings, origin._replace(rows=rows), planned, kind)
    asyncio.run(_import(job, summary))
    summary.complete = True
    if options.wait and summary.position:
        summary.caught_up = wait_for_read_models(settings, summary.position, options.wait)
    return _finish(options, summary, origin)


def _planned(columns: Sequence[str], sample: Sequence[Row], wanted: Wanted, kind: Kind) -> Plan:
    """Raises click.UsageError, and Unreadable when there is no good row to plan by."""
    good = [row for row in sample if not row.problem]
    if not columns and not good:
        raise Unreadable(f"no row of the first {len(sample):,} can be read: {_told(sample[0])}")
    names = columns or list(dict.fromkeys(n for row in good for n in row.cells))
    try:
        return plan(names, sample, wanted, kind.shape)
    except Rejected as error:
        raise click.UsageError(error.message) from None


def _told(row: Row) -> str:
    return f"row {row.number} {row.problem}"


def _preview(planned: Plan, sample: Sequence[Row], kind: Kind) -> int:
    columns = {f: c for f, c in planned.columns.items() if any(c in row.cells for row in sample)}
    say("fields from columns: " + ", ".join(f"{f} = {escaped(c)}" for f, c in columns.items()))
    drafting = Drafting(planned, kind.shape)
    arrival = arrived(received_at=_now(), client=Client(), new_id=str)
    for row in sample[:_SHOWN_DRY]:
        try:
            body = drafting.body(row)
            kind.admit(body, arrival)
            print_json({"row": row.number, kind.noun: msgspec.Raw(body)})
        except Rejected as error:
            print_json({"row": row.number, "field": error.field, "issue": error.issue})
    return Exit.OK


class _Job(NamedTuple):
    options: Options
    settings: Settings
    origin: Origin
    planned: Plan
    kind: Kind


async def _import(given: _Job, summary: Summary) -> None:
    options, settings, origin, planned, kind = given
    app_id = chosen_app(settings, options.app)
    milestone = _milestone(settings, origin, app_id, planned)
    log = GroupCommit(
        settings.database_url,
        queue_events=max(settings.queue_events, 4 * options.batch),
        commit_events=settings.commit_events,
    )
    engine = open_engine(settings.database_url, pool_size=1)
    barred = BarredIds(engine)
    job = Import(
        log=log,
        barred=barred.of,
        clock=_now,
        app_id=app_id,
        admit=kind.admit,
        dialect=kind.dialect,
        batch=options.batch,
    )
    log.start()
    try:
        with ExitStack() as stack:
            watcher = Watcher(stack, options, origin.source, milestone, summary)
            summary.skipped = skip = milestone.read()
            drafting = Drafting(planned, kind.shape)
            async for settled in import_rows(job, origin.rows, drafting, skip=skip):
                watcher.see(settled)
            milestone.clear()
            watcher.done()
    finally:
        await log.close()
        barred.close()
        engine.dispose()


def _milestone(settings: Settings, origin: Origin, app_id: UUID, planned: Plan) -> Milestone:
    """Of this file, into this app, in this log, mapped this way, its rows counted in this way."""
    if origin.file is None or not settings.data:
        return Milestone("", None)
    with closing(open_log(settings.database_url)) as connection:
        log_id = read_log_id(connection)
    settled = [str(app_id), str(log_id), planned, _COUNTING]
    return Milestone(settings.data, digest(origin.file, settled))


class Watcher:
    """Counts, shows, writes rejects and remembers how far the file is done."""

    def __init__(
        self,
        stack: ExitStack,
        options: Options,
        source: Source,
        milestone: Milestone,
        summary: Summary,
    ) -> None:
        self._summary = summary
        self._source = source
        self._milestone = milestone
        self._screen = stack.enter_context(Screen(source.total))
        self._rejects: TextIO | None = None
        if options.rejects:
            file = Path(options.rejects)
            self._rejects = stack.enter_context(file.open("w", encoding="utf-8"))
        self._began = self._marked = time.monotonic()

    def see(self, settled: Settled) -> None:
        shown = self._summary.refused
        self._summary.add(settled)
        for refusal in settled.refusals:
            shown += 1
            self._tell(refusal, shown)
        summary = self._summary
        self._screen.update(
            self._source.done,
            summary.rows,
            f"{summary.accepted:,} accepted, {summary.duplicates:,} duplicates,"
            f" {summary.refused:,} rejected",
        )
        if time.monotonic() - self._marked > _MILESTONE_SECONDS:
            self._milestone.write(settled.rows)
            self._marked = time.monotonic()

    def done(self) -> None:
        summary = self._summary
        summary.seconds = round(time.monotonic() - self._began, 2)
        summary.events_per_second = round(summary.rows / max(summary.seconds, 0.01))

    def _tell(self, refusal: Refusal, number: int) -> None:
        if number <= _SHOWN_REFUSALS:
            field = "" if refusal.field == ROW else f"{escaped(refusal.field)} "
            say(f"row {refusal.row.number}: {field}{escaped(refusal.issue)}")
        if number == _SHOWN_REFUSALS + 1:
            say("more rows were not taken; see: appizer failed list")
        if self._rejects is not None:
            self._rejects.write(_as_line(refusal))


def _as_line(refusal: Refusal) -> str:
    said: dict[str, Any] = {
        "row": refusal.row.number,
        "field": refusal.field,
        "issue": refusal.issue,
        "cells": refusal.row.cells,
    }
    try:
        return msgspec.json.encode(said).decode() + "\n"
    except UnicodeEncodeError:
        said["cells"] = ascii(refusal.row.cells)
        return msgspec.json.encode(said).decode() + "\n"


def _interrupted(summary: Summary) -> str:
    if summary.complete:
        return "interrupted; all rows are stored, and the read models will catch up"
    rows = summary.skipped + summary.rows
    return (
        f"interrupted after {rows:,} rows, {summary.accepted:,} of them stored now; what was on its"
        " way may be stored too. The same command again continues and stores nothing twice"
    )


def _finish(options: Options, summary: Summary, origin: Origin) -> int:
    if options.as_json:
        print_json(summary)
    else:
        click.echo(_sentence(summary))
    if summary.refused:
        raise NotAllTaken(summary, origin.options)
    return Exit.OK


def _rows(count: int, text: str) -> str:
    return f"{count:,} {'row' if count == 1 else 'rows'} {text}"


def _why(summary: Summary, options: str) -> str:
    older = summary.conflicts - summary.repeated
    said = []
    if summary.rejected:
        said.append(_rows(summary.rejected, "rejected"))
    if summary.repeated:
        said.append(_rows(summary.repeated, "with the message id of another row of the same file"))
    if older:
        said.append(_rows(older, "with the message id of another event, which stays as it is"))
    mend = "; they are kept: appizer failed list"
    if older:
        mend += f". Was it imported before with another {options}, or by an older version?"
    return ", ".join(said) + mend


class NotAllTaken(AppizerError):
    """The others are. Details: `rejected`, `conflicts`, and of those `repeated`."""

    code = "ROWS_REJECTED"

    def __init__(self, summary: Summary, options: str) -> None:
        super().__init__(
            _why(summary, options),
            rejected=summary.rejected,
            conflicts=summary.conflicts,
            repeated=summary.repeated,
        )


def _sentence(summary: Summary) -> str:
    skipped = f"{summary.skipped:,} done before, " if summary.skipped else ""
    conflicts = f"{summary.conflicts:,} in conflict, " if summary.conflicts else ""
    last = f"; last position {summary.position:,}" if summary.position else ""
    return (
        f"{summary.accepted:,} accepted, {summary.duplicates:,} duplicates, {skipped}{conflicts}"
        f"{summary.rejected:,} rejected in {summary.seconds:,.1f} s"
        f" ({summary.events_per_second:,} rows/s){last}"
    )


def _now() -> datetime:
    return datetime.now(UTC)
