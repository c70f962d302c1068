"""Sessions: visits, and how long and rich they are."""

from typing import Any

import msgspec
from litestar import Request, Response, post
from litestar.di import NamedDependency
from litestar.params import JSONBody

from api.analytics.answers import Answer, begin, respond
from api.analytics.tables import OF_SERIES, Table, of_series
from api.shapes import check_body
from domain.buckets import Range
from domain.sessions import Question, Series, check
from infrastructure.bootstrap import Adapters
from projections import sessions
from projections.apps import Caller

_FIGURES = (
    "sessions",
    "persons",
    "average_seconds",
    "median_seconds",
    "events_per_session",
    "bounce_rate",
)


class Sessions(msgspec.Struct, frozen=True, kw_only=True):
    series: list[Series]


class SessionsAnswer(Answer, frozen=True, kw_only=True):
    data: Sessions
    previous: Sessions | None


@post("/v1/analytics/sessions", status_code=200)
async def show_sessions(
    request: Request[Any, Any, Any],
    adapters: NamedDependency[Adapters],
    reader: NamedDependency[Caller],
    data: JSONBody[Question],
) -> Response[SessionsAnswer]:
    check_body(await request.body(), Question)
    buckets = check(data)
    moment = await begin(request, adapters, reader, data)

    async def ask(question: Question) -> dict[str, Any]:
        split = check(question)
        plan = sessions.plan(question, split, **moment.asked)
        found = await moment.rows(plan)
        now = adapters.clock()
        series = sessions.series(question, split, found, now=now, past=moment.past)
        return {"data": Sessions(series=series)}

    within = Range(buckets.start, buckets.end, buckets.zone)
    return await respond(SessionsAnswer, data, within, moment, ask, _table)


def _table(data: Sessions) -> Table:
    found = (
        (*of_series(one), value.start, *(getattr(value, name) for name in _FIGURES), value.complete)
        for one in data.series
        for value in one.values
    )
    return Table((*OF_SERIES, "start", *_FIGURES, "complete"), found)


ROUTES = (show_sessions,)
