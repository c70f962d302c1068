"""Trends against a plain count in Python over the same events."""

from collections import defaultdict
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import msgspec
import pytest

from domain.conditions import Where, lookup, matches
from domain.errors import Rejected
from domain.questions import Breakdown
from domain.trends import NONE, OTHER, Question, check
from tests.analytics.happened import FACTS, ZONES, bucket_key, told


def _expected(happened, question, *, start, end):
    """Told value -> (bucket key -> value, total), before the top ones are chosen."""
    groups = defaultdict(lambda: defaultdict(list))
    for recorded in happened:
        event = recorded.event
        properties = msgspec.json.decode(event.properties)
        number = int(event.user_id[1:])
        facts = {**FACTS, "$event": event.event}
        facts["$country"] = f"C{number % 3}" if number % 4 else ""
        if question.event not in (None, event.event) or not start <= event.timestamp < end:
            continue
        if not all(matches(where, properties, facts) for where in question.where):
            continue
        label = ""
        if question.breakdown:
            label = told(lookup(question.breakdown.property, properties, facts))
        key = bucket_key(event.timestamp, question.timezone, question.interval)
        groups[label][key].append(event.user_id)
    return groups


def _number(question, users):
    return len(set(users)) if question.measure == "unique" else len(users)


def _as_compared(question, found):
    """Label -> bucket key -> value, without zeros; and label -> total."""
    values = {
        one.label: {
            bucket_key(
                datetime.fromisoformat(v.start), question.timezone, question.interval
            ): v.value
            for v in one.values
            if v.value
        }
        for one in found
    }
    return values, {one.label: one.total for one in found}


def _counted(question, groups):
    values = {
        label: {key: _number(question, users) for key, users in cells.items()}
        for label, cells in groups.items()
    }
    return values, {label: _total(question, cells) for label, cells in groups.items()}


def _total(question, cells):
    return _number(question, [user for users in cells.values() for user in users])


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("interval", ["hour", "day", "week", "month"])
@pytest.mark.parametrize("measure", ["total", "unique"])
def test_every_bucket_is_what_a_plain_count_says(ask_trends, happened, zone, interval, measure):
    question = Question(
        start="2026-03-01", to="2026-11-10", interval=interval, timezone=zone, measure=measure
    )
    found, source = ask_trends(question)
    start = datetime(2026, 3, 1, tzinfo=ZoneInfo(zone))
    end = datetime(2026, 11, 11, tzinfo=ZoneInfo(zone))
    values, totals = _counted(question, _expected(happened, question, start=start, end=end))
    assert _as_compared(question, found) == ({"$all": values[""]}, {"$all": totals[""]})
    hourly = "rows" if zone in ("Asia/Kolkata", "Australia/Lord_Howe") else "hour"
    assert source == ("day" if zone == "UTC" and interval != "hour" else hourly)


@pytest.mark.parametrize("measure", ["total", "unique"])
@pytest.mark.parametrize(
    ("name", "zone", "read"),
    [
        *((name, "Europe/Berlin", "rows") for name in ("ext", "size", "file.depth", "absent")),
        ("$country", "Europe/Berlin", "rows"),
        ("$country", "UTC", "day"),
        ("$event", "Europe/Berlin", "hour"),
    ],
)
@pytest.mark.parametrize("limit", [2, 100])
def test_a_breakdown_has_the_largest_values_and_one_for_all_others(
    ask_trends, happened, measure, name, limit, zone, read
):
    question = Question(
        start="2026-03-01",
        to="2026-09-30",
        interval="month",
        timezone=zone,
        measure=measure,
        breakdown=Breakdown(name, limit),
        where=(Where("size", "not_equals", 1),) if not name.startswith("$") else (),
    )
    found, source = ask_trends(question)
    start = datetime(2026, 3, 1, tzinfo=ZoneInfo(zone))
    end = datetime(2026, 10, 1, tzinfo=ZoneInfo(zone))
    groups = _expected(happened, question, start=start, end=end)
    order = sorted(groups, key=lambda g: (-_total(question, groups[g]), g is None, g or ""))
    ranked = [g for g in order if g is not None]
    first = [g for g in order if g is None or g in ranked[:limit]]
    expected = [(("none" if g is None else "value", g), groups[g]) for g in first]
    if rest := ranked[limit:]:
        expected.append((("other", None), _joined([groups[g] for g in rest])))
    assert [(one.kind, told(one.value)) for one in found] == [shown for shown, _ in expected]
    assert [one.label for one in found] == [_label(*shown) for shown, _ in expected]
    assert [one.total for one in found] == [_total(question, cells) for _, cells in expected]
    for one, (_, cells) in zip(found, expected, strict=True):
        counted = {key: _number(question, users) for key, users in cells.items()}
        assert _as_compared(question, [one])[0] == {one.label: counted}
    assert len({(one.kind, told(one.value)) for one in found}) == len(found)
    assert source == read


def _label(kind, text):
    return {"none": NONE, "other": OTHER}.get(kind) or text.removeprefix('"')


def _joined(all_cells):
    joined = defaultdict(list)
    for cells in all_cells:
        for key, users in cells.items():
            joined[key] += users
    return joined


