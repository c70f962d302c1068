"""Questions in SQL."""

from typing import Any
from uuid import UUID

import msgspec
from litestar import Request, Response, post
from litestar.di import NamedDependency
from litestar.params import JSONBody
from msgspec import UNSET, UnsetType

from api.analytics.answers import Moment, Steps, begin
from api.analytics.asking import Step, in_place
from api.shapes import check_body
from domain.errors import Rejected
from domain.limits import MAX_SQL_SECONDS
from domain.sql import Question, check
from infrastructure.analytics_engine import EngineFailed
from infrastructure.bootstrap import Adapters
from projections import segments, sql
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
    plan: Steps | UnsetType = UNSET


@post("/v1/analytics/query", status_code=200)
async def query_sql(
    request: Request[Any, Any, Any],
    adapters: NamedDependency[Adapters],
    reader: NamedDependency[Caller],
    data: JSONBody[Question],
) -> Response[SqlAnswer]:
    """One SELECT on `events`, `people` and `segments`; with `format: csv` it is text/csv."""
    check_body(await request.body(), Question)
    check(data)
    _check_app(data, reader)
    moment = await begin(request, adapters, reader, data)

    def ask(query_id: str) -> Table:
        return _answered(data, moment, query_id)

    found = await in_place(request, adapters, moment.app_number, ask)
    return (
        _csv(found, moment) if data.format == "csv" else _json(found, moment, explain=data.explain)
    )


def _check_app(question: Question, reader: Caller) -> None:
    """The same for an app of somebody else's and for one that is not there."""
    if question.app_id is not None and question.app_id != str(reader.app_id):
        raise Rejected("app_id", "must be the app of the key; leave it out")


def _answered(question: Question, moment: Moment, query_id: str) -> Table:
    """In a thread: also parsing takes milliseconds."""
    seconds = min(moment.adapters.settings.query_seconds, MAX_SQL_SECONDS)
    plan = sql.plan(
        question,
        app_number=moment.app_number,
        past=moment.past,
        seconds=seconds,
        segments=_names(moment) if sql.reads_segments(question) else None,
    )
    settings = {**plan.settings, "query_id": query_id}
    try:
        answer = moment.adapters.analytics.raw(
            plan.sql, plan.parameters, settings, format_name=FORMAT
        )
    except EngineFailed as error:
        refusal = complaint(error.code, str(error))
        raise refusal or error from None
    found = table(answer)
    step = Step(
        source="rows",
        statement=plan.sql,
        parameters=plan.parameters,
        settings=plan.settings,
        rows_read=found.read.rows_read,
        bytes_read=found.read.bytes_read,
        engine_ms=round(found.read.elapsed * 1000, 2),
    )
    moment.steps.append(step)
    return found


def _names(moment: Moment) -> dict[UUID, str]:
    """Of the segments that there were then."""
    with moment.adapters.engine.connect() as connection:
        found = segments.find_definitions(connection, moment.app_number, moment.past.known_at)
    return {one: definition.name for one, definition in found.items()}


def _json(found: Table, moment: Moment, *, explain: bool) -> Response[SqlAnswer]:
    rows = found.objects()
    answer = SqlAnswer(
        data=rows,
        columns=found.columns,
        rows_returned=len(rows),
        truncated=found.truncated,
        plan=Steps(current=moment.steps[0]) if explain else UNSET,
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
