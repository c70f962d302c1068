"""The role that publishes the log to NATS: every event once, in order, in pages.

A page is a run of positions. It becomes one message per app and category (more when they would
be too large), and each message says which page it belongs to and which part of it it is. Where to
go on is read from the stream's own last message, and every message names the sequence that it
must follow. So a relay that is killed anywhere, or a second one, leaves no gap and no double.
"""

import asyncio
import random
import signal
from collections.abc import Awaitable, Callable, Sequence
from time import monotonic
from typing import Any, NamedTuple
from uuid import UUID

import psycopg
import structlog
from prometheus_client import Counter, Gauge

from domain.errors import Rejected
from infrastructure import cloud_events, garbage, message_bus
from infrastructure.cloud_events import Batch, Row
from infrastructure.database import REACHABLE
from infrastructure.event_store.reader import read_head, read_log_id
from infrastructure.message_bus import Bus, BusError, Message, Outgoing, OutOfStep
from infrastructure.settings import Settings
from infrastructure.telemetry import serve_metrics

PAGE_EVENTS = 4000
PAGE_BYTES = 4 * 1024 * 1024
POLL_SECONDS = 1.0
PACE_SECONDS = 0.05  # between pages that are not full: each costs some 3 ms of CPU along the way
LONGEST_PAUSE_SECONDS = 5.0
STEADY_SECONDS = 10.0  # a session that lasted longer than this was a good one
REMEMBERED_SUBJECTS = 50_000
MARKER_SUBJECT = f"appizer.v1.{cloud_events.SYSTEM}.feed"
_UNREACHABLE = (BusError, psycopg.OperationalError, psycopg.InterfaceError)

_log = structlog.get_logger()
_position = Gauge("appizer_relay_position", "Last position of the log that is in the stream")
_lag = Gauge("appizer_relay_lag_positions", "Positions of the log that are not in the stream yet")
_events = Counter("appizer_relay_events_published", "Events published to NATS")
_messages = Counter("appizer_relay_messages_published", "Messages published to NATS")
_restarts = Counter("appizer_relay_restarts", "Times that the relay began again", ["reason"])

_PAGE = """
    SELECT notification_id, uuid_send(originator_id), originator_version, uuid_send(app_id),
        topic, timestamptz_send(recorded_at), state
    FROM log.events WHERE notification_id > %s ORDER BY notification_id LIMIT %s
"""
_SAVE = """
    INSERT INTO projections.checkpoints (name, version, position, recorded_at)
    SELECT 'relay', 1, notification_id, recorded_at FROM log.events WHERE notification_id = %s
    ON CONFLICT (name) DO UPDATE SET version = 1, position = excluded.position,
        recorded_at = excluded.recorded_at, updated_at = clock_timestamp()
"""
_SAVED = "SELECT position FROM projections.checkpoints WHERE name = 'relay'"

Connect = Callable[[str, str], Awaitable[Bus]]


class Page(NamedTuple):
    """Positions `first` to `last` of one log. Retention may have left holes in between."""

    log: UUID
    first: int
    last: int


class Place(NamedTuple):
    """Which message of which page: the `part`-th (from 1) of `parts`."""

    page: Page
    part: int
    parts: int


class Standing(NamedTuple):
    """Where the stream ends. The relay goes on after `position`, once it has completed `half`, a
    page of which only the events in `present` are there.
    """

    sequence: int
    position: int
    half: Place | None = None
    present: frozenset[int] = frozenset()


def run(settings: Settings) -> None:
    """Until SIGTERM or SIGINT. Waits for Postgres and NATS when they are away; any other error
    ends the process.
    """
    serve_metrics("relay", settings)
    garbage.seldom()
    asyncio.run(_until_told(settings))


async def _until_told(settings: Settings) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await serve(settings, stop)


async def serve(
    settings: Settings, stop: asyncio.Event, connect: Connect = message_bus.connect
) -> None:
    failures = 0
    while not stop.is_set():
        began = monotonic()
        try:
            async with _Session(settings, connect) as relay:
                await relay.follow(stop)
        except OutOfStep as error:
            _restarts.labels("out of step").inc()
            _log.info("another relay was first", reason=str(error))
            await _pause(stop, random.uniform(0.1, 0.5))  # noqa: S311  spreads two relays
        except _UNREACHABLE as error:
            _restarts.labels("unreachable").inc()
            failures = 1 if monotonic() - began > STEADY_SECONDS else min(failures + 1, 10)
            _log.warning("relay waits", reason=_first_line(error))
            await _pause(stop, min(LONGEST_PAUSE_SECONDS, 0.1 * 2**failures))


async def refill(settings: Settings, first: int = 1) -> None:
    """Has the stream filled again from position `first` on. What it held before is dropped;
    followers get the events again, under their same ids. A running relay sees the marker within
    a second, one that starts later sees it at once. Raises Rejected beyond the log's end.
    """
    tail = await asyncio.to_thread(LogTail, settings.database_url)
    try:
        if first > max(head := await asyncio.to_thread(tail.head), 1):
            raise Rejected("--from", f"{first} is beyond the end of the log, position {head}")
        await _refill(settings, Page(tail.log_id, first, first - 1))
    finally:
        tail.close()


