"""Whether this instance can really work: a durable write, a stored message, an answered query.

A ping passes on a server whose disk is full; these do not. Each is done at most once in five
seconds, however often readiness is asked.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable

import msgspec
from sqlalchemy import Engine, text

from infrastructure import message_bus
from infrastructure.analytics_engine import LIGHT, AnalyticsEngine

_FRESH_SECONDS = 5.0
_PATIENCE_SECONDS = 4.0
_WRITE = text(
    "INSERT INTO log.probe (at) VALUES (clock_timestamp())"
    " ON CONFLICT (only_row) DO UPDATE SET at = excluded.at"
)


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    ok: bool
    ms: float
    reason: str = ""


class Probe:
    def __init__(self, look: Callable[[], Awaitable[None]]) -> None:
        self._look = look
        self._found: Finding | None = None
        self._since = 0.0
        self._busy = asyncio.Lock()

    async def finding(self) -> Finding:
        async with self._busy:
            if self._found is None or time.monotonic() - self._since > _FRESH_SECONDS:
                self._found = await self._try()
                self._since = time.monotonic()
            return self._found

    async def _try(self) -> Finding:
        started = time.perf_counter()
        reason = ""
        try:
            await asyncio.wait_for(self._look(), _PATIENCE_SECONDS)
        except Exception as error:  # noqa: BLE001  any failure is the finding
            reason = type(error).__name__
        spent = round((time.perf_counter() - started) * 1000, 1)
        return Finding(ok=not reason, ms=spent, reason=reason)


def store_probe(engine: Engine) -> Probe:
    def write() -> None:
        with engine.begin() as connection:
            connection.execute(_WRITE)

    return Probe(lambda: asyncio.to_thread(write))


def feed_probe(nats_url: str) -> Probe:
    return Probe(lambda: message_bus.probe(nats_url))


def analytics_probe(analytics: AnalyticsEngine) -> Probe:
    return Probe(lambda: asyncio.to_thread(_ask, analytics))


def _ask(analytics: AnalyticsEngine) -> None:
    analytics.query("SELECT 1", settings=LIGHT)
