"""What every answer about events says of itself, and how it is got."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from api.time_machine import reached, read_past
from domain.past import Past
from domain.questions import Asked
from infrastructure.bootstrap import Adapters
from infrastructure.positions import Standing

READ_MODEL = "events"


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """The answer includes everything up to `position` of the log and perhaps more; `lag_ms` is how
    long the oldest event behind it has waited.
    """

    position: int
    lag_ms: float
    query_time_ms: float
    exact: bool = True
    success: bool = True


class Moment(NamedTuple):
    """Where a question is asked: its past, and how far the read model has come."""

    past: Past
    standing: Standing
    started: float

    def told(self) -> dict[str, Any]:
        """The fields of Answer, once the query is over."""
        return {
            "position": self.standing.position,
            "lag_ms": self.standing.lag_ms,
            "query_time_ms": round((time.perf_counter() - self.started) * 1000, 2),
        }


async def begin(adapters: Adapters, question: Asked) -> Moment:
    """Raises Rejected, and NotCaughtUp where the read model is behind what is asked for."""
    past = await read_past(adapters, question.known_at, question.as_of)
    standing = await reached(adapters, (READ_MODEL,), question.min_position, past)
    return Moment(past, standing, time.perf_counter())


async def rows(
    adapters: Adapters,
    sql: str,
    parameters: Mapping[str, object],
    settings: Mapping[str, object] | None = None,
) -> Sequence[Sequence[Any]]:
    answer = await asyncio.to_thread(adapters.analytics.query, sql, parameters, settings)
    return answer.rows
