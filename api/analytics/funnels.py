"""Funnels: how many go on from step to step."""

from typing import Any

import msgspec
from litestar import Request, post
from litestar.di import NamedDependency
from litestar.params import JSONBody

from api.analytics.answers import Answer, begin, rows
from api.shapes import check_body
from domain.funnels import Question, Series, check
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
    complete: bool


@post("/v1/analytics/funnels", status_code=200)
async def show_funnels(
    request: Request[Any, Any, Any],
    adapters: NamedDependency[Adapters],
    reader: NamedDependency[Caller],
    data: JSONBody[Question],
) -> FunnelsAnswer:
    check_body(await request.body(), Question)
    asked = check(data)
    moment = await begin(adapters, data)
    plan = funnels.plan(data, asked, app_number=reader.app_number or 0, past=moment.past)
    found = await rows(adapters, plan.sql, plan.parameters)
    return FunnelsAnswer(
        data=Funnels(series=funnels.series(data, found)),
        complete=asked.within.end + asked.window <= adapters.clock(),
        **moment.told(),
    )


ROUTES = (show_funnels,)
