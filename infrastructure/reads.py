"""Single statements, read without leaving the event loop.

A thread, a checked connection and a transaction for a look of 0.4 ms cost three times the look
(docs/benchmarks.md, People). Here each is prepared once and needs one round trip.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import psycopg
from psycopg.rows import namedtuple_row
from psycopg_pool import AsyncConnectionPool, PoolTimeout
from sqlalchemy import Executable
from sqlalchemy.dialects.postgresql.psycopg import dialect
from sqlalchemy.exc import OperationalError

from infrastructure.database import REACHABLE, time_limit

_CONNECTIONS = 8
_WAIT_SECONDS = 3.0
_POSTGRES = dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy has not typed it


class Reads:
    """Of one event loop. A statement must not write: it is sent again when its connection was
    lost.
    """

    def __init__(self, database_url: str, query_seconds: float) -> None:
        self._pool: AsyncConnectionPool[Any] = AsyncConnectionPool(
            database_url,
            min_size=1,
            max_size=_CONNECTIONS,
            timeout=_WAIT_SECONDS,
            open=False,
            name="reads",
            kwargs={
                **REACHABLE,
                **time_limit(query_seconds),
                "application_name": "appizer",
                "autocommit": True,
                "row_factory": namedtuple_row,
                "prepare_threshold": 0,
            },
        )
        self._compiled: dict[Executable, tuple[str, Mapping[str, Any]]] = {}

    async def close(self) -> None:
        await self._pool.close()

    async def all(self, statement: Executable, given: Mapping[str, Any]) -> Sequence[Any]:
        """Rows with their columns as attributes. `statement` is one that lives as long as its
        module, since it is compiled once. Raises OperationalError: the database is away.
        """
        sql, defaults = self._compile(statement)
        try:
            return await self._again_if_lost(sql, {**defaults, **given})
        except psycopg.OperationalError as error:
            raise OperationalError(sql, None, error) from error

    async def _again_if_lost(self, sql: str, given: Mapping[str, Any]) -> Sequence[Any]:
        if self._pool.closed:  # it is opened once somebody asks: not every role does
            await self._pool.open()
        try:
            return await self._rows(sql, given)
        except (PoolTimeout, psycopg.errors.QueryCanceled):
            raise
        except psycopg.OperationalError:
            await self._pool.check()  # the server was started anew: no old connection is good
            return await self._rows(sql, given)

    async def _rows(self, sql: str, given: Mapping[str, Any]) -> Sequence[Any]:
        async with self._pool.connection() as connection:
            cursor = await connection.execute(sql, given)
            rows: Sequence[Any] = await cursor.fetchall()
            return rows

    def _compile(self, statement: Executable) -> tuple[str, Mapping[str, Any]]:
        found = self._compiled.get(statement)
        if found is None:
            compiled = statement.compile(dialect=_POSTGRES)  # type: ignore[attr-defined]  # all that is executed here has it
            found = self._compiled[statement] = (str(compiled), compiled.params)
        return found
