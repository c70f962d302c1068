"""Durable appends without a timer: what arrives while a commit is in flight joins the next.

Measured, a 5 ms timer was slower at every load (docs/benchmarks.md, Group commit).
"""

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
import psycopg
from prometheus_client import Counter, Gauge, Histogram
from psycopg import AsyncConnection

from commands.ports import NewEvent, Receipt
from domain.errors import Overloaded
from infrastructure import codec
from infrastructure.database import REACHABLE
from infrastructure.event_store import binary

_APPEND = "SELECT head, known_ordinals, known_positions FROM log.append_events(%b, %b, %b, %b, %b)"
_STORED = (
    "SELECT notification_id, topic, state FROM log.events WHERE notification_id = ANY(%s::bigint[])"
)
_RETRY_AFTER = 1
_PAUSE_AFTER_FAILURE = 0.2
_LOOK_FIRST = 100  # commits after one that held a duplicate: where one was, there are more
_COMMIT_SECONDS = 10.0  # somebody else holds the log's lock, or the disk hangs: say so

_latency = Histogram(
    "appizer_append_seconds",
    "From the start of an append to its commit",
    buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 5),
)
_size = Histogram(
    "appizer_append_events", "Events in one commit", buckets=(1, 2, 5, 10, 50, 100, 250, 500, 1000)
)
_depth = Gauge("appizer_append_queue_events", "Events waiting for a commit")
_known = Counter("appizer_append_duplicates", "Events that the log had already")


class _Waiting(NamedTuple):
    events: Sequence[NewEvent]
    answer: asyncio.Future[list[Receipt]]


class GroupCommit:
    """commands.ports.Log. One connection, one commit in flight, a bounded queue before it."""

    def __init__(self, database_url: str, *, queue_events: int, commit_events: int) -> None:
        self._database_url = database_url
        self._queue_events = queue_events
        self._commit_events = commit_events
        self._queue: deque[_Waiting] = deque()
        self._queued = 0
        self._unanswered = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._arrived = asyncio.Event()
        self._connection: AsyncConnection[Any] | None = None
        self.writer: asyncio.Task[None]  # ends only by a fault of ours
        self._failing = False
        self._look_first = 0  # how many more commits look for duplicates before they insert

    def start(self) -> None:
        _depth.set_function(lambda: self._queued)
        self.writer = asyncio.create_task(self._write(), name="group commit")

    async def close(self) -> None:
        """Answers whoever waits, then closes."""
        await self._idle.wait()
        self.writer.cancel()
        await asyncio.gather(self.writer, return_exceptions=True)
        await self._disconnect()

    async def append(self, events: Sequence[NewEvent]) -> list[Receipt]:
        """Raises Overloaded when the queue is full or the store can't be reached; then the caller
        can't know whether the events are stored, and sending them again is safe.
        """
        if not events:
            return []
        if self._failing or self._queued + len(events) > self._queue_events:
            raise Overloaded("the event store can't keep up; send it again", _RETRY_AFTER)
        answer: asyncio.Future[list[Receipt]] = asyncio.get_running_loop().create_future()
        self._unanswered += 1
        self._idle.clear()
        self._queue.append(_Waiting(events, answer))
        self._queued += len(events)
        self._arrived.set()
        return await answer

    async def _write(self) -> None:
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while self._queue:
                await self._commit(self._next_group())

    def _next_group(self) -> list[_Waiting]:
        """At least one caller, then as many as fit: a long commit would hold up aggregates."""
        group = [self._queue.popleft()]
        size = len(group[0].events)
        while self._queue and size + len(self._queue[0].events) <= self._commit_events:
            group.append(self._queue.popleft())
            size += len(group[-1].events)
        self._queued -= size
        _size.observe(size)
        return group

    async def _commit(self, group: list[_Waiting]) -> None:
        started = time.perf_counter()
        try:
            async with asyncio.timeout(_COMMIT_SECONDS):
                receipts = await self._append([event for one in group for event in one.events])
        except (psycopg.Error, OSError) as error:
            await self._fail(group, error)
            return
        except Exception as error:
            self._refuse_all(group, error)
            raise  # not a store's failure but ours: end the process, it is restarted
        _latency.observe(time.perf_counter() - started)
        self._failing = False
        taken = 0
        for one in group:
            self._answer(one, receipts[taken : taken + len(one.events)])
            taken += len(one.events)

    async def _append(self, events: list[NewEvent]) -> list[Receipt]:
        first: dict[bytes, int] = {}
        ordinals = [first.setdefault(event.stream_id, len(first)) for event in events]
        fresh = events if len(first) == len(events) else _first_of_each(events)
        receipts = await self._store(fresh)
        if fresh is events:
            return receipts
        return _with_repeats(events, ordinals, receipts)

    async def _store(self, events: Sequence[NewEvent]) -> list[Receipt]:
        connection = await self._connected()
        look_first = self._look_first > 0
        cursor = await connection.execute(_APPEND, (*columns_of(events), look_first))
        row = await cursor.fetchone()
        assert row is not None
        head, ordinals, positions = row
        self._look_first = _LOOK_FIRST if ordinals else self._look_first - look_first
        if ordinals is None:
            return [Receipt(position) for position in range(head + 1, head + 1 + len(events))]
        _known.inc(len(ordinals))
        known = dict(zip(ordinals, positions, strict=True))
        stored = await self._stored(positions)
        return _numbered(
            len(events), head, known, {ordinal: stored[at] for ordinal, at in known.items()}
        )

    async def _stored(self, positions: list[int]) -> dict[int, msgspec.Struct]:
        """One query for all: an import that is repeated has duplicates only. What this version
        can't read, such as a newer one's, is Unreadable: sending it again must not end the writer.
        """
        connection = await self._connected()
        cursor = connection.cursor(binary=True)
        await cursor.execute(_STORED, (positions,))
        return {at: codec.read(topic, state) async for at, topic, state in cursor}

    async def _connected(self) -> AsyncConnection[Any]:
        if self._connection is None or self._connection.closed:
            self._connection = await AsyncConnection.connect(
                self._database_url, autocommit=True, prepare_threshold=0, **REACHABLE
            )
            binary.register(self._connection)
        return self._connection

    async def _fail(self, group: list[_Waiting], error: Exception) -> None:
        """Everyone who waits is told at once; the store is tried again after a pause."""
        self._failing = True
        refusal = Overloaded(f"the event store is not reachable ({type(error).__name__})")
        self._refuse_all(group, refusal)
        await self._disconnect()
        await asyncio.sleep(_PAUSE_AFTER_FAILURE)
        await self._probe()

    def _answer(self, one: _Waiting, receipts: list[Receipt]) -> None:
        if not one.answer.done():  # else the caller has gone
            one.answer.set_result(receipts)
        self._count_answered(1)

    def _refuse_all(self, group: list[_Waiting], error: Exception) -> None:
        waiting = (*group, *self._queue)
        for one in waiting:
            if not one.answer.done():
                one.answer.set_exception(error)
        self._queue.clear()
        self._queued = 0
        self._count_answered(len(waiting))

    def _count_answered(self, callers: int) -> None:
        self._unanswered -= callers
        if not self._unanswered:
            self._idle.set()

    async def _disconnect(self) -> None:
        if self._connection is not None:
            await self._connection.close()
            self._connection = None

    async def _probe(self) -> None:
        while self._failing:
            try:
                await (await self._connected()).execute("SELECT 1")
                self._failing = False
            except (psycopg.Error, OSError):
                await self._disconnect()
                await asyncio.sleep(_PAUSE_AFTER_FAILURE)


