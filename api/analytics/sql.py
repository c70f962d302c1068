"""Questions in SQL."""

import asyncio
from typing import Any

import msgspec
from litestar import Request, Response, post
from litestar.di import NamedDependency
from litestar.params import JSONBody

from api.analytics.answers import Moment, begin
from api.shapes import check_body
from domain.errors import Rejected
from domain.limits import MAX_SQL_SECONDS
from domain.sql import Question, check
from infrastructure.analytics_engine import EngineFailed
from infrastructure.bootstrap import Adapters
from projections import sql
from projections.apps import Caller
from projections.sql.answers import FORMAT, Column, Table, complaint, table


class SqlAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """`truncated`: there are more rows than are answered. The answer includes everything up to
    `position` of the log and perhaps more.
    """

    data: list[dict[str, Any]]
    columns: list[Column]
    rows_returned: int
    truncated: bool
    position: int
    lag_ms: float
    query_time_ms: float
    success: bool = True


@post("/v1/analytics/query", status_code=200)
async def query_sql(
    request: Request[Any, Any, Any],
    adapters: NamedDependency[Adapters],
    reader: NamedDependency[Caller],
    data: JSONBody[Question],
) -> Response[SqlAnswer]:
    """One SELECT on `events` and `people`; with `format: csv` the answer is text/csv."""
    check_body(await request.body(), Question)
    check(data)
    _check_app(data, reader)
    moment = await begin(adapters, data)
    found = await asyncio.to_thread(_answered, adapters, data, reader.app_number or 0, moment)
    return _csv(found, moment) if data.format == "csv" else _json(found, moment)


def _check_app(question: Question, reader: Caller) -> None:
    """The same for an app of somebody else's and for one that is not there."""
    if question.app_id is not None and question.app_id != str(reader.app_id):
        raise Rejected("app_id", "must be the app of the key; leave it out")


def _answered(adapters: Adapters, question: Question, app_number: int, moment: Moment) -> Table:
    """In a thread: also parsing takes milliseconds."""
    seconds = min(adapters.settings.query_seconds, MAX_SQL_SECONDS)
    plan = sql.plan(question, app_number=app_number, past=moment.past, seconds=seconds)
    try:
        answer = adapters.analytics.raw(
            plan.sql, plan.parameters, plan.settings, format_name=FORMAT
        )
    except EngineFailed as error:
        refusal = complaint(error.code, str(error))
        raise refusal or error from None
    return table(answer)


def _json(found: Table, moment: Moment) -> Response[SqlAnswer]:
    rows = found.objects()
    answer = SqlAnswer(
        data=rows,
        columns=found.columns,
        rows_returned=len(rows),
        truncated=found.truncated,
        **moment.told(),
    )
    return Response(answer)


def _csv(found: Table, moment: Moment) -> Response[Any]:
    told = moment.told()
    headers = {
        "x-position": str(told["position"]),
        "x-lag-ms": str(told["lag_ms"]),
        "x-query-time-ms": str(told["query_time_ms"]),
        "x-rows-returned": str(len(found.rows)),
        "x-truncated": str(found.truncated).lower(),
    }
    return Response(found.csv(), media_type="text/csv", headers=headers)


ROUTES = (query_sql,)
