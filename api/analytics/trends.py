"""Trends: how often something happened, and what was measured."""

from typing import Any

import msgspec
from litestar import Request, Response, post
from litestar.di import NamedDependency
from litestar.params import JSONBody

from api.analytics.answers import Answer, Moment, begin, respond
from api.analytics.tables import OF_SERIES, Table, of_series
from api.shapes import check_body
from domain.buckets import Range
from domain.past import seen_until
from domain.trends import Question, Series, check
from infrastructure.bootstrap import Adapters
from projections import trends
from projections.apps import Caller


class Trends(msgspec.Struct, frozen=True, kw_only=True):
    series: list[Series]


class TrendsAnswer(Answer, frozen=True, kw_only=True):
    """`source`: what was read to answer, the rollup by `day` or `hour`, or the `rows`."""

    data: Trends
    previous: Trends | None
    source: str


@post("/v1/analytics/trends", status_code=200)
async def show_trends(
    request: Request[Any, Any, Any],
    adapters: NamedDependency[Adapters],
    reader: NamedDependency[Caller],
    data: JSONBody[Question],
) -> Response[TrendsAnswer]:
    check_body(await request.body(), Question)
    buckets = check(data)
    moment = await begin(request, adapters, reader, data)

    async def ask(question: Question) -> dict[str, Any]:
        series, source = await measure(moment, question)
        return {"data": Trends(series=series), "source": source}

    within = Range(buckets.start, buckets.end, buckets.zone)
    return await respond(TrendsAnswer, data, within, moment, ask, table)


async def measure(moment: Moment, question: Question) -> tuple[list[Series], str]:
    """The series, and what was read to answer. Raises Rejected."""
    split = check(question)
    plan = trends.plan(question, split, **moment.asked)
    found = await moment.rows(plan)
    if not plan.answers(found):
        moment.steps.pop()  # nobody needs to know of it
        plan = trends.plan(question, split, **moment.asked, cells=0)
        found = await moment.rows(plan)
    now, in_cells = seen_until(moment.adapters.clock(), moment.past), plan.most is not None
    return trends.series(question, split, found, now=now, in_cells=in_cells), plan.source


def table(data: Trends) -> Table:
    found = (
        (*of_series(one), value.start, value.value, value.complete)
        for one in data.series
        for value in one.values
    )
    return Table((*OF_SERIES, "start", "value", "complete"), found)


ROUTES = (show_trends,)
