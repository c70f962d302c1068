import json
from datetime import UTC, datetime
from uuid import UUID

import msgspec
import pytest

from commands.ingest import Outcome, event_id, outcomes, refusal_id, stream_id, to_new_events
from commands.ports import Receipt
from domain.tracking import Refused

NOW = datetime(2026, 11, 22, tzinfo=UTC)
APP = UUID("6f2c0c0e-0f0e-4f43-9d0e-5d3a52f4c001")


@pytest.fixture(scope="session")
def track(judge):
    def made(**said):
        body = {"event": "E", "userId": "u", "messageId": "m", "type": "track", **said}
        (message,) = judge(json.dumps(body).encode(), f"/v1/{body['type']}")
        return message

    return made


def outcome_of(new, stored) -> Outcome:
    (outcome,) = outcomes([Receipt(7, stored)], to_new_events(APP, [new]))
    return outcome


def test_the_id_of_a_message_never_changes():
    assert stream_id(APP, "m").hex() == "77b3f370068a752451c6bfbd08ae2c1f"
    assert stream_id(APP, "é😀").hex() == "5b013499cba614d5bc29fb116b3b318b"
    refused = Refused(body=b"{}", field="", issue="", received_at=NOW, dialect="segment")
    assert refusal_id(APP, refused).hex() == "4e0b8abaf059382132f05a3834a5d43f"
    track = msgspec.structs.replace(refused, kind="track")
    assert refusal_id(APP, track).hex() == "7293bfa95d26adc07a325481124f1ac5"


def test_the_bulk_path_gives_the_same_ids(track):
    (new,) = to_new_events(APP, [track()])
    assert new.stream_id == stream_id(APP, "m")
    assert event_id(new.stream_id) == "evt_" + stream_id(APP, "m").hex()


def test_the_same_id_in_two_apps_is_two_messages():
    assert stream_id(APP, "m") != stream_id(UUID(int=1), "m")


def test_what_is_new_is_accepted(track):
    outcome = outcome_of(track(), None)
    assert (outcome.status, outcome.position) == ("accepted", 7)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({}, {}),
        ({"sentAt": "2026-11-22T09:00:00Z"}, {"sentAt": "2026-11-22T09:05:00Z"}),
        ({"context": {"locale": "de"}}, {"context": {"locale": "fr"}}),
        ({"properties": {"a": 1, "b": 2.5}}, {"properties": {"b": 2.5, "a": 1}}),
        ({"timestamp": "2026-11-22T09:00:00Z"}, {"timestamp": "2026-11-22T10:00:00+01:00"}),
    ],
)
def test_a_message_sent_again_is_a_duplicate(track, first, second):
    outcome = outcome_of(track(**second), track(**first))
    assert (outcome.status, outcome.position) == ("duplicate", 7)


@pytest.mark.parametrize(
    "other",
    [
        {"event": "F"},
        {"userId": "v"},
        {"anonymousId": "a"},
        {"properties": {"a": 2}},
        {"timestamp": "2026-11-22T09:00:00Z"},
        {"type": "identify"},
        {"type": "identify", "traits": {"a": 1}},
        {"type": "page", "name": "E"},
        {"type": "alias", "previousId": "p"},
    ],
)
def test_the_same_id_with_other_content_is_a_conflict_and_the_first_one_stays(track, other):
    outcome = outcome_of(track(**other), track())
    assert (outcome.status, outcome.position, outcome.field) == ("conflict", 7, "message_id")


def test_a_refused_message_is_rejected_also_when_it_comes_again(judge):
    (refused,) = judge(b'{"event":"E"}')
    for stored in (None, refused):
        outcome = outcome_of(refused, stored)
        assert (outcome.status, outcome.field) == ("rejected", "user_id")


def test_outcomes_stand_in_the_order_of_the_messages(track, judge):
    (refused,) = judge(b"{}")
    new = to_new_events(APP, [track(messageId="1"), refused, track(messageId="2")])
    found = outcomes([Receipt(1), Receipt(2), Receipt(3)], new)
    assert [(o.index, o.status) for o in found] == [
        (0, "accepted"),
        (1, "rejected"),
        (2, "accepted"),
    ]


def test_an_outcome_says_nothing_that_it_does_not_know():
    assert msgspec.json.encode(Outcome(0, "accepted", "evt_1", 3)) == (
        b'{"index":0,"status":"accepted","event_id":"evt_1","position":3}'
    )
