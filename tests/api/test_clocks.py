"""When it happened, by our clock: GET /v1/events shows the corrected time."""

from datetime import UTC, datetime, timedelta

import pytest

NAMES = {
    "/v1/events": ("event_name", "user_id", "timestamp", "sent_at"),
    "/v1/track": ("event", "userId", "timestamp", "sentAt"),
}


def iso(time: datetime) -> str:
    return time.isoformat()


def seen(tenant, path: str, timestamp: str, sent_at: str | None) -> dict:
    event, user, happened, sent = NAMES[path]
    body = {event: "E", user: "u", happened: timestamp}
    if sent_at is not None:
        body[sent] = sent_at
    answer = tenant.send(body, path)
    assert answer.is_success, answer.text
    return tenant.events()[0]


@pytest.mark.parametrize("path", NAMES)
@pytest.mark.parametrize("off", [timedelta(days=-900), timedelta(hours=-3), timedelta(days=400)])
def test_a_wrong_clock_is_corrected_by_what_it_said_when_sending(tenant, path, off):
    now = datetime.now(UTC)
    happened, sent = now - timedelta(minutes=10), now
    found = seen(tenant, path, iso(happened + off), iso(sent + off))
    corrected = datetime.fromisoformat(found["timestamp"])
    received = datetime.fromisoformat(found["received_at"])
    assert received - corrected == timedelta(minutes=10)


@pytest.mark.parametrize("path", NAMES)
def test_without_a_sending_time_the_timestamp_is_believed(tenant, path):
    found = seen(tenant, path, "2026-02-03T04:05:06.000007+01:00", None)
    assert found["timestamp"] == "2026-02-03T03:05:06.000007Z"


def test_without_a_timestamp_it_happened_when_it_was_received(tenant):
    tenant.sent({"event_name": "E", "user_id": "u", "sent_at": "2020-01-01T00:00:00Z"})
    (found,) = tenant.events()
    assert found["timestamp"] == found["received_at"]


def test_a_batch_says_once_when_it_was_sent(tenant):
    now = datetime.now(UTC)
    event = {"event_name": "E", "user_id": "u", "timestamp": iso(now - timedelta(days=30))}
    body = {"events": [event], "sent_at": iso(now - timedelta(days=30) + timedelta(seconds=5))}
    assert tenant.send(body, "/v1/events/batch").status_code == 202
    (found,) = tenant.events()
    corrected = datetime.fromisoformat(found["timestamp"])
    assert datetime.fromisoformat(found["received_at"]) - corrected == timedelta(seconds=5)


@pytest.mark.parametrize(
    ("timestamp", "expected"),
    [
        (1_770_000_000, "2026-02-02T02:40:00Z"),
        (1_770_000_000_123, "2026-02-02T02:40:00.123000Z"),
        ("2026-02-02 02:40:00Z", "2026-02-02T02:40:00Z"),
        ("2026-02-02T02:40:00", "2026-02-02T02:40:00Z"),
        ("2026-02-02T02:40:00.123456789Z", "2026-02-02T02:40:00.123457Z"),
        ("2024-02-29T23:59:59.999999-12:00", "2024-03-01T11:59:59.999999Z"),
    ],
)
def test_times_in_other_forms_are_read(tenant, timestamp, expected):
    found = seen(tenant, "/v1/events", timestamp, None)
    assert datetime.fromisoformat(found["timestamp"]) == datetime.fromisoformat(expected)


def test_a_clock_that_was_reset_to_1970_is_mended(tenant):
    found = seen(tenant, "/v1/events", "1970-01-01T00:10:00Z", "1970-01-01T00:11:00Z")
    corrected = datetime.fromisoformat(found["timestamp"])
    assert datetime.fromisoformat(found["received_at"]) - corrected == timedelta(minutes=1)
