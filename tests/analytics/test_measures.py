"""Measures of trends against plain figures in Python over the same events."""

import math
import statistics
from collections import defaultdict
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec
import pytest

from domain.conditions import lookup
from domain.conditions.judging import millionths
from domain.errors import Rejected
from domain.questions import Breakdown
from domain.trends import Question, check
from tests.analytics.happened import FACTS, bucket_key, told

NUMBERS = {
    "sum": lambda numbers: sum(map(millionths, numbers)) / 1_000_000,
    "average": statistics.fmean,
    "minimum": min,
    "maximum": max,
    "median": statistics.median,
    "p90": lambda numbers: _quantile(numbers, 0.9),
}


def _quantile(numbers, level):
    """Between two numbers where it falls between them."""
    numbers = sorted(numbers)
    place = level * (len(numbers) - 1)
    low = math.floor(place)
    high = min(low + 1, len(numbers) - 1)
    return numbers[low] + (numbers[high] - numbers[low]) * (place - low)


@pytest.mark.parametrize("measure", NUMBERS)
@pytest.mark.parametrize("breakdown", [None, Breakdown("ext", 100)])
def test_numbers_that_events_carry_are_measured_and_nothing_else(
    ask_trends, happened, measure, breakdown
):
    question = Question(
        start="2026-03-01", to="2026-05-31", timezone="Europe/Berlin", interval="week",
        measure=measure, property="size", breakdown=breakdown,
    )  # fmt: skip
    zone = ZoneInfo("Europe/Berlin")
    start, end = datetime(2026, 3, 1, tzinfo=zone), datetime(2026, 6, 1, tzinfo=zone)
    expected = defaultdict(lambda: defaultdict(list))
    for recorded in happened:
        event = recorded.event
        properties = msgspec.json.decode(event.properties)
        size = properties["size"]
        if start <= event.timestamp < end and type(size) in (int, float):
            label = told(lookup("ext", properties, FACTS)) if breakdown else ""
            expected[label][bucket_key(event.timestamp, question.timezone, "week")].append(size)
    found, source = ask_trends(question)
    assert source == "rows"
    assert len(found) == len(expected)
    for one in found:
        cells = expected[told(one.value) if breakdown else ""]
        shown = {
            bucket_key(datetime.fromisoformat(v.start), question.timezone, "week"): v.value
            for v in one.values
        }
        for key, value in shown.items():
            nothing = 0 if measure == "sum" else None
            assert value == (pytest.approx(NUMBERS[measure](cells[key])) if cells[key] else nothing)
        whole = [number for cell in cells.values() for number in cell]
        assert one.total == pytest.approx(NUMBERS[measure](whole))


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "Australia/Lord_Howe"])
@pytest.mark.parametrize(("measure", "days"), [("weekly_active", 7), ("monthly_active", 30)])
@pytest.mark.parametrize("breakdown", [None, Breakdown("$event", 100)])
def test_active_people_are_those_of_the_days_until_then(
    ask_trends, happened, zone, measure, days, breakdown
):
    question = Question(
        start="2026-03-25", to="2026-04-20", timezone=zone, measure=measure, breakdown=breakdown
    )
    found, source = ask_trends(question)
    assert source == {"UTC": "day", "Europe/Berlin": "hour"}.get(zone, "rows")
    for one in found:
        mine = [
            (e.timestamp.astimezone(ZoneInfo(zone)).date(), e.user_id)
            for e in (recorded.event for recorded in happened)
            if breakdown is None or e.event == one.value
        ]
        for value in one.values:
            day = datetime.fromisoformat(value.start).date()
            active = {user for at, user in mine if day - timedelta(days=days) < at <= day}
            assert value.value == len(active)
        first = date(2026, 3, 25) - timedelta(days=days - 1)
        whole = {user for at, user in mine if first <= at <= date(2026, 4, 20)}
        assert one.total == len(whole)


@pytest.mark.parametrize("breakdown", [None, Breakdown("ext", 100)])
def test_per_person_is_how_often_those_did_it_who_did(ask_trends, happened, breakdown):
    given = {"start": "2026-03-01", "to": "2026-03-31", "breakdown": breakdown}
    parts = {}
    for measure in ("total", "unique", "per_person"):
        found, _ = ask_trends(Question(**given, measure=measure))
        parts[measure] = {told(one.value): one for one in found}
    for label, one in parts["per_person"].items():
        total, unique = parts["total"][label], parts["unique"][label]
        assert one.total == pytest.approx(total.total / unique.total)
        for rate, count, persons in zip(one.values, total.values, unique.values, strict=True):
            expected = pytest.approx(count.value / persons.value) if persons.value else None
            assert rate.value == expected


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"measure": "sum"}, "property"),
        ({"measure": "sum", "property": "$country"}, "property"),
        ({"measure": "total", "property": "size"}, "property"),
        ({"measure": "weekly_active", "interval": "week"}, "interval"),
    ],
)
def test_a_measure_that_makes_no_sense_is_refused(more, field):
    with pytest.raises(Rejected) as refused:
        check(Question(start="2026-03-01", to="2026-03-31", **more))
    assert refused.value.field == field
