"""What can be measured of events: how many, of how many persons, and of numbers that they carry."""

from typing import Literal, NamedTuple, get_args

from domain.buckets import Interval
from domain.conditions import BUILT_IN, check_property
from domain.errors import Rejected

Counting = Literal["total", "unique", "per_person", "weekly_active", "monthly_active"]
Numeric = Literal["sum", "average", "minimum", "maximum", "median", "p75", "p90", "p95", "p99"]
Measure = Literal[Counting, Numeric]
NUMERIC: tuple[str, ...] = get_args(Numeric)
ROLLING = {"weekly_active": 7, "monthly_active": 30}  # days, of which the bucket's is the last
OF_PERSONS = ("unique", *ROLLING)


class Measured(NamedTuple):
    """`property`: whose number is measured, of a Numeric; an event whose property is no number
    does not count.
    """

    measure: Measure
    property: str | None


def check_measure(measured: Measured, interval: Interval) -> None:
    """Raises Rejected, naming the field."""
    measure, name = measured
    if measure in ROLLING and interval != "day":
        raise Rejected("interval", f"must be day, on each of which {measure} is counted")
    if measure not in NUMERIC:
        if name is not None:
            raise Rejected("property", f"is not read for {measure}; leave it out")
        return
    if name is None:
        raise Rejected("property", f"is missing: {measure} is that of a number which events carry")
    check_property(name, "property")
    if name in BUILT_IN:
        raise Rejected("property", "is text; name a property that holds numbers")
