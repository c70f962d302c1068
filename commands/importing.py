"""Rows of a file become events on the log, or what is known of people, under the rules that the
API has.

A row is named by a message id of its own column, or by its content and its place among equal
rows. So a file that is imported again, or has grown, adds only what is new.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from hashlib import blake2b
from itertools import islice
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec

from commands.import_places import Places
from commands.import_plan import EVENTS, Plan, Row, Shape, parsed
from commands.import_times import moment
from commands.ingest import (
    NOT_REPLAYABLE,
    Message,
    Outcome,
    Submitted,
    Unjudged,
    in_order,
    refused,
    take,
)
from commands.ports import Clock, Log
from domain.admission import Arrival, arrived
from domain.erasures import Barred
from domain.errors import Overloaded, Rejected
from domain.limits import MAX_EVENT_BYTES
from domain.tracking import Client, Refused

SOURCE = "import"
ROW = "row"  # the field of a refusal that is about no single field
_IN_FLIGHT = 3  # batches: one is committed, one waits, one is being made
_TRIES = 30


# --- a row becomes a message ---------------------------------------------------------------


class Drafting:
    """Rows to bodies in our own dialects. Remembers a hash (some 100 bytes) of each different row
    that has no message id of its own.
    """

    def __init__(self, plan: Plan, shape: Shape = EVENTS) -> None:
        self._plan = plan
        self._shape = shape
        self._zone = ZoneInfo(plan.zone)
        self._named = plan.columns.items()
        self._own = frozenset(plan.columns.values())
        self._seen: dict[bytes, int] = {}
        constants = plan.constants.items()
        self._fields = {name: value for name, value in constants if name in shape.names}
        self._others = {name: value for name, value in constants if name not in shape.names}
        self._salt = _salt(plan.constants)

    def body(self, row: Row) -> bytes:
        """Raises Rejected for a row that can't be read whole. Call it for every row in turn, or
        `message_id` for those that are skipped.
        """
        message_id = self.message_id(row)
        self._check(row)
        message = self._fields | {"message_id": message_id}
        for field, column in self._named:
            value = _cell(row.cells, column)
            if value is not None:
                message[field] = value
        shape = self._shape
        for field, spelt in shape.spelt.items():
            message[spelt] = message.pop(field, None)
        if shape.timed or "timestamp" in message:
            message["timestamp"] = moment(message.get("timestamp"), self._zone)
        for name, kind in shape.whole.items():
            if isinstance(row.cells.get(name), kind):
                message[name] = row.cells[name]
        message[shape.free[0]] = self._other(row.cells)
        return _encoded(message)

    def message_id(self, row: Row) -> Any:
        """As the row says it, of whatever type: the rules judge it."""
        column = self._plan.columns.get("message_id")
        given = None if column is None else _cell(row.cells, column)
        if given is not None:
            return given
        content = blake2b(_content(row.cells) + self._salt, digest_size=16).digest()
        before = self._seen.get(content, 0)
        self._seen[content] = before + 1
        name = f"{self._shape.prefix}-{content.hex()}"
        return f"{name}-{before + 1}" if before else name

    def _check(self, row: Row) -> None:
        if row.problem is not None:
            raise Rejected(ROW, row.problem)
        shapes = dict.fromkeys(self._shape.free, dict) | dict(self._shape.whole)
        for name in sorted((shapes.keys() & row.cells.keys()) - self._own if row.is_json else ()):
            if not isinstance(row.cells[name], shapes[name]):
                raise Rejected(name, f"must be a JSON {_SHAPES[shapes[name]]}")

    def _other(self, cells: dict[str, Any]) -> dict[str, Any]:
        """What is no field."""
        others: dict[str, Any] = dict(self._others)
        inside: dict[str, str] = {}
        for name in self._shape.free:
            given = cells.get(name)
            if isinstance(given, int | float | list):  # text may be a column of that name
                raise Rejected(name, "must be a JSON object")
            if isinstance(given, dict):
                others |= given
                for column in given:
                    _check_once(column, inside, name)
        kinds = self._plan.kinds
        for column, value in cells.items():
            if column in self._own or self._is_object(column, value):
                continue
            if column in inside:
                raise Rejected(column, _TWICE.format(inside[column]))
            others[column] = parsed(value) if column in kinds else value
        return others

    def _is_object(self, column: str, value: Any) -> bool:
        """Of the API's own shape; a text column may have the name."""
        if column in self._shape.free:
            return isinstance(value, dict)
        return column in self._shape.whole and isinstance(value, self._shape.whole[column])


