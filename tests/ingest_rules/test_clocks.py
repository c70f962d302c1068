from datetime import UTC, datetime, timedelta

import pytest

from domain.admission import arrived, happened_at, read_clock
from domain.errors import Rejected
from domain.tracking import Client

NOW = datetime(2026, 11, 22, 10, 0, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def arrival(sent_at):
    return arrived(received_at=NOW, client=Client(), new_id=str, sent_at=sent_at)


@pytest.mark.parametrize(
    ("what", "original", "sent_at", "expected"),
    [
        ("a clock that is right", NOW - MINUTE, NOW, NOW - MINUTE),
        ("an hour slow", NOW - 61 * MINUTE, NOW - 60 * MINUTE, NOW - MINUTE),
        ("an hour fast", NOW + 59 * MINUTE, NOW + 60 * MINUTE, NOW - MINUTE),
        (
            "reset to 1970",
            datetime(1970, 1, 1, 0, 1, tzinfo=UTC),
            datetime(1970, 1, 1, 0, 2, tzinfo=UTC),
            NOW - MINUTE,
        ),
        ("an old event sent now", NOW - timedelta(days=900), NOW, NOW - timedelta(days=900)),
        ("no sent_at", NOW - MINUTE, None, NOW - MINUTE),
        ("no timestamp", None, NOW - 60 * MINUTE, NOW),
        ("absurd sent_at, sound timestamp", NOW, datetime(1970, 1, 1, tzinfo=UTC), NOW),
    ],
)
def test_a_timestamp_is_corrected_by_the_senders_skew(what, original, sent_at, expected):
    assert happened_at(original, arrival(sent_at)) == expected, what


@pytest.mark.parametrize(
    ("original", "sent_at"),
    [
        (datetime(1970, 1, 1, tzinfo=UTC), None),
        (datetime(1999, 12, 31, tzinfo=UTC), NOW),
        (NOW + timedelta(hours=25), NOW),
        (NOW + timedelta(hours=24, seconds=1), None),
    ],
)
def test_what_no_skew_explains_is_refused(original, sent_at):
    with pytest.raises(Rejected):
        happened_at(original, arrival(sent_at))


def test_24_hours_ahead_are_allowed():
    assert happened_at(NOW + timedelta(hours=24), arrival(None)) == NOW + timedelta(hours=24)


@pytest.mark.parametrize(
    "value",
    [datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC), 1e18, -5, 5e9, 5e12],
)
def test_a_clock_outside_1970_to_2100_is_refused(value):
    with pytest.raises(Rejected):
        read_clock(value, "sent_at")
