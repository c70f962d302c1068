"""How far a read model is behind the log, and waiting until it has come to a position."""

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from sqlalchemy import Engine, text

from domain.errors import NotCaughtUp
from infrastructure.reads import Reads

_POLL_SECONDS = 0.02
_SHARED_SECONDS = 0.01  # one read of the positions serves all questions of this time
_STALE_MS = 10_000  # a follower that is further behind needs a look

_POSITIONS = text("SELECT name, position FROM projections.checkpoints")
_STANDING = text(
    "SELECT c.name, c.position, h.head, clock_timestamp() AS now,"
    " (SELECT e.recorded_at FROM log.events e"
    "   WHERE e.notification_id > c.position ORDER BY e.notification_id LIMIT 1) AS waiting_since"
    " FROM projections.checkpoints c,"
    " (SELECT coalesce(max(notification_id), 0) AS head FROM log.events) h"
    " WHERE c.name = :name OR cast(:name AS text) IS NULL"
    # A rebuild, also one that was killed, is behind by design; it answers nobody.
    " AND c.name NOT LIKE '%\\_rebuild' ORDER BY c.name"
)
_HEAD = text("SELECT coalesce(max(notification_id), 0) FROM log.events")
_POSITION_AT = text("SELECT log.position_at(:at)")
_RECORDED_AT = text(
    "SELECT recorded_at FROM log.events WHERE notification_id <= :position"
    " ORDER BY notification_id DESC LIMIT 1"
)


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """`lag_ms`: how long the oldest event that is not in the read model has been on the log."""

    name: str
    position: int
    head: int
    lag_ms: float

    def at(self, position: int | None) -> "Standing":
        """Of an answer that stops at a position before."""
        return self if position is None else msgspec.structs.replace(self, position=position)

    @property
    def lag(self) -> int:
        return max(self.head - self.position, 0)

    @property
    def complaint(self) -> str:
        """Empty while it follows closely."""
        if self.lag_ms <= _STALE_MS:
            return ""
        return f"{self.lag:,} events, {self.lag_ms / 1000:.0f} s behind the log"


class Positions:
    """Threads' way to ask."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def all(self) -> list[Standing]:
        return self._read(None)

    def of(self, name: str) -> Standing:
        return _of(name, self._read(name))

    def head(self) -> int:
        """The last position of the log."""
        with self._engine.connect() as connection:
            return int(connection.execute(_HEAD).scalar_one())

    def recorded_at(self, position: int) -> datetime:
        """Of the last event up to there; before all of them, the beginning of 1970."""
        with self._engine.connect() as connection:
            found = connection.execute(_RECORDED_AT, {"position": position}).scalar()
        return found or datetime(1970, 1, 1, tzinfo=UTC)

    def position_at(self, at: datetime) -> int:
        """The last position that was recorded at or before this instant; 0 for none."""
        with self._engine.connect() as connection:
            return int(connection.execute(_POSITION_AT, {"at": at}).scalar_one())

    def _read(self, name: str | None) -> list[Standing]:
        with self._engine.connect() as connection:
            return _standings(connection.execute(_STANDING, {"name": name}).all())


class Following:
    """The event loop's way to ask."""

    def __init__(self, reads: Reads) -> None:
        self._reads = reads
        self._look: asyncio.Task[dict[str, int]] | None = None
        self._shared: dict[str, tuple[float, asyncio.Task[Standing]]] = {}

    async def reached(self, name: str, min_position: int | None, *, seconds: float) -> Standing:
        """Waits until the read model has the position; raises NotCaughtUp after `seconds`."""
        until = time.monotonic() + seconds
        standing = await self._recent(name)
        if min_position is None or standing.position >= min_position:
            return standing
        position = standing.position
        while position < min_position:
            if time.monotonic() > until:
                raise NotCaughtUp(position, min_position)
            position = (await self._next_look()).get(name, 0)
        return await self._read(name)

    async def _recent(self, name: str) -> Standing:
        """However many ask within a few milliseconds, one reads: what is read from the read model
        afterwards includes that position.
        """
        now = time.monotonic()
        started, reading = self._shared.get(name, (0.0, None))
        if reading is None or now - started > _SHARED_SECONDS:
            reading = asyncio.create_task(self._read(name))
            self._shared[name] = (now, reading)
        return await asyncio.shield(reading)

    async def _next_look(self) -> dict[str, int]:
        """Where all read models stand a moment later. However many wait, one looks."""
        if self._look is None or self._look.done():
            self._look = asyncio.create_task(self._look_after_a_pause())
        return await asyncio.shield(self._look)

    async def _look_after_a_pause(self) -> dict[str, int]:
        await asyncio.sleep(_POLL_SECONDS)
        return {row.name: row.position for row in await self._reads.all(_POSITIONS, {})}

    async def _read(self, name: str) -> Standing:
        return _of(name, _standings(await self._reads.all(_STANDING, {"name": name})))


def _standings(rows: Sequence[Any]) -> list[Standing]:
    return [
        Standing(
            name=row.name,
            position=row.position,
            head=row.head,
            lag_ms=_milliseconds(row.waiting_since, row.now),
        )
        for row in rows
    ]


def _of(name: str, standings: Sequence[Standing]) -> Standing:
    return standings[0] if standings else Standing(name=name, position=0, head=0, lag_ms=0.0)


def _milliseconds(waiting_since: datetime | None, now: datetime) -> float:
    if waiting_since is None:
        return 0.0
    return round((now - waiting_since).total_seconds() * 1000, 1)
