"""From the log to rows, and back."""

import json
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.tracking import Identified, Tracked
from projections.events import COLUMNS, Seen, create_table, rows
from projections.projection import Recorded

YEARS = (datetime(2000, 1, 1), datetime(2100, 12, 31))  # noqa: DTZ001  hypothesis wants them naive
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(
        st.fixed_dictionaries(
            {"event": st.text(min_size=1), "properties": st.dictionaries(st.text(), JSON)}
        ),
        min_size=1,
    ),
    st.datetimes(*YEARS),
)
def test_a_row_has_everything_that_the_event_had(engine, sent, at):
    engine.command("DROP TABLE IF EXISTS round_trip SYNC")
    engine.command(create_table("round_trip", generation="test"))
    at = at.replace(tzinfo=UTC)
    app, page = uuid4(), []
    for position, one in enumerate(sent, 1):
        body = msgspec.Raw(msgspec.json.encode(one["properties"]))
        event = Tracked(
            message_id=f"m{position}",
            timestamp=at,
            received_at=at + timedelta(microseconds=1),
            anonymous_id="someone",
            event=one["event"],
            kind="page",
            properties=body,
            context=msgspec.Raw(b'{"ip": 1}'),
            source="segment",
        )
        page.append(Recorded(position, uuid4(), app, Tracked.TOPIC, at, event))
    made = rows(page, {(3, "someone"): 2**40}, {app: 3}, lambda _: Seen("DE", "Chrome", "", "tv"))
    engine.insert_rows("round_trip", COLUMNS, made.data)
    found = engine.query(
        f"SELECT {', '.join(COLUMNS)}, day, hour FROM round_trip ORDER BY position"
    )
    assert made.rows == len(page) == len(found.rows)
    for recorded, values in zip(page, found.rows, strict=True):
        row = dict(zip(found.columns, values, strict=True))
        assert json.loads(row.pop("properties")) == msgspec.json.decode(recorded.event.properties)
        assert row == {
            "app_number": 3,
            "event": recorded.event.event,
            "pid0": 2**40,
            "ts": at,
            "position": recorded.position,
            "event_id": recorded.stream_id,
            "kind": "page",
            "source": "segment",
            "message_id": recorded.event.message_id,
            "distinct_id": "someone",
            "user_id": "",
            "anonymous_id": "someone",
            "context": '{"ip": 1}',
            "received_at": at + timedelta(microseconds=1),
            "recorded_at": at,
            "country": "DE",
            "browser": "Chrome",
            "os": "",
            "device": "tv",
            "day": at.date(),
            "hour": at.replace(minute=0, second=0, microsecond=0),
        }


def test_long_strings_have_long_lengths(engine, table, tracked, block, noon):
    engine.command(create_table(table, generation="test"))
    sizes = [0, 127, 128, 16_383, 16_384, 65_535, 65_536, 2_100_000]
    page = [
        tracked(position, noon, event="long", user="u1", text="x" * size)
        for position, size in enumerate(sizes, 1)
    ]
    engine.insert_rows(table, COLUMNS, block(page).data)
    found = engine.query(
        f"SELECT length(JSONExtractString(properties, 'text')) FROM {table} ORDER BY position"
    )
    assert [row[0] for row in found.rows] == sizes


def test_only_tracked_events_become_rows(noon):
    identified = Identified(message_id="m", timestamp=noon, received_at=noon, user_id="u")
    page = [Recorded(1, uuid4(), uuid4(), Identified.TOPIC, noon, identified)]
    assert rows(page, {}, {}, lambda _: Seen()) == (b"", 0)


def test_an_id_without_a_number_is_an_error(tracked, noon):
    page = [tracked(1, noon, event="e", user="u1")]
    with pytest.raises(KeyError):
        rows(page, {}, {page[0].app_id: 1}, lambda _: Seen())
