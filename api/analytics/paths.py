"""Paths: what happens before and after."""

from typing import Any

from litestar import Request, Response, post
from litestar.di import NamedDependency
from litestar.params import JSONBody

from api.analytics.answers import Answer, begin, respond
from api.analytics.tables import Table
from api.shapes import check_body
from domain.paths import Paths, Question, check
from infrastructure.bootstrap import Adapters
from projections import paths
from projections.apps import Caller


class PathsAnswer(Answer, frozen=True, kw_only=True):
    data: Paths
    previous: Paths | None


@post("/v1/analytics/paths", status_code=200)
async def show_paths(
    request: Request[Any, Any, Any],
    adapters: NamedDependency[Adapters],
    reader: NamedDependency[Caller],
    data: JSONBody[Question],
) -> Response[PathsAnswer]:
    check_body(await request.body(), Question)
    asked = check(data)
    moment = await begin(request, adapters, reader, data)

    async def ask(question: Question) -> dict[str, Any]:
        wanted = check(question)
        plan = paths.plan(question, wanted, **moment.asked)
        return {"data": paths.paths(await moment.rows(plan))}

    return await respond(PathsAnswer, data, asked.within, moment, ask, _table)


def _table(data: Paths) -> Table:
    """The links; nodes are what they join."""
    found = (
        (link.step, link.origin, link.to, link.count, link.average_seconds) for link in data.links
    )
    return Table(("step", "from", "to", "count", "average_seconds"), found)


ROUTES = (show_paths,)
