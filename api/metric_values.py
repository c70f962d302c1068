"""The values of a metric over time."""

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any, Literal
from uuid import UUID

from litestar import Request, Response, get
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, QueryParameter

from api.analytics.answers import CHOOSING, Answer, Moment, begin, respond
from api.analytics.restriction import chosen_persons
from api.analytics.trends import Trends, measure, table
from api.metrics import MetricShown, Version, find, shown
from api.parameters import given
from api.time_machine import AsOf, KnownAt, reached
from api.waiting import MinPosition
from domain import trends
from domain.buckets import Interval, Range
from domain.errors import Rejected
from domain.limits import MAX_NAME_CHARS
from domain.metric_values import Measured, question_of, series_of, whole
from domain.metrics import Metric, Resolved, all_in, measured_in, people_of, resolve
from domain.moments import EXAMPLES
from domain.questions import Breakdown
from domain.trends import Question
from infrastructure.bootstrap import Adapters
from projections import metrics
from projections.apps import Caller
from projections.metrics import Kept

# All may be left out for the framework, which would tell so before who may not ask.
From = Annotated[
    str | None,
    QueryParameter(name="from", description=f"required: a date or a time, included: {EXAMPLES}"),
]
To = Annotated[
    str | None,
    QueryParameter(description="required, as `from`; a date is that whole day, a time excluded"),
]
By = Annotated[
    str | None,
    QueryParameter(max_length=MAX_NAME_CHARS, description="a property or `$country` and the like"),
]
Compare = Literal["previous"] | None
Format = Literal["json", "csv"]


class MetricValues(Answer, frozen=True, kw_only=True):
    """`metric`: the version of it that was measured; `metrics`: those that it is reckoned from."""

    metric: MetricShown
    metrics: list[MetricShown]
    data: Trends
    previous: Trends | None


@get("/v1/metrics/{metric_id:uuid}/values")
async def show_values(  # noqa: PLR0913, PLR0917  the query string names them, not a caller
    request: Request[Any, Any, Any],
    adapters: NamedDependency[Adapters],
    reader: NamedDependency[Caller],
    metric_id: FromPath[UUID],
    start: From = None,
    to: To = None,
    interval: FromQuery[Interval] = "day",
    timezone: FromQuery[str] = "UTC",
    breakdown: By = None,
    breakdown_limit: FromQuery[int | None] = None,
    compare: FromQuery[Compare] = None,
    answer_format: Annotated[Format, QueryParameter(name="format")] = "json",
    version: Version = None,
    min_position: MinPosition = None,
    known_at: KnownAt = None,
    as_of: AsOf = None,
) -> Response[MetricValues]:
    question = Question(
        start=given(start, "from"),
        to=given(to, "to"),
        interval=interval,
        timezone=timezone,
        breakdown=_breakdown(breakdown, breakdown_limit),
        compare=compare,
        format=answer_format,
        min_position=min_position,
        known_at=known_at,
        as_of=as_of,
    )
    buckets = trends.check(question)
    moment = await begin(request, adapters, reader, question, also=(metrics.name,))
    resolved, used = await asyncio.to_thread(resolve_as_of, moment, metric_id, version)
    named = {"metric": used[metric_id], "metrics": [used[key] for key in [*used][1:]]}

    async def ask(asked: Question) -> dict[str, Any]:
        found = await measure_all(moment, resolved, asked)
        series = series_of(resolved, found, asked)
        return {"data": Trends(series=series), **named}

    within = Range(buckets.start, buckets.end, buckets.zone)
    return await respond(MetricValues, question, within, moment, ask, table)


def _breakdown(name: str | None, limit: int | None) -> Breakdown | None:
    if name is not None:
        return Breakdown(name) if limit is None else Breakdown(name, limit)
    if limit is not None:
        raise Rejected("breakdown_limit", "is of a breakdown; name a property in `breakdown`")
    return None


def resolve_as_of(
    moment: Moment, metric_id: UUID, version: int | None
) -> tuple[Resolved, Mapping[UUID, MetricShown]]:
    """And all that it is reckoned from, itself first. Raises NotFound, and Rejected where what its
    formula names is not there any more.
    """
    adapters, app_number, known_at = moment.adapters, moment.app_number, moment.past.known_at
    seen: dict[UUID, Kept] = {}

    def find_one(other: UUID) -> Metric | None:
        with adapters.engine.connect() as connection:
            kept = metrics.find_metric(connection, app_number, other, known_at=known_at)
        if kept is None:
            return None
        seen[other] = kept
        return kept.metric

    kept = find(adapters, app_number, metric_id, known_at=known_at, version=version)
    resolved = resolve(kept.metric, find_one)
    seen[metric_id] = kept
    return resolved, {key: shown(seen[key]) for key in all_in(resolved)}


async def measure_all(moment: Moment, resolved: Resolved, asked: Question) -> Measured:
    """Raises Rejected for what can't be asked of one of them."""
    found = {}
    for key, metric in measured_in(resolved).items():
        among = await _among(moment, metric)
        found[key], _ = await measure(among, question_of(metric, whole(resolved, asked)))
    return found


async def _among(moment: Moment, metric: Metric) -> Moment:
    """Asked about the persons that the metric is about, once it is known who they are at the
    moment's position. Raises Rejected for a segment that was not there then, and NotCaughtUp.
    """
    tree = people_of(metric.definition)
    if tree is None:
        return moment
    adapters, past = moment.adapters, moment.past
    await reached(adapters, CHOOSING, moment.standing.position, past)
    chosen = await chosen_persons(adapters, moment.app_number, tree, past)
    return moment._replace(chosen=chosen)


ROUTES = (show_values,)
