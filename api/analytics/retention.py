"""Retention: who comes back."""

from typing import Any

import msgspec
from litestar import Request, post
from litestar.di import NamedDependency
from litestar.params import JSONBody

from api.analytics.answers import Answer, begin, rows
from api.shapes import check_body
from domain.retention import Question, Series, check
from infrastructure.bootstrap import Adapters
from projections import retention
from projections.apps import Caller


class Retention(msgspec.Struct, frozen=True, kw_only=True):
    series: list[Series]


class RetentionAnswer(Answer, frozen=True, kw_only=True):
    """`source`: what was read to answer, the rollup by `day` or `hour`, or the `rows`."""

    data: Retention
    source: str


@post("/v1/analytics/retention", status_code=200)
async def show_retention(
    request: Request[Any, Any, Any],
    adapters: NamedDependency[Adapters],
    reader: NamedDependency[Caller],
    data: JSONBody[Question],
) -> RetentionAnswer:
    check_body(await request.body(), Question)
    asked = check(data)
    moment = await begin(adapters, data)
    plan = retention.plan(data, asked, app_number=reader.app_number or 0, past=moment.past)
    found = await rows(adapters, plan.sql, plan.parameters, plan.settings)
    now = adapters.clock()
    series = retention.series(data, asked, found, now=now, past=moment.past)
    return RetentionAnswer(data=Retention(series=series), source=plan.source, **moment.told())


ROUTES = (show_retention,)
