"""Metrics: load, decide, append."""

from collections.abc import Callable, Sequence
from functools import reduce
from typing import NamedTuple, cast
from uuid import UUID, uuid4

from commands.ports import Clock, Streams
from domain import metrics
from domain.errors import NotFound, Rejected
from domain.metrics import Metric, MetricCreated, MetricEvent

Naming = Callable[[UUID], Sequence[Metric]]  # those whose formulas name this one


class Written(NamedTuple):
    metric: Metric
    position: int


def create_metric(
    streams: Streams, clock: Clock, app_id: UUID, wanted: metrics.NewMetric
) -> Written:
    event = metrics.create_metric(wanted, metric_id=uuid4(), app_id=app_id, now=clock())
    metric = _checked(streams, app_id, metrics.evolve(None, event))
    return Written(metric, streams.append([event]))


def update_metric(
    streams: Streams,
    clock: Clock,
    app_id: UUID,
    metric_id: UUID,
    change: metrics.Change,
    naming: Naming,
) -> Written:
    before = _existing(streams, app_id, metric_id)
    event = metrics.update_metric(before, change, now=clock())
    metric = _checked(streams, app_id, metrics.evolve(before, event))
    _check_above(streams, app_id, metric, naming)
    return Written(metric, streams.append([event]))


def delete_metric(streams: Streams, clock: Clock, app_id: UUID, metric_id: UUID) -> int:
    """That no formula names it is for the caller to check."""
    event = metrics.delete_metric(_existing(streams, app_id, metric_id), now=clock())
    return streams.append([event])


def _checked(streams: Streams, app_id: UUID, metric: Metric) -> Metric:
    """It can be reckoned. Raises Rejected."""
    metrics.resolve(metric, lambda other: _load(streams, app_id, other))
    return metric


def _check_above(streams: Streams, app_id: UUID, metric: Metric, naming: Naming) -> None:
    """That what is reckoned from it can be reckoned from what it is now. Raises Rejected."""
    seen: dict[UUID, Metric] = {}
    below = [metric.metric_id]
    while below:
        new = [one for one in naming(below.pop()) if one.metric_id not in seen]
        seen |= {one.metric_id: one for one in new}
        below += [one.metric_id for one in new]
    for one in seen.values():
        if one.metric_id != metric.metric_id:
            try:
                metrics.resolve(
                    one, lambda o: metric if o == metric.metric_id else _load(streams, app_id, o)
                )
            except Rejected as error:
                issue = f"would then be wrong for {one.name}, whose formula needs this one: {error}"
                raise Rejected("definition", issue) from None


def _existing(streams: Streams, app_id: UUID, metric_id: UUID) -> Metric:
    metric = _load(streams, app_id, metric_id)
    if metric is None or metric.is_deleted:
        raise NotFound("no such metric")
    return metric


def _load(streams: Streams, app_id: UUID, metric_id: UUID) -> Metric | None:
    """None also for another app's, and for the id of something else."""
    history = streams.load(metric_id)
    if not history or not isinstance(history[0], MetricCreated) or history[0].app_id != app_id:
        return None
    return reduce(metrics.evolve, cast("list[MetricEvent]", history), cast("Metric | None", None))
