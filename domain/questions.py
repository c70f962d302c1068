"""What all questions about a range of time have in common."""

from typing import Literal, TypeVar
from zoneinfo import ZoneInfo

import msgspec

from domain.buckets import Range
from domain.conditions import Where, check_all, check_property
from domain.conditions.text import parse
from domain.conditions.tree import AllOf, Member, Tree, check_criteria
from domain.errors import Rejected
from domain.limits import (
    MAX_BREAKDOWN,
    MAX_BREAKDOWN_VALUES,
    MAX_ESTIMATE,
    MAX_ID_CHARS,
    MAX_NAME_CHARS,
    MAX_NUMBER,
    MIN_ESTIMATE,
)
from domain.moments import check_order, known_zone, midnight, read_moment


class Breakdown(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    property: str
    limit: int = 10


class Asked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`known_at` and `as_of` are the two times to ask at (domain/past.py), as they come over the
    wire. `explain`: the answer tells how it was got.
    """

    min_position: int | None = None
    known_at: str | int | None = None
    as_of: str | int | None = None
    explain: bool = False


class Ranged(
    Asked, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"start": "from"}
):
    """`start` (`from` in JSON) and `to` have the forms of domain/moments.py. A date is that whole
    day in `timezone`, the last one included; a time is an instant (in `timezone` if it has no
    offset), and `to` is then excluded. `where` holds for every event that counts. Of `criteria`, a
    tree or its text, and `segment`, an id, both hold of every person that counts. `compare`: with
    the same question about the time before. `estimate`: the percent of persons to look at, where
    not all are (domain/estimates.py).
    """

    start: str | int
    to: str | int
    timezone: str = "UTC"
    where: tuple[Where, ...] = ()
    criteria: Tree | str | None = None
    segment: str | None = None
    compare: Literal["previous"] | None = None
    format: Literal["json", "csv"] = "json"
    estimate: float | None = None


R = TypeVar("R", bound=Ranged)


def check_position(question: Asked) -> None:
    if question.min_position is not None and not 0 <= question.min_position <= MAX_NUMBER:
        raise Rejected("min_position", "must be a position that a write answered")


def check_range(question: Ranged) -> Range:
    """All that Ranged has. Raises Rejected, naming the field."""
    check_all(question.where)
    asked_people(question)
    _check_estimate(question.estimate)
    check_position(question)
    if question.explain and question.format == "csv":
        raise Rejected("explain", "is told in JSON; leave format out")
    zone = ZoneInfo(known_zone(question.timezone))
    start = read_moment(question.start, "from", zone, is_end=False)
    end = read_moment(question.to, "to", zone, is_end=True)
    check_order(start, end)
    return Range(start, end, zone)


def _check_estimate(percent: float | None) -> None:
    if percent is not None and not (MIN_ESTIMATE <= percent <= MAX_ESTIMATE):
        issue = f"must be {MIN_ESTIMATE} to {MAX_ESTIMATE}, the percent of persons to look at"
        raise Rejected("estimate", f"{issue}; leave it out to look at all")


def asked_people(question: Ranged) -> Tree | None:
    """What must hold of a person whose events count; None: they all do. Raises Rejected."""
    return people_meant(question.criteria, question.segment)


def people_meant(criteria: Tree | str | None, segment: str | None) -> Tree | None:
    """Both hold of each; None: all are meant. Raises Rejected."""
    tree = read_criteria(criteria)
    if segment is None:
        return tree
    if not 1 <= len(segment) <= MAX_ID_CHARS or "\0" in segment:
        raise Rejected("segment", f"must be an id of 1 to {MAX_ID_CHARS} characters")
    member = Member(segment=segment)
    return member if tree is None else AllOf(conditions=(member, tree))


def read_criteria(criteria: Tree | str | None) -> Tree | None:
    """Of a text its tree. Raises Rejected."""
    if isinstance(criteria, str):
        return parse(criteria)
    if criteria is not None:
        check_criteria(criteria)
    return criteria


def previous(question: R, within: Range) -> R:
    """The question about as many days of its zone before the range, where that is of whole days;
    else about the same time before it.
    """
    start, end, zone = within
    first, last = (at.astimezone(zone).date() for at in (start, end))
    earlier = start - (end - start)
    if (midnight(first, zone), midnight(last, zone)) == (start, end):
        earlier = midnight(first - (last - first), zone)
    return msgspec.structs.replace(question, start=earlier.isoformat(), to=start.isoformat())


def check_event(name: str, field: str) -> None:
    if not 1 <= len(name) <= MAX_NAME_CHARS:
        raise Rejected(field, f"must have 1 to {MAX_NAME_CHARS} characters")


def check_size(buckets: int, breakdown: Breakdown | None) -> None:
    """Of an answer with a value for each bucket and series."""
    series = breakdown.limit + 1 if breakdown else 1
    if series > 1 and buckets * series > MAX_BREAKDOWN_VALUES:
        issue = f"{buckets} buckets of {series} series are more than {MAX_BREAKDOWN_VALUES} values"
        raise Rejected("breakdown.limit", f"{issue}; ask for less time, longer buckets or fewer")


def check_breakdown(breakdown: Breakdown | None) -> None:
    if breakdown is not None:
        check_property(breakdown.property, "breakdown.property")
        if not 1 <= breakdown.limit <= MAX_BREAKDOWN:
            raise Rejected("breakdown.limit", f"must lie between 1 and {MAX_BREAKDOWN}")
