"""The time before a range."""

import pytest

from domain.questions import check_range, previous
from domain.trends import Question


@pytest.mark.parametrize(
    ("zone", "start", "to", "before"),
    [
        ("UTC", "2026-03-02", "2026-03-08", "2026-02-23T00:00:00+00:00"),
        ("Europe/Berlin", "2026-03-30", "2026-04-05", "2026-03-22T23:00:00+00:00"),
        ("America/New_York", "2026-11-02", "2026-11-02", "2026-11-01T04:00:00+00:00"),
        ("UTC", "2026-03-02T12:00:00", "2026-03-02T13:30:00", "2026-03-02T10:30:00+00:00"),
        ("Europe/Berlin", "2026-03-29T00:00", "2026-03-30T00:00", "2026-03-27T23:00:00+00:00"),
    ],
)
def test_days_are_compared_with_as_many_days_before_them(zone, start, to, before):
    question = Question(start=start, to=to, timezone=zone, compare="previous")
    within = check_range(question)
    earlier = previous(question, within)
    assert earlier.start == before
    assert check_range(earlier).end == within.start
    assert earlier.timezone == zone
