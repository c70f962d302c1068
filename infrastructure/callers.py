"""Whose key is it: looked up once, remembered shortly."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from domain.errors import MissingKey, Overloaded, RevokedKey, Unauthenticated
from domain.keys import digest, is_well_formed
from projections import apps
from projections.apps import Caller

_FRESH_SECONDS = 5.0  # a revoked key works this much longer at most
_STALE_SECONDS = 900.0  # a write key goes on working this long while the database is away
_MOST_REMEMBERED = 50_000
_THREADS = 4

_log = structlog.get_logger()


class _Remembered(NamedTuple):
    caller: Caller | None
    since: float


class Callers:
    """Key -> Caller, for the event loop's thread."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._remembered: dict[str, _Remembered] = {}
        # Its own threads: behind slow questions in the shared ones nobody could send an event.
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="keys")

    def close(self) -> None:
        self._threads.shutdown()

    async def find(self, key: str | None) -> Caller:
        """Raises MissingKey, RevokedKey, Unauthenticated, Overloaded (database away)."""
        if not key:
            raise MissingKey("no key: send Authorization: Bearer KEY, or X-API-Key: KEY")
        remembered = self._remembered.get(key)
        if remembered is None or time.monotonic() - remembered.since > _FRESH_SECONDS:
            remembered = await self._refresh(key, remembered)
        return _good(remembered.caller)

    async def _refresh(self, key: str, before: _Remembered | None) -> _Remembered:
        if not is_well_formed(key):
            raise Unauthenticated("this is not a key of Appizer; was it cut or mistyped?")
        try:
            look = asyncio.get_running_loop().run_in_executor(self._threads, self._read, key)
            caller = await look
        except SQLAlchemyError as error:
            return _kept(before, error)
        if len(self._remembered) >= _MOST_REMEMBERED:
            self._remembered.clear()
        remembered = _Remembered(caller, time.monotonic())
        if caller is not None:  # an unknown key may exist a moment later
            self._remembered[key] = remembered
        return remembered

    def _read(self, key: str) -> Caller | None:
        with self._engine.connect() as connection:
            return apps.find_caller(connection, digest(key))


def _kept(before: _Remembered | None, error: SQLAlchemyError) -> _Remembered:
    caller = before.caller if before else None
    age = time.monotonic() - before.since if before else 0.0
    if caller is None or caller.kind != "write" or age > _STALE_SECONDS:
        _log.warning("key not checked", error=type(error).__name__)
        raise Overloaded("keys can't be checked now; send it again") from error
    return _Remembered(caller, time.monotonic())


def _good(caller: Caller | None) -> Caller:
    if caller is None:
        raise Unauthenticated("no such key")
    if caller.revoked:
        raise RevokedKey("this key was revoked")
    return caller
