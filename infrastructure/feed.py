"""What followers read from the stream: whole pages for projections, single events for people."""

import asyncio
import queue
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager
from datetime import datetime
from types import TracebackType
from typing import Literal, NamedTuple, Self

import msgspec

from infrastructure import cloud_events, message_bus
from infrastructure.cloud_events import CloudEvent
from infrastructure.event_store.reader import Entry
from infrastructure.message_bus import Bus, BusError, Message
from infrastructure.relay import Place, place_of

POLL_SECONDS = 1.0
HELD_PAGES = 8  # a page is 4 MB at most, see relay.PAGE_BYTES
JOINED_BYTES = 4 * 1024 * 1024
RETRY_SECONDS = 0.5

Reason = Literal["started", "quiet", "partial", "lost", "slow"]


class Gap(NamedTuple):
    """Read the log: the feed has begun (started), has nothing (quiet), has not all of a page
    (partial), was cut off (lost), or its reader was too slow (slow). `position` is the newest
    that the feed has heard of, 0 for none; the log may be further.
    """

    reason: Reason
    position: int


class Assembly:
    """Puts the messages of a page together again."""

    def __init__(self) -> None:
        self._parts: list[Message] = []
        self._place: Place | None = None

    def add(self, message: Message) -> list[Message] | Gap | None:
        """The messages of a whole page with its last one; a Gap when one is missing."""
        place, before = place_of(message), self._place
        self._place = None
        if place is None:
            return None
        follows = before is not None and before._replace(part=before.part + 1) == place
        if place.part != 1 and not follows:
            self._parts = []
            return Gap("partial", place.page.last)
        if place.part == 1:
            self._parts = []
        self._parts.append(message)
        if place.part == place.parts:
            return self._parts
        self._place = place
        return None


class Feed:
    """Wakes a projection worker, and mostly brings what it needs.

    Never trust it for completeness: apply a page whose first position follows yours and which
    has as many events as positions, skip one that lies behind you, and read the log on anything
    else. Pages that wait are joined. `pages` belongs to one thread; the connection lives in
    another.
    """

    def __init__(self, nats_url: str) -> None:
        self._nats_url = nats_url
        self._pages: queue.Queue[list[Message] | Gap] = queue.Queue(HELD_PAGES)
        self._taken: list[Message] | Gap | None = None  # from the queue, and not yielded yet
        self._reached = 0
        self._newest = 0
        self._dropped = threading.Event()
        self._closed = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="feed", daemon=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
        if self._thread.is_alive():
            self._thread.join()

    def close(self) -> None:
        """Ends `pages`, from any thread, within about a second."""
        self._closed.set()

    def pages(self) -> Iterator[list[Entry] | Gap]:
        """Entries by position, or a Gap; something at least every second. Begins with a Gap."""
        self._thread.start()
        while not self._closed.is_set():
            item = self._next()
            yield item if isinstance(item, Gap) else self._decoded(item)
            if self._dropped.is_set() and self._pages.empty():
                self._dropped.clear()
                yield Gap("slow", self._newest)
            if self._failure is not None:
                raise self._failure

    def reached(self, position: int) -> None:
        """What ends there or before need not be brought any more."""
        self._reached = position

    def _next(self) -> list[Message] | Gap:
        item = self._take(POLL_SECONDS) or Gap("quiet", self._newest)
        if isinstance(item, Gap):
            return item
        joined, size = list(item), _size(item)
        while size < JOINED_BYTES and (behind := self._take(0.0)) is not None:
            if isinstance(behind, Gap):
                self._taken = behind
                break
            joined += behind
            size += _size(behind)
        return joined

    def _take(self, timeout: float) -> list[Message] | Gap | None:
        """The oldest that waits and that is still of use."""
        item, self._taken = self._taken, None
        while item is None or (isinstance(item, list) and _newest(item) <= self._reached):
            try:
                item = self._pages.get(timeout=timeout) if timeout else self._pages.get_nowait()
            except queue.Empty:
                return None
        return item

    def _decoded(self, parts: list[Message]) -> list[Entry] | Gap:
        try:
            found = [entry for part in parts for entry in cloud_events.entries(part.payload)]
        except (cloud_events.Incomplete, msgspec.MsgspecError, ValueError):
            return Gap("partial", self._newest)
        return sorted(found) if found else Gap("partial", self._newest)

    def _run(self) -> None:
        try:
            asyncio.run(self._listen())
        except BaseException as error:  # noqa: BLE001  told to the thread that reads `pages`
            self._failure = error

    async def _listen(self) -> None:
        while not self._closed.is_set():
            try:
                await self._follow()
            except BusError:
                self._put(Gap("lost", self._newest))
                await asyncio.sleep(RETRY_SECONDS)

    async def _follow(self) -> None:
        bus = await message_bus.connect(self._nats_url, "feed")
        assembly = Assembly()
        try:
            async with aclosing(bus.messages(message_bus.SUBJECTS)) as messages:
                await anext(messages)
                self._put(Gap("started", self._newest))
                async for message in messages:
                    if self._closed.is_set():
                        return
                    found = None if message is None else assembly.add(message)
                    if found is not None:
                        self._put(found)
        finally:
            await bus.close()

    def _put(self, found: list[Message] | Gap) -> None:
        self._newest = _newest(found)
        try:
            self._pages.put_nowait(found)
        except queue.Full:
            self._dropped.set()


def _size(parts: list[Message]) -> int:
    return sum(len(part.payload) for part in parts)


def _newest(found: list[Message] | Gap) -> int:
    if isinstance(found, Gap):
        return found.position
    place = place_of(found[-1])
    return 0 if place is None else place.page.last


async def follow(
    nats_url: str,
    subjects: str,
    start: datetime | int | None,
    on_loss: Callable[[BusError], None],
) -> AsyncGenerator[CloudEvent]:
    """Single events of `subjects`, for ever: from a time, from a position on, or only new ones.
    When the connection is lost it goes on behind the last message that it had.
    """
    first = start if isinstance(start, int) else 0
    after: datetime | int | None = start if isinstance(start, datetime) else None
    while True:
        try:
            async with _connected(nats_url) as bus:
                after = await _start(bus, after, first)
                async with aclosing(bus.messages(subjects, after)) as messages:
                    async for message in messages:
                        if message is None:
                            continue
                        after = message.sequence + 1
                        for event in cloud_events.read(message.payload):
                            if int(event.position) >= first:
                                yield event
        except BusError as error:
            on_loss(error)
            await asyncio.sleep(2 * RETRY_SECONDS)


@asynccontextmanager
async def _connected(nats_url: str) -> AsyncGenerator[Bus]:
    bus = await message_bus.connect(nats_url, "tail")
    try:
        yield bus
    finally:
        await bus.close()


async def _start(bus: Bus, after: datetime | int | None, first: int) -> datetime | int:
    oldest, following = await bus.span()
    if isinstance(after, datetime):
        return after
    if after is None:
        return await _sequence_of(bus, first) if first else following
    # Numbers that lie ahead of the stream belong to one that was lost; this is a new one.
    return after if after <= following else oldest


async def _sequence_of(bus: Bus, position: int) -> int:
    """Of the first message whose page reaches `position`. Positions rise along the stream."""
    low, high = await bus.span()
    while low < high:
        middle = (low + high) // 2
        message = await bus.next_on(message_bus.SUBJECTS, middle)  # erased ones leave holes
        place = None if message is None else place_of(message)
        if message is not None and (place is None or place.page.last < position):
            low = message.sequence + 1
        else:
            high = middle
    return low
