"""Paths: what happens before and after."""

from typing import Any

from litestar import Request, post
from litestar.di import NamedDependency
from litestar.params import JSONBody

from api.analytics.answers import Answer, begin, rows
from api.shapes import check_body
from domain.paths import Paths, Question, check
from infrastructure.bootstrap import Adapters
from projections import paths
from projections.apps import Caller


class PathsAnswer(Answer, frozen=True, kw_only=True):
    data: Paths


@post("/v1/analytics/paths", status_code=200)
async def show_paths(
    request: Request[Any, Any, Any],
    adapters: NamedDependency[Adapters],
    reader: NamedDependency[Caller],
    data: JSONBody[Question],
) -> PathsAnswer:
    check_body(await request.body(), Question)
    asked = check(data)
    moment = await begin(adapters, data)
    plan = paths.plan(data, asked, app_number=reader.app_number or 0, past=moment.past)
    found = paths.paths(await rows(adapters, plan.sql, plan.parameters))
    return PathsAnswer(data=found, **moment.told())


ROUTES = (show_paths,)