def columns_of(
    events: Sequence[NewEvent],
) -> tuple[binary.UuidArray, binary.UuidArray, binary.TextArray, binary.ByteaArray]:
    apps: dict[UUID, bytes] = {}
    return (
        binary.uuids([event.stream_id for event in events]),
        binary.uuids(
            [apps.get(e.app_id) or apps.setdefault(e.app_id, e.app_id.bytes) for e in events]
        ),
        binary.texts([_topic(event.event) for event in events]),
        binary.byteas([codec.encode(event.event) for event in events]),
    )


_topics: dict[type, bytes] = {}


def _topic(event: msgspec.Struct) -> bytes:
    kind = type(event)
    known = _topics.get(kind)
    if known is None:
        known = _topics[kind] = kind.TOPIC.encode()  # type: ignore[attr-defined]  # every event has one
    return known


def _first_of_each(events: Sequence[NewEvent]) -> list[NewEvent]:
    first: dict[bytes, NewEvent] = {}
    for event in events:
        first.setdefault(event.stream_id, event)
    return list(first.values())


def _numbered(
    count: int, head: int, known: dict[int, int], stored: dict[int, msgspec.Struct]
) -> list[Receipt]:
    receipts = []
    position = head
    for ordinal in range(1, count + 1):
        if ordinal in known:
            receipts.append(Receipt(known[ordinal], stored[ordinal]))
        else:
            position += 1
            receipts.append(Receipt(position))
    return receipts


def _with_repeats(
    events: Sequence[NewEvent], ordinals: list[int], receipts: list[Receipt]
) -> list[Receipt]:
    """The same id twice in one commit: the first one is the event, the rest are its duplicates."""
    answers = []
    seen: dict[int, msgspec.Struct] = {}
    for event, ordinal in zip(events, ordinals, strict=True):
        receipt = receipts[ordinal]
        if ordinal in seen and receipt.stored is None:
            answers.append(Receipt(receipt.position, seen[ordinal]))
        else:
            answers.append(receipt)
            seen.setdefault(ordinal, event.event)
    return answers
