"""Estimates: a question that is answered from the events of some of the persons, chosen by a mark
of their numbers, always the same ones. Counts are scaled up to all persons; shares, averages and
times are those of the persons that were looked at.
"""

from collections.abc import Mapping
from math import sqrt
from typing import Any, TypeVar, cast

import msgspec

from domain import funnels, paths, retention, sessions, trends

_SURE = 1.96  # standard deviations to both sides: 95 % of a normal distribution

# Which figures grow with the number of persons.
_COUNTS: Mapping[type, tuple[str, ...]] = {
    trends.Series: ("total",),
    trends.Value: ("value",),
    funnels.Reached: ("persons",),
    retention.Series: ("size",),
    retention.Cohort: ("size",),
    retention.Value: ("count",),
    retention.Total: ("size", "count"),
    sessions.Figures: ("sessions", "persons"),
    sessions.Value: ("sessions", "persons"),
    paths.Paths: ("sessions",),
    paths.Node: ("sessions", "entries", "drop_offs"),
    paths.Link: ("count",),
}
_T = TypeVar("_T")


class Estimate(msgspec.Struct, frozen=True):
    """A count of n persons is within `margin_factor` times the square root of n of the true one in
    19 of 20 cases; counts of sessions and of what happened vary more, since some persons have many.
    """

    percent: float
    margin_factor: float


def estimate(percent: float) -> Estimate:
    """Each person is among those looked at with the same probability p: n found ones stand for n/p,
    whose variance is n(1 - p)/p^2 (Horvitz and Thompson, 1952).
    """
    return Estimate(percent, round(_SURE * sqrt((100 - percent) / percent), 4))


def scaled(found: _T, percent: float) -> _T:
    """`found`: what questions answer, structs and lists of such; counts become whole numbers."""
    return cast("_T", _scaled(found, 100 / percent))


def _scaled(found: Any, factor: float) -> Any:
    if isinstance(found, list):
        return [_scaled(one, factor) for one in found]
    if not isinstance(found, msgspec.Struct):
        return found
    counts = _COUNTS.get(type(found), ())
    fields = {name: getattr(found, name) for name in found.__struct_fields__}
    changed = {
        name: _count(value, factor) if name in counts else _scaled(value, factor)
        for name, value in fields.items()
    }
    return msgspec.structs.replace(found, **changed)


def _count(number: float | None, factor: float) -> int | None:
    return None if number is None else round(number * factor)
