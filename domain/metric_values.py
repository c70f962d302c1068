"""The values of a metric: those of what is measured, and of a formula reckoned from them bucket by
bucket, series by series.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import msgspec

from domain import trends
from domain.errors import Rejected
from domain.limits import MAX_BREAKDOWN
from domain.metrics import Metric, Resolved, measured, measured_in, reckon
from domain.trends import Question, Series, Value, plain

Measured = Mapping[UUID, Sequence[Series]]


def question_of(metric: Metric, asked: Question) -> Question:
    """What is asked of a metric that is measured: `asked` has the range and how it is split."""
    definition = metric.definition
    measure, name = measured(definition)
    return msgspec.structs.replace(
        asked, event=definition.event, measure=measure, property=name, where=definition.where
    )


def whole(resolved: Resolved, asked: Question) -> Question:
    """A formula needs all values that its metrics are broken down by, to bring them together."""
    if resolved.formula is None or asked.breakdown is None:
        return asked
    split = msgspec.structs.replace(asked.breakdown, limit=MAX_BREAKDOWN)
    return msgspec.structs.replace(asked, breakdown=split)


def series_of(resolved: Resolved, found: Measured, asked: Question) -> list[Series]:
    """`found`: of each metric that is measured, to `question_of` `whole`. Of a formula that is
    broken down the first `limit` are told, in the order of the metric that it names first. Raises
    Rejected where there are too many values to bring together.
    """
    if resolved.formula is None:
        return list(found[resolved.metric.metric_id])
    if any(one.kind == "other" for series in found.values() for one in series):
        issue = f"has more than {MAX_BREAKDOWN} values, too many for a formula of several metrics"
        raise Rejected("breakdown", issue)
    metrics = measured_in(resolved)
    nothing = {
        metric_id: trends.nothing(question_of(metric, asked))
        for metric_id, metric in metrics.items()
    }
    by_value = {key: {_told(one): one for one in series} for key, series in found.items()}
    told = dict.fromkeys(key for metric_id in metrics for key in by_value[metric_id])
    limit = asked.breakdown.limit if asked.breakdown else 1
    return [
        _reckoned(resolved, {one: series.get(key) for one, series in by_value.items()}, nothing)
        for key in list(told)[:limit]
    ]


def _told(series: Series) -> tuple[str, str, bytes]:
    """What tells series apart. The label of what is not broken down is the event's name."""
    label = "" if series.kind == "all" else series.label
    return series.kind, label, msgspec.json.encode(series.value)


def _reckoned(
    resolved: Resolved, of: Mapping[UUID, Series | None], nothing: Mapping[UUID, float | None]
) -> Series:
    """`of`: None for a metric that has nothing of this series."""
    shown = next(series for series in of.values() if series is not None)

    def at(place: int) -> float | None:
        values = {
            key: nothing[key] if series is None else series.values[place].value
            for key, series in of.items()
        }
        return plain(reckon(resolved, values))

    values = [
        Value(value.start, at(place), value.complete) for place, value in enumerate(shown.values)
    ]
    totals: dict[UUID, Any] = {
        key: nothing[key] if series is None else series.total for key, series in of.items()
    }
    label = resolved.metric.name if shown.kind == "all" else shown.label
    return Series(label, shown.kind, shown.value, values, plain(reckon(resolved, totals)))