_SHAPES: Mapping[type, str] = {dict: "object", list: "array"}
_TWICE = "stands beside `{}` and in it; send it once"


def _check_once(column: str, inside: dict[str, str], name: str) -> None:
    other = inside.setdefault(column, name)
    if other != name:
        raise Rejected(column, f"stands in `{other}` and in `{name}`; send it once")


_encode = msgspec.json.Encoder(order="sorted").encode
_encode_as_given = msgspec.json.Encoder().encode


def _encoded(message: dict[str, Any]) -> bytes:
    try:
        return _encode_as_given(message)
    except UnicodeEncodeError:
        issue = "is not UTF-8; say which encoding it is in, such as --encoding latin-1"
        raise Rejected(ROW, issue) from None


def _content(cells: dict[str, Any]) -> bytes:
    try:
        return _encode(cells)
    except UnicodeEncodeError:
        return repr(sorted(cells.items())).encode(errors="backslashreplace")


def _salt(constants: Mapping[str, Any]) -> bytes:
    """Part of what each row says."""
    read = {n: parsed(v) if isinstance(v, str) else v for n, v in constants.items()}
    return _encode(read) if read else b""


def _cell(cells: dict[str, Any], column: str) -> Any:
    value = cells.get(column)
    return _inside(cells, column) if value is None and "." in column else value


def _inside(cells: dict[str, Any], path: str) -> Any:
    """`user.id` of nested JSON objects."""
    value: Any = cells
    for name in path.split("."):
        if not isinstance(value, dict):
            return None
        value = value.get(name)
    return value


# --- taking them ---------------------------------------------------------------------------


class Refusal(NamedTuple):
    """`repeats`: it has the message id of another row of the same import."""

    row: Row
    field: str
    issue: str
    repeats: bool = False


class Settled(NamedTuple):
    """What became of the rows up to `rows`: `outcomes` of those since the last one; `refusals` are
    of those that were rejected or are in conflict, in their order. `position`: the highest of all.
    """

    rows: int
    outcomes: Sequence[Outcome]
    refusals: Sequence[Refusal]
    position: int


class Import(msgspec.Struct, frozen=True, kw_only=True):
    """`admit` judges a body by the rules of the dialect whose name is `dialect`; `barred` says
    which of the app's ids were erased.
    """

    log: Log
    barred: Callable[[UUID], Awaitable[Barred | None]]
    clock: Clock
    app_id: UUID
    admit: Callable[[bytes, Arrival], Message]
    dialect: str
    batch: int = 1000


class _Batch(NamedTuple):
    rows: list[Row]
    arrival: Arrival
    submitted: list[Submitted]
    refusals: list[Refusal]


async def import_rows(
    job: Import, rows: Iterator[Row], drafting: Drafting, *, skip: int = 0
) -> AsyncIterator[Settled]:
    """In the order of the rows, each after its commit. The first `skip` rows are known to be on
    the log. Raises Overloaded when the store stays away.
    """
    for row in islice(rows, skip):
        drafting.message_id(row)
    places = Places()
    waiting: deque[tuple[_Batch, asyncio.Task[list[Outcome]]]] = deque()
    while batch := _next_batch(job, rows, drafting):
        waiting.append((batch, asyncio.create_task(_take(job, batch.submitted))))
        await asyncio.sleep(0)  # so that it is on its way before the next one is made
        if len(waiting) >= _IN_FLIGHT:
            yield await _settled(job, places, *waiting.popleft())
    while waiting:
        yield await _settled(job, places, *waiting.popleft())


