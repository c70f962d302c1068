"""Retention: who comes back."""

from typing import Any

import msgspec
from litestar import Request, Response, post
from litestar.di import NamedDependency
from litestar.params import JSONBody

from api.analytics.answers import Answer, begin, respond
from api.analytics.tables import OF_SERIES, Table, of_series
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
    previous: Retention | None
    source: str


@post("/v1/analytics/retention", status_code=200)
async def show_retention(
    request: Request[Any, Any, Any],
    adapters: NamedDependency[Adapters],
    reader: NamedDependency[Caller],
    data: JSONBody[Question],
) -> Response[RetentionAnswer]:
    check_body(await request.body(), Question)
    asked = check(data)
    moment = await begin(request, adapters, reader, data)

    async def ask(question: Question) -> dict[str, Any]:
        wanted = check(question)
        plan = retention.plan(question, wanted, **moment.asked)
        found = await moment.rows(plan)
        now = adapters.clock()
        series = retention.series(question, wanted, found, now=now, past=moment.past)
        return {"data": Retention(series=series), "source": plan.source}

    return await respond(RetentionAnswer, data, asked.within, moment, ask, _table)


def _table(data: Retention) -> Table:
    found = (
        (*of_series(one), cohort.start, cohort.size, period, each.count, each.rate, each.complete)
        for one in data.series
        for cohort in one.cohorts
        for period, each in enumerate(cohort.values)
    )
    names = ("cohort", "size", "period", "count", "rate", "complete")
    return Table((*OF_SERIES, *names), found)


ROUTES = (show_retention,)
