"""Metrics: load, decide, append."""

from functools import reduce
from typing import NamedTuple, cast
from uuid import UUID, uuid4

from commands.ports import Clock, Streams
from domain import metrics
from domain.errors import NotFound
from domain.metrics import Metric, MetricCreated, MetricEvent, MetricUpdated


class Written(NamedTuple):
    metric: Metric
    position: int


def create_metric(
    streams: Streams, clock: Clock, app_id: UUID, wanted: metrics.NewMetric
) -> Written:
    event = metrics.create_metric(wanted, metric_id=uuid4(), app_id=app_id, now=clock())
    return _append(streams, app_id, None, event)


def update_metric(
    streams: Streams, clock: Clock, app_id: UUID, metric_id: UUID, change: metrics.Change
) -> Written:
    metric = _existing(streams, app_id, metric_id)
    return _append(streams, app_id, metric, metrics.update_metric(metric, change, now=clock()))


def delete_metric(streams: Streams, clock: Clock, app_id: UUID, metric_id: UUID) -> int:
    """That no formula names it is for the caller to check."""
    event = metrics.delete_metric(_existing(streams, app_id, metric_id), now=clock())
    return streams.append([event])


def _append(
    streams: Streams, app_id: UUID, before: Metric | None, event: MetricCreated | MetricUpdated
) -> Written:
    metric = metrics.evolve(before, event)
    metrics.resolve(metric, lambda other: _load(streams, app_id, other))
    return Written(metric, streams.append([event]))


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
