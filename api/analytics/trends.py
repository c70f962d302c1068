"""Trends: how often something happened."""

from typing import Any

import msgspec
from litestar import Request, post
from litestar.di import NamedDependency
from litestar.params import JSONBody

from api.analytics.answers import Answer, begin, rows
from api.shapes import check_body
from domain.trends import Question, Series, check
from infrastructure.bootstrap import Adapters
from projections import trends
from projections.apps import Caller


class Trends(msgspec.Struct, frozen=True, kw_only=True):
    series: list[Series]


class TrendsAnswer(Answer, frozen=True, kw_only=True):
    """`source`: what was read to answer, the rollup by `day` or `hour`, or the `rows`."""

    data: Trends
    source: str


@post("/v1/analytics/trends", status_code=200)
async def show_trends(
    request: Request[Any, Any, Any],
    adapters: NamedDependency[Adapters],
    reader: NamedDependency[Caller],
    data: JSONBody[Question],
) -> TrendsAnswer:
    check_body(await request.body(), Question)
    buckets = check(data)
    moment = await begin(adapters, data)
    plan = trends.plan(data, buckets, app_number=reader.app_number or 0, past=moment.past)
    found = await rows(adapters, plan.sql, plan.parameters, plan.settings)
    series = trends.series(data, buckets, found, now=adapters.clock())
    return TrendsAnswer(data=Trends(series=series), source=plan.source, **moment.told())


ROUTES = (show_trends,)
