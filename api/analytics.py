"""What happens in the product: trends."""

import asyncio
import time
from typing import Any

import msgspec
from litestar import Request, post
from litestar.di import NamedDependency
from litestar.params import JSONBody

from api.shapes import check_body
from api.time_machine import reached, read_past
from domain.trends import Question, Series, check
from infrastructure.bootstrap import Adapters
from projections import trends
from projections.apps import Caller

READ_MODEL = "events"


class Trends(msgspec.Struct, frozen=True, kw_only=True):
    series: list[Series]


class TrendsAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """`source`: what was read to answer, the rollup by `day` or `hour`, or the `rows`. The answer
    includes everything up to `position` of the log and perhaps more; `lag_ms` is how long the
    oldest event behind it has waited.
    """

    data: Trends
    position: int
    lag_ms: float
    query_time_ms: float
    source: str
    exact: bool = True
    success: bool = True


@post("/v1/analytics/trends", status_code=200)
async def show_trends(
    request: Request[Any, Any, Any],
    adapters: NamedDependency[Adapters],
    reader: NamedDependency[Caller],
    data: JSONBody[Question],
) -> TrendsAnswer:
    check_body(await request.body(), Question)
    buckets = check(data)
    past = await read_past(adapters, data.known_at, data.as_of)
    standing = await reached(adapters, (READ_MODEL,), data.min_position, past)
    plan = trends.plan(data, buckets, app_number=reader.app_number or 0, past=past)
    started = time.perf_counter()
    answer = await asyncio.to_thread(
        adapters.analytics.query, plan.sql, plan.parameters, plan.settings
    )
    series = trends.series(data, buckets, answer.rows, now=adapters.clock())
    return TrendsAnswer(
        data=Trends(series=series),
        position=standing.position,
        lag_ms=standing.lag_ms,
        query_time_ms=round((time.perf_counter() - started) * 1000, 2),
        source=plan.source,
    )


ROUTES = (show_trends,)