async def _refill(settings: Settings, before: Page) -> None:
    """`before`: an empty page, after which the relay goes on."""
    bus = await message_bus.connect(settings.nats_url, "refill")
    try:
        await bus.ensure_stream(settings.retention_of_feed_seconds)
        headers = _headers(before, 1, 1) | {
            "Appizer-First": str(before.first),
            "Appizer-Last": str(before.last),
            "Appizer-Previous": "0",
        }
        marker = Outgoing(MARKER_SUBJECT, b"[]", headers)
        await bus.forget_before(await _put_at_end(bus, marker))
    finally:
        await bus.close()


async def _put_at_end(bus: Bus, message: Outgoing, tries: int = 50) -> int:
    for _ in range(tries):
        sequence, _last = await bus.end()
        try:
            return await bus.publish([message], sequence)
        except OutOfStep:
            continue
    raise OutOfStep("the relay was always faster; try again")


class LogTail:
    """Reads the log and keeps the relay's checkpoint, on one connection. Calls block."""

    def __init__(self, database_url: str) -> None:
        self._connection: psycopg.Connection[Any] = psycopg.connect(
            database_url,
            autocommit=True,
            application_name="appizer relay",
            # The checkpoint is a lower bound, the stream itself knows better: no flush for it.
            options="-c synchronous_commit=off -c timezone=UTC",
            **REACHABLE,
        )
        self._connection.execute("LISTEN log")
        self.log_id = read_log_id(self._connection)

    def close(self) -> None:
        self._connection.close()

    def head(self) -> int:
        return read_head(self._connection)

    def saved(self) -> int:
        row = self._connection.execute(_SAVED).fetchone()
        return int(row[0]) if row else 0

    def save(self, position: int) -> None:
        self._connection.execute(_SAVE, (position,), prepare=True)

    def wait(self, seconds: float) -> bool:
        """Until something was appended, at most `seconds`; whether something was."""
        return any(True for _ in self._connection.notifies(timeout=seconds, stop_after=1))

    def after(self, position: int, limit: int = PAGE_EVENTS) -> list[Row]:
        """What follows `position`, cut where it would be more than PAGE_BYTES to hold."""
        rows = self._read(position, limit)
        size = 0
        for index, row in enumerate(rows):
            size += len(row.state)
            if size > PAGE_BYTES and index:
                return rows[:index]
        return rows

    def between(self, first: int, last: int) -> list[Row]:
        return [row for row in self._read(first - 1, last - first + 1) if row.position <= last]

    def _read(self, position: int, limit: int) -> list[Row]:
        with self._connection.cursor(binary=True) as cursor:
            found = cursor.execute(_PAGE, (position, limit), prepare=True).fetchall()
        return [Row._make(row) for row in found]


class _Session:
    """A relay with its two connections."""

    def __init__(self, settings: Settings, connect: Connect) -> None:
        self._settings = settings
        self._connect = connect

    async def __aenter__(self) -> "Relay":
        self._tail = await asyncio.to_thread(LogTail, self._settings.database_url)
        try:
            self._bus = await self._connect(self._settings.nats_url, "relay")
        except BaseException:
            self._tail.close()
            raise
        return Relay(self._tail, self._bus, self._settings.retention_of_feed_seconds)

    async def __aexit__(self, *_: object) -> None:
        await self._bus.close()
        self._tail.close()