def _next_batch(job: Import, rows: Iterator[Row], drafting: Drafting) -> _Batch | None:
    arrival = arrived(received_at=job.clock(), client=Client(), new_id=str)
    submitted: list[Submitted] = []
    refusals: list[Refusal] = []
    taken = list(islice(rows, job.batch))
    for row in taken:
        body = b""
        try:
            body = drafting.body(row)
            message = job.admit(body, arrival)
            submitted.append(msgspec.structs.replace(message, source=SOURCE))
        except Rejected as error:
            refusals.append(Refusal(row, error.field, error.issue))
            submitted.append(_refused(job, arrival, error, body, row))
    in_order(submitted)
    return _Batch(taken, arrival, submitted, refusals) if taken else None


def _refused(job: Import, arrival: Arrival, error: Rejected, body: bytes, row: Row) -> Refused:
    """Of a row that became no message its cells are kept, as evidence."""
    dialect = job.dialect if 0 < len(body) <= MAX_EVENT_BYTES else NOT_REPLAYABLE
    kept = (body or _content(row.cells))[:MAX_EVENT_BYTES]  # of one too large the beginning
    unjudged = Unjudged(kept, dialect, None, arrival.received_at, None, arrival.client)
    return refused(unjudged, error)


async def _settled(
    job: Import, places: Places, batch: _Batch, task: asyncio.Task[list[Outcome]]
) -> Settled:
    outcomes = await task
    conflicts = _conflicts(batch, outcomes, places)
    refusals = [*batch.refusals, *conflicts, *_barred(batch, outcomes)]
    kept = await _take(job, [_kept(job, batch.arrival, each) for each in conflicts])
    return Settled(
        batch.rows[-1].number,
        outcomes,
        sorted(refusals, key=lambda refusal: refusal.row.number),
        max(outcome.position or 0 for outcome in (*outcomes, *kept)),
    )


def _barred(batch: _Batch, outcomes: Sequence[Outcome]) -> list[Refusal]:
    """Rows that were messages and named an id that was erased."""
    return [
        Refusal(row, outcome.field or "", outcome.reason or "")
        for row, message, outcome in zip(batch.rows, batch.submitted, outcomes, strict=True)
        if outcome.status == "rejected" and not isinstance(message, Refused)
    ]


def _conflicts(batch: _Batch, outcomes: Sequence[Outcome], places: Places) -> list[Refusal]:
    found = []
    for row, message, outcome in zip(batch.rows, batch.submitted, outcomes, strict=True):
        if isinstance(message, Refused) or outcome.position is None:
            continue
        if outcome.status == "conflict":
            twin = places.row_at(outcome.position)
            owner = f"another event, position {outcome.position}"
            if twin is not None:
                owner = f"row {twin} of this file, which says something else"
            issue = f"{message.message_id} belongs to {owner}"
            found.append(Refusal(row, "message_id", issue, repeats=twin is not None))
        else:
            places.add(row.number, outcome.position)
    return found


def _kept(job: Import, arrival: Arrival, refusal: Refusal) -> Refused:
    """Without a body: no replay could take it, as the message id is taken for ever."""
    error = Rejected(refusal.field, refusal.issue)
    return _refused(job, arrival, error, b"", refusal.row)


async def _take(job: Import, submitted: Sequence[Submitted]) -> list[Outcome]:
    """Tries again while the store restarts."""
    for _ in range(_TRIES - 1):
        try:
            return await take(job.log, job.app_id, submitted, await job.barred(job.app_id))
        except Overloaded as error:
            await asyncio.sleep(error.retry_after)
    return await take(job.log, job.app_id, submitted, await job.barred(job.app_id))
