"""What every answer about events says of itself, and how it is got."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import msgspec
from litestar import Response

from api.analytics.tables import Table, csv_of
from api.time_machine import reached, read_past
from domain.buckets import Range
from domain.past import Past
from domain.questions import Asked, R, previous
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


A = TypeVar("A", bound=Answer)


class Moment(NamedTuple):
    """Where a question is asked: its past, and how far the read model has come."""

    past: Past
    standing: Standing
    started: float

    @classmethod
    def begun(cls, past: Past, standing: Standing) -> "Moment":
        return cls(past, standing, time.perf_counter())

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
    return Moment.begun(past, standing)


async def respond(
    kind: Callable[..., A],
    question: R,
    within: Range,
    moment: Moment,
    ask: Callable[[R], Awaitable[dict[str, Any]]],
    tabled: Callable[[Any], Table],
) -> Response[Any]:
    """`ask` answers a question with the fields that `kind` has beside those of Answer; `tabled`
    makes a table of `data`, one of these.
    """
    found = await ask(question)
    earlier = None
    if question.compare:
        earlier = (await ask(previous(question, within)))["data"]
    told = moment.told()
    if question.format == "csv":
        periods = {"current": found["data"]} | ({"previous": earlier} if earlier else {})
        tables = {name: tabled(data) for name, data in periods.items()}
        return Response(csv_of(tables), media_type="text/csv", headers=_headers(told))
    return Response(kind(**found, previous=earlier, **told))


def _headers(told: Mapping[str, Any]) -> dict[str, str]:
    return {f"x-{name.replace('_', '-')}": str(value) for name, value in told.items()}


async def rows(
    adapters: Adapters,
    sql: str,
    parameters: Mapping[str, object],
    settings: Mapping[str, object] | None = None,
) -> Sequence[Sequence[Any]]:
    answer = await asyncio.to_thread(adapters.analytics.query, sql, parameters, settings)
    return answer.rows