class Relay:
    def __init__(self, tail: LogTail, bus: Bus, max_age_seconds: int) -> None:
        self._tail = tail
        self._bus = bus
        self._max_age_seconds = max_age_seconds
        self._sequence = 0
        self._last_on: dict[str, int] = {}

    async def follow(self, stop: asyncio.Event) -> None:
        """Publishes the log as it grows. Raises BusError, OutOfStep, psycopg.OperationalError."""
        await self._bus.ensure_stream(self._max_age_seconds)
        standing = await self._standing()
        self._sequence = standing.sequence
        if standing.half is not None:
            await self._complete(standing.half, standing.present)
        await self._publish_all(standing.position, stop)

    async def _publish_all(self, position: int, stop: asyncio.Event) -> None:
        """Reads the next page while the one before is on its way."""
        ahead = self._read(position)
        try:
            while not stop.is_set():
                rows = await ahead
                if not rows:
                    if not await asyncio.to_thread(self._tail.wait, POLL_SECONDS):
                        await self._look()
                    ahead = self._read(position)
                    continue
                page = Page(self._tail.log_id, position + 1, rows[-1].position)
                position = page.last
                ahead = self._read(position, 0.0 if len(rows) == PAGE_EVENTS else PACE_SECONDS)
                await self._publish(page, rows)
                await asyncio.to_thread(self._tail.save, rows[-1].position)
                await self._measure(rows)
        finally:
            await asyncio.gather(ahead, return_exceptions=True)

    async def _look(self) -> None:
        """Notices while nothing happens that the stream was lost, or is to be filled again."""
        _, following = await self._bus.span()
        if following != self._sequence + 1:
            raise OutOfStep(f"the stream goes on at {following}, not {self._sequence + 1}")

    def _read(self, position: int, pause: float = 0.0) -> "asyncio.Task[list[Row]]":
        async def read() -> list[Row]:
            await asyncio.sleep(pause)
            return await asyncio.to_thread(self._tail.after, position)

        return asyncio.create_task(read())

    async def _measure(self, rows: Sequence[Row]) -> None:
        position = rows[-1].position
        _position.set(position)
        _events.inc(len(rows))
        _lag.set(await asyncio.to_thread(self._tail.head) - position)

    async def _publish(self, page: Page, rows: Sequence[Row], done: int = 0) -> None:
        """`done`: how many parts of the page are in the stream already."""
        batches = cloud_events.batches(rows, self._bus.max_bytes)
        await self._recall({batch.subject for batch in batches})
        messages = [
            Outgoing(
                batch.subject,
                batch.payload,
                _headers(page, done + number, done + len(batches))
                | self._span(batch, self._sequence + number),
            )
            for number, batch in enumerate(batches, start=1)
        ]
        self._sequence = await self._bus.publish(messages, self._sequence)
        _messages.inc(len(messages))

    def _span(self, batch: Batch, sequence: int) -> dict[str, str]:
        previous = self._last_on[batch.subject]
        self._last_on[batch.subject] = batch.last
        return {
            # Rises along the stream, and is one message's alone, for each event is in one
            # message. With the sequence, so that a refill is not taken for a repetition.
            "Nats-Msg-Id": f"{batch.last}.{sequence}",
            "Appizer-First": str(batch.first),
            "Appizer-Last": str(batch.last),
            "Appizer-Previous": str(previous if previous < batch.first else 0),
        }

    async def _recall(self, subjects: set[str]) -> None:
        """Learns from the stream where the subjects ended that this relay has not published on."""
        if len(self._last_on) > REMEMBERED_SUBJECTS:
            self._last_on.clear()
        unknown = list(subjects - self._last_on.keys())
        found = await asyncio.gather(*(self._bus.last_on(subject) for subject in unknown))
        for subject, message in zip(unknown, found, strict=True):
            self._last_on[subject] = 0
            if message is not None and message.headers.get("Appizer-Log") == str(self._tail.log_id):
                self._last_on[subject] = int(message.headers["Appizer-Last"])

    async def _standing(self) -> Standing:
        sequence, last = await self._bus.end()
        place = None if last is None else place_of(last)
        if place is None:
            return Standing(sequence, await asyncio.to_thread(self._tail.saved))
        if place.page.log != self._tail.log_id:
            _log.warning("the stream is of another log; publishing this one from its beginning")
            return Standing(sequence, 0)
        head = await asyncio.to_thread(self._tail.head)
        if place.page.last > head:
            _log.error("the stream is ahead of the log, was it restored?", head=head)
            return Standing(sequence, head)
        if place.part == place.parts:
            return Standing(sequence, place.page.last)
        present = await self._present(place, sequence)
        return Standing(sequence, place.page.last, place, present)

    async def _present(self, place: Place, sequence: int) -> frozenset[int]:
        """The positions that the first parts of a half-published page hold."""
        present: set[int] = set()
        for number in range(sequence - place.part + 1, sequence + 1):
            message = await self._bus.message(number)
            known = None if message is None else place_of(message)
            if message is not None and known is not None and known.page == place.page:
                present |= {int(event.position) for event in cloud_events.read(message.payload)}
        return frozenset(present)

    async def _complete(self, place: Place, present: frozenset[int]) -> None:
        page = place.page
        rows = await asyncio.to_thread(self._tail.between, page.first, page.last)
        missing = [row for row in rows if row.position not in present]
        if missing:
            await self._publish(page, missing, done=place.part)


def _headers(page: Page, number: int, parts: int) -> dict[str, str]:
    return {
        "Content-Type": cloud_events.CONTENT_TYPE,
        "Appizer-Log": str(page.log),
        "Appizer-Page-First": str(page.first),
        "Appizer-Page-Last": str(page.last),
        "Appizer-Page-Part": f"{number}/{parts}",
    }


def place_of(message: Message) -> Place | None:
    """None for a message that no relay has written."""
    headers = message.headers
    try:
        part, _, parts = headers["Appizer-Page-Part"].partition("/")
        first, last = int(headers["Appizer-Page-First"]), int(headers["Appizer-Page-Last"])
        return Place(Page(UUID(headers["Appizer-Log"]), first, last), int(part), int(parts))
    except (KeyError, ValueError):
        return None


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
