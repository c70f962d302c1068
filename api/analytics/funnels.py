"""Funnels: how many go on from step to step."""

from typing import Any

import msgspec
from litestar import Request, Response, post
from litestar.di import NamedDependency
from litestar.params import JSONBody

from api.analytics.answers import Answer, begin, respond
from api.analytics.tables import OF_SERIES, Table, of_series
from api.shapes import check_body
from domain.funnels import Question, Reached, Series, check
from domain.past import seen_until
from infrastructure.bootstrap import Adapters
from projections import funnels
from projections.apps import Caller


class Funnels(msgspec.Struct, frozen=True, kw_only=True):
    series: list[Series]


class FunnelsAnswer(Answer, frozen=True, kw_only=True):
    """`complete`: whether the conversion window is over for all who can enter; until then more may
    come to a step.
    """

    data: Funnels
    previous: Funnels | None
    complete: bool


@post("/v1/analytics/funnels", status_code=200)
async def show_funnels(
    request: Request[Any, Any, Any],
    adapters: NamedDependency[Adapters],
    reader: NamedDependency[Caller],
    data: JSONBody[Question],
) -> Response[FunnelsAnswer]:
    check_body(await request.body(), Question)
    asked = check(data)
    moment = await begin(request, adapters, reader, data)

    async def ask(question: Question) -> dict[str, Any]:
        wanted = check(question)
        plan = funnels.plan(question, wanted, **moment.asked)
        series = funnels.series(question, await moment.rows(plan))
        until = seen_until(adapters.clock(), moment.past)
        is_complete = wanted.within.end + wanted.window <= until
        return {"data": Funnels(series=series), "complete": is_complete}

    return await respond(FunnelsAnswer, data, asked.within, moment, ask, _table)


def _table(data: Funnels) -> Table:
    names = ("step", "event", "persons", "rate", "rate_of_previous", "median", "average", "p90")
    rows = ((*of_series(one), *_cells(step)) for one in data.series for step in one.steps)
    return Table((*OF_SERIES, *names), rows)


def _cells(step: Reached) -> tuple[object, ...]:
    times = step.times
    took = (None,) * 3 if times is None else (times.median, times.average, times.p90)
    return step.step, step.event, step.persons, step.rate, step.rate_of_previous, *took


ROUTES = (show_funnels,)
