"""Sessions: visits, and how long and rich they are."""

from typing import Any

import msgspec
from litestar import Request, post
from litestar.di import NamedDependency
from litestar.params import JSONBody

from api.analytics.answers import Answer, begin, rows
from api.shapes import check_body
from domain.sessions import Question, Series, check
from infrastructure.bootstrap import Adapters
from projections import sessions
from projections.apps import Caller


class Sessions(msgspec.Struct, frozen=True, kw_only=True):
    series: list[Series]


class SessionsAnswer(Answer, frozen=True, kw_only=True):
    data: Sessions


@post("/v1/analytics/sessions", status_code=200)
async def show_sessions(
    request: Request[Any, Any, Any],
    adapters: NamedDependency[Adapters],
    reader: NamedDependency[Caller],
    data: JSONBody[Question],
) -> SessionsAnswer:
    check_body(await request.body(), Question)
    buckets = check(data)
    moment = await begin(adapters, data)
    plan = sessions.plan(data, buckets, app_number=reader.app_number or 0, past=moment.past)
    found = await rows(adapters, plan.sql, plan.parameters)
    now = adapters.clock()
    series = sessions.series(data, buckets, found, now=now, past=moment.past)
    return SessionsAnswer(data=Sessions(series=series), **moment.told())


ROUTES = (show_sessions,)
