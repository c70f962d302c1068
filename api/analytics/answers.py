"""What every answer about events says of itself, and how it is got."""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypedDict, TypeVar

import msgspec
from litestar import Request, Response
from msgspec import UNSET, UnsetType

from api.analytics.asking import Step, in_place
from api.analytics.restriction import chosen_persons
from api.analytics.tables import Table, csv_of
from api.time_machine import reached, read_past
from domain.buckets import Range
from domain.estimates import Estimate, estimate, scaled
from domain.past import Past
from domain.questions import Asked, R, Ranged, asked_people, previous
from infrastructure.analytics_engine import Answer as EngineAnswer
from infrastructure.bootstrap import Adapters
from infrastructure.positions import Standing
from projections import people, segments
from projections.apps import Caller
from projections.event_queries import Query
from projections.people_asked import Among
from projections.rollups import Plan

READ_MODEL = "events"
CHOOSING = (people.name, segments.name)


class Steps(msgspec.Struct, frozen=True, kw_only=True):
    """`previous`: of the time before, where it was compared with."""

    current: Step
    previous: Step | None = None


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """The answer includes everything up to `position` of the log and perhaps more; `lag_ms` is how
    long the oldest event behind it has waited. `plan`: with `explain` only. `exact` is False where
    `estimate` says how the figures were estimated: what a rollup answers is exact all the same.
    """

    position: int
    lag_ms: float
    query_time_ms: float
    exact: bool = True
    success: bool = True
    plan: Steps | UnsetType = UNSET
    estimate: Estimate | UnsetType = UNSET


A = TypeVar("A", bound=Answer)


class _Asked(TypedDict):
    app_number: int
    past: Past
    chosen: Among | None


class Moment(NamedTuple):
    """Where a question is asked: its past, how far the read model has come, and by whom. `chosen`:
    the persons that it is about; None: all. `steps`: what was asked of the engine so far.
    """

    request: Request[Any, Any, Any]
    adapters: Adapters
    app_number: int
    past: Past
    standing: Standing
    started: float
    steps: list[Step]
    chosen: Among | None = None
    explains: bool = False

    def told(self) -> dict[str, Any]:
        """The fields of Answer, once the query is over."""
        return {
            "position": self.standing.position,
            "lag_ms": self.standing.lag_ms,
            "query_time_ms": round((time.perf_counter() - self.started) * 1000, 2),
        }

    @property
    def asked(self) -> _Asked:
        """The arguments of a plan."""
        return {"app_number": self.app_number, "past": self.past, "chosen": self.chosen}

    async def rows(self, plan: Query | Plan) -> Sequence[Sequence[Any]]:
        """The engine's answer."""
        settings = plan.settings if isinstance(plan, Plan) else {}
        source = plan.source if isinstance(plan, Plan) else "rows"

        def ask(query_id: str) -> EngineAnswer:
            told = {**settings, "query_id": query_id}
            if self.explains:
                told["wait_end_of_query"] = 1  # else a server tells what was read before it answers
            return self.adapters.analytics.query(plan.sql, plan.parameters, told)

        answer = await in_place(self.request, self.adapters, self.app_number, ask)
        step = Step(
            source=source,
            statement=plan.sql,
            parameters=plan.parameters,
            settings=settings,
            rows_read=answer.read.rows,
            bytes_read=answer.read.bytes,
            engine_ms=answer.read.engine_ms,
        )
        self.steps.append(step)
        return answer.rows


async def begin(
    request: Request[Any, Any, Any],
    adapters: Adapters,
    reader: Caller,
    question: Asked,
    *,
    also: tuple[str, ...] = (),
) -> Moment:
    """`also`: read models that the answer needs besides. Raises Rejected, and NotCaughtUp where one
    is behind what is asked for.
    """
    past = await read_past(adapters, question.known_at, question.as_of)
    tree = asked_people(question) if isinstance(question, Ranged) else None
    models = (READ_MODEL, *also) if tree is None else (READ_MODEL, *CHOOSING, *also)
    standing = await reached(adapters, models, question.min_position, past)
    started, app_number = time.perf_counter(), reader.app_number or 0
    chosen = None
    if tree is not None:
        chosen = await chosen_persons(adapters, app_number, tree, past)
    if isinstance(question, Ranged) and question.estimate is not None:
        whole = chosen or Among(None, {})
        chosen = whole._replace(percent=question.estimate)
    return Moment(
        request,
        adapters,
        app_number,
        past,
        standing,
        started,
        steps=[],
        chosen=chosen,
        explains=question.explain,
    )


async def respond(
    kind: Callable[..., A],
    question: R,
    within: Range,
    moment: Moment,
    ask: Callable[[R], Awaitable[dict[str, Any]]],
    tabled: Callable[[Any], Table],
) -> Response[Any]:
    """`ask` answers a question with the fields that `kind` has beside those of Answer; `tabled`
    makes a table of `data`, one of these.
    """
    found, is_exact = await _estimated(question, ask)
    earlier = None
    if question.compare:
        before, was_exact = await _estimated(previous(question, within), ask)
        earlier, is_exact = before["data"], is_exact and was_exact
    told = moment.told()
    if question.estimate is not None and not is_exact:
        told |= {"exact": False, "estimate": estimate(question.estimate)}
    if question.format == "csv":
        periods = {"current": found["data"]} | ({"previous": earlier} if earlier else {})
        tables = {name: tabled(data) for name, data in periods.items()}
        return Response(csv_of(tables), media_type="text/csv", headers=_headers(told))
    if question.explain:
        told["plan"] = Steps(**dict(zip(("current", "previous"), moment.steps, strict=False)))
    return Response(kind(**found, previous=earlier, **told))


async def _estimated(
    question: R, ask: Callable[[R], Awaitable[dict[str, Any]]]
) -> tuple[dict[str, Any], bool]:
    """What `ask` finds, for all persons, and whether it is exact."""
    found = await ask(question)
    if question.estimate is None or found.get("source", "rows") != "rows":
        return found, True
    return found | {"data": scaled(found["data"], question.estimate)}, False


def _headers(told: Mapping[str, Any]) -> dict[str, str]:
    headers = {name: value for name, value in told.items() if name not in {"exact", "estimate"}}
    if "estimate" in told:
        headers |= {"exact": "false", "estimate_percent": told["estimate"].percent}
        headers |= {"margin_factor": told["estimate"].margin_factor}
    return {f"x-{name.replace('_', '-')}": str(value) for name, value in headers.items()}
