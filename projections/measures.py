"""The measures of domain/measures.py as aggregates that can be joined after they were counted."""

from typing import NamedTuple

from domain.measures import NUMERIC, Measured
from projections.conditions import Parameters, number_of
from projections.person_map import persons, scalars

_PERSON = "pid0"
_FUNCTIONS = {
    "minimum": "min",
    "maximum": "max",
    "median": "quantileExactInclusive",
    "p75": "quantileExactInclusive",
    "p90": "quantileExactInclusive",
    "p95": "quantileExactInclusive",
    "p99": "quantileExactInclusive",
}
_LEVELS = {"median": "(0.5)", "p75": "(0.75)", "p90": "(0.9)", "p95": "(0.95)", "p99": "(0.99)"}


class Aggregate(NamedTuple):
    """How a cell is counted, how cells are joined, and the number that a joined cell stands for;
    `scalars` is what the query needs for that.
    """

    cell: str
    joined: str
    number: str
    scalars: str = ""


def aggregate(
    measured: Measured, app_number: int, known_at: int | None, parameters: Parameters
) -> Aggregate:
    if measured.measure == "total":
        return Aggregate("count()", "sum({cell})", "{cell}")
    if measured.measure in NUMERIC:
        return _of_numbers(measured, parameters)
    with_scalars = f"WITH {scalars(app_number, known_at)}"
    bitmap = f"groupBitmapState({_PERSON})"
    if measured.measure != "per_person":
        unique = f"bitmapCardinality({persons('{cell}', app_number, known_at)})"
        return Aggregate(bitmap, "groupBitmapMergeState({cell})", unique, with_scalars)
    unique = f"bitmapCardinality({persons('tupleElement({cell}, 2)', app_number, known_at)})"
    return Aggregate(
        f"(count(), {bitmap})",
        "(sum(tupleElement({cell}, 1)), groupBitmapMergeState(tupleElement({cell}, 2)))",
        f"tupleElement({{cell}}, 1) / nullIf({unique}, 0)",
        with_scalars,
    )


def _of_numbers(measured: Measured, parameters: Parameters) -> Aggregate:
    """NULL is not counted. Quantiles are exact and, between two numbers, interpolated."""
    value = number_of(measured.property or "", parameters)
    if measured.measure in {"sum", "average"}:
        return _added_up(measured, value)
    name = _FUNCTIONS[measured.measure]
    level = _LEVELS.get(measured.measure, "")
    return Aggregate(
        f"{name}State{level}({value})",
        f"{name}MergeState{level}({{cell}})",
        "finalizeAggregation({cell})",
    )


def _added_up(measured: Measured, value: str) -> Aggregate:
    """In whole millionths: what doubles come to depends on the order in which they are added."""
    millionths = f"sum(ifNull(toInt128(round({value} * 1000000.)), 0))"
    if measured.measure == "sum":
        return Aggregate(millionths, "sum({cell})", "toFloat64({cell}) / 1000000.")
    return Aggregate(
        f"({millionths}, count({value}))",
        "(sum(tupleElement({cell}, 1)), sum(tupleElement({cell}, 2)))",
        "toFloat64(tupleElement({cell}, 1)) / 1000000. / nullIf(tupleElement({cell}, 2), 0)",
    )