@pytest.mark.parametrize("zone", ZONES)
def test_conditions_hold_in_any_zone(ask_trends, happened, zone):
    """Rows are read then, by day, hour or instant."""
    question = Question(
        start="2026-03-01",
        to="2026-10-31",
        interval="day",
        timezone=zone,
        where=(Where("$country", "is_set"), Where("size", "not_equals", 1)),
    )
    found, source = ask_trends(question)
    start = datetime(2026, 3, 1, tzinfo=ZoneInfo(zone))
    end = datetime(2026, 11, 1, tzinfo=ZoneInfo(zone))
    values, totals = _counted(question, _expected(happened, question, start=start, end=end))
    assert _as_compared(question, found) == ({"$all": values[""]}, {"$all": totals[""]})
    assert source == "rows"


def test_event_and_conditions_narrow_the_count(ask_trends, happened):
    question = Question(
        start="2026-03-01T06:30:00+05:30",
        to="2026-08-01T00:00:00.5Z",
        event="tag ö'\\",
        where=(Where("ext", "in", ["py", "rs"]), Where("file.depth", "less", 7)),
    )
    found, source = ask_trends(question)
    start = datetime(2026, 3, 1, 1, tzinfo=UTC)
    end = datetime(2026, 8, 1, 0, 0, 0, 500_000, tzinfo=UTC)
    values, totals = _counted(question, _expected(happened, question, start=start, end=end))
    label = "tag ö'\\"
    assert _as_compared(question, found) == ({label: values[""]}, {label: totals[""]})
    assert (source, totals[""] > 20) == ("rows", True)


def test_nothing_that_happened_is_zeros(ask_trends):
    (one,), _ = ask_trends(Question(start="2026-03-01", to="2026-03-03", event="never"))
    assert [v.value for v in one.values] == [0, 0, 0]
    assert one.total == 0


def test_a_bucket_is_complete_when_it_is_over(ask_trends):
    question = Question(
        start="2026-10-25T01:00:00+02:00",
        to="2026-10-25T04:00:00+01:00",
        interval="hour",
        timezone="Europe/Berlin",
    )
    (one,), _ = ask_trends(question)
    assert [(v.start[11:], v.complete) for v in one.values] == [
        ("01:00:00+02:00", True),
        ("02:00:00+02:00", True),
        ("02:00:00+01:00", False),
        ("03:00:00+01:00", False),
    ]


@pytest.mark.parametrize(
    ("zone", "breakdown"),
    [
        ("UTC", None),
        ("UTC", Breakdown("$event")),
        ("UTC", Breakdown("$country")),
        ("Europe/Berlin", None),
        ("Europe/Berlin", Breakdown("$event")),
    ],
)
@pytest.mark.parametrize("measure", ["total", "unique"])
@pytest.mark.parametrize("event", [None, "commit"])
def test_hot_questions_read_a_rollup_and_not_the_rows(ask_trends, zone, measure, event, breakdown):
    """`ask_trends` sees to it that what the plan says is so."""
    question = Question(
        start="2026-03-10",
        to="2026-04-10",
        timezone=zone,
        measure=measure,
        event=event,
        breakdown=breakdown,
    )
    assert ask_trends(question)[1] == ("day" if zone == "UTC" else "hour")


DAYS = [
    ("Europe/Berlin", "2026-03-29", 23),
    ("Europe/Berlin", "2026-10-25", 25),
    ("Australia/Lord_Howe", "2026-04-05", 24.5),
    ("America/Santiago", "2026-09-06", 23),
]


@pytest.mark.parametrize(("zone", "day", "hours"), DAYS)
def test_a_day_on_which_the_clocks_change_has_its_own_length(zone, day, hours):
    first, end = check(Question(start=day, to=day, timezone=zone)).bounds
    assert (end - first) / 3600 == hours


def test_weeks_begin_on_monday_and_reach_beyond_the_range():
    buckets = check(Question(start="2026-01-01", to="2026-01-12", interval="week"))
    starts = [datetime.fromtimestamp(second, UTC).date() for second in buckets.bounds]
    assert [str(start) for start in starts] == [
        "2025-12-29",
        "2026-01-05",
        "2026-01-12",
        "2026-01-19",
    ]


@pytest.mark.parametrize("form", ["20260131", "2026-W05-6"])
def test_every_form_of_a_date_is_a_whole_day(form):
    plain = check(Question(start="2026-01-31", to="2026-01-31", timezone="Asia/Tokyo"))
    same = check(Question(start=form, to=form, timezone="Asia/Tokyo"))
    assert (same.start, same.end, same.bounds) == (plain.start, plain.end, plain.bounds)


WRONG = [
    ({"from": "2026-01-02", "to": "2026-01-01"}, "to"),
    ({"from": "yesterday", "to": "2026-01-01"}, "from"),
    ({"from": "2026-02-30", "to": "2026-03-01"}, "from"),
    ({"from": "1999-01-01", "to": "2026-01-01"}, "from"),
    ({"from": "2026-01-01", "to": "9999-12-31"}, "to"),
    ({"from": "2026-01-01", "to": "2026-01-02", "timezone": "Mars/Olympus"}, "timezone"),
    ({"from": "2024-01-01", "to": "2026-01-02", "interval": "hour"}, "interval"),
    ({"from": "2026-01-01", "to": "2026-01-02", "event": ""}, "event"),
    (
        {"from": "2026-01-01", "to": "2026-01-02", "breakdown": {"property": ""}},
        "breakdown.property",
    ),
    (
        {"from": "2026-01-01", "to": "2026-01-02", "breakdown": {"property": "a", "limit": 0}},
        "breakdown.limit",
    ),
]


@pytest.mark.parametrize(("asked", "field"), WRONG)
def test_a_question_without_sense_is_refused_with_the_field(asked, field):
    with pytest.raises(Rejected) as refused:
        check(msgspec.convert(asked, Question))
    assert refused.value.field == field
