import json

import pytest

from api.dialects import native
from api.dialects.calls import CALLS
from commands.ingest import Outcome
from domain.errors import Conflict, Rejected
from domain.tracking import Client, Refused, Tracked

EVENT = {"event_name": "E", "user_id": "u"}


@pytest.mark.parametrize("path", ["/v1/events", "/v1/events/track"])
@pytest.mark.parametrize(
    "said",
    [
        {"event_name": "E", "user_id": "u", "anonymous_id": "a", "message_id": "m"},
        {"event": "E", "userId": "u", "anonymousId": "a", "messageId": "m"},
        {"event": "E", "event_name": "E", "userId": "u", "anonymous_id": "a", "message_id": "m"},
    ],
)
def test_both_spellings_are_the_same_event(one, path, said):
    message = one(path, said)
    assert (message.event, message.user_id, message.anonymous_id, message.message_id) == (
        "E",
        "u",
        "a",
        "m",
    )


def test_two_spellings_that_disagree_are_refused(take_in):
    (refused,) = take_in("/v1/events", b'{"event":"E","user_id":"u","userId":"v"}')
    assert refused.field == "user_id"


def test_a_field_that_is_not_ours_is_refused_with_the_place_where_it_belongs(take_in):
    (refused,) = take_in("/v1/events", b'{"event":"E","user_id":"u","price":5}')
    assert refused.field == "price"
    assert "properties" in refused.issue


def test_ip_and_ua_go_before_what_the_edge_saw(one):
    message = one("/v1/events", {**EVENT, "ip": "203.0.113.7", "ua": "phone"})
    assert message.client == Client("203.0.113.7", "phone", None)


def test_ua_alone_leaves_the_edges_address_and_country(one, edge):
    message = one("/v1/events", {**EVENT, "ua": "phone"})
    assert message.client == Client(edge.ip, "phone", edge.country)


@pytest.mark.parametrize("said", [{"ip": "here"}, {"ip": ""}, {"ua": "a\0"}])
def test_an_ip_that_is_none_is_refused(take_in, said):
    (refused,) = take_in("/v1/events", json.dumps({**EVENT, **said}).encode())
    assert refused.field in said


@pytest.mark.parametrize(
    "timestamp",
    [
        "2026-01-31T12:00:00Z",
        "2026-01-31T13:00:00+01:00",
        "2026-01-31T12:00:00",
        1769860800,
        1769860800.0,
        1769860800000,
    ],
)
def test_times_are_iso_or_epoch_seconds_or_milliseconds(one, timestamp):
    message = one("/v1/events", {**EVENT, "timestamp": timestamp})
    assert message.timestamp.isoformat() == "2026-01-31T12:00:00+00:00"
    assert message.original_timestamp == message.timestamp


def test_without_a_time_it_happened_when_it_came_in(one, received_at):
    message = one("/v1/events", EVENT)
    assert (message.timestamp, message.original_timestamp) == (received_at, None)


def test_a_batch_shares_its_sent_at(take_in):
    events = [{**EVENT, "timestamp": "2026-11-22T09:00:00Z"}]
    body = json.dumps({"events": events, "sentAt": "2026-11-22T09:59:00Z"}).encode()
    (message,) = take_in("/v1/events/batch", body)
    assert message.timestamp.isoformat() == "2026-11-22T09:01:00+00:00"
    assert message.sent_at.isoformat() == "2026-11-22T09:59:00+00:00"


def test_one_bad_event_does_not_sink_the_others(take_in):
    body = b'{"events":[{"event":"E","user_id":"u"},7,{"event":"","user_id":"u"}]}'
    good, number, nameless = take_in("/v1/events/batch", body)
    assert isinstance(good, Tracked)
    assert isinstance(number, Refused)
    assert number.body == b"7"
    assert nameless.field == "event_name"


@pytest.mark.parametrize(
    "bad",
    [
        b'{"event":"\\ud800","user_id":"u"}',
        b'{"event":"E","user_id":"u","properties":' + b"[" * 5000 + b"]" * 5000 + b"}",
        b'{"event":"E","user_id":"u","properties":{"a":NaN}}',
        b'{"event":"E","user_id":"u","properties":{"a":1,}}',
        b'{"event":"\xff","user_id":"u"}',
    ],
)
def test_not_even_one_that_breaks_the_reader(take_in, bad):
    good = b'{"event":"E","user_id":"u","properties":{"a":"}],[{"}}'
    body = b'{"sent_at":null,"events":[' + good + b" , " + bad + b"," + good + b"]}"
    before, refused, after = take_in("/v1/events/batch", body)
    assert isinstance(before, Tracked)
    assert isinstance(after, Tracked)
    assert isinstance(refused, Refused)
    assert refused.body == bad


def test_a_batch_that_is_not_json_is_refused_as_a_whole():
    for body in (b'{"events":[{"a":"}]}', b"{'events':[]}", b'{"events":[]', b'{"event":[]}'):
        with pytest.raises(Rejected):
            CALLS["/v1/events/batch"].parse(body)


# --- answers -------------------------------------------------------------------------------


def test_a_stored_event_answers_202_with_its_position():
    answer = native.answer_one([Outcome(0, "accepted", "evt_1", 7)])
    assert answer.status == 202
    assert json.loads(answer.body) == {
        "success": True,
        "event_id": "evt_1",
        "position": 7,
        "duplicate": False,
        "message": "stored",
    }


def test_a_duplicate_says_so_and_names_the_position_of_the_first():
    answer = json.loads(native.answer_one([Outcome(0, "duplicate", "evt_1", 7)]).body)
    assert (answer["duplicate"], answer["position"]) == (True, 7)


def test_a_refused_event_is_an_error_with_field_and_issue():
    with pytest.raises(Rejected) as refusal:
        native.answer_one([Outcome(0, "rejected", "evt_1", 7, "user_id", "is missing")])
    assert refusal.value.details == {"field": "user_id", "issue": "is missing"}


def test_the_same_id_with_other_content_is_a_conflict():
    with pytest.raises(Conflict) as conflict:
        native.answer_one([Outcome(0, "conflict", "evt_1", 7, "message_id", "was used before")])
    assert conflict.value.details == {"event_id": "evt_1", "position": 7}


def test_a_batch_answers_for_each_event():
    answer = native.answer_batch(
        [
            Outcome(0, "accepted", "evt_0", 7),
            Outcome(1, "duplicate", "evt_1", 3),
            Outcome(2, "rejected", "evt_2", 8, "user_id", "is missing"),
        ]
    )
    said = json.loads(answer.body)
    assert answer.status == 202
    assert (said["processed_count"], said["rejected_count"]) == (2, 1)
    assert [result["status"] for result in said["results"]] == ["accepted", "duplicate", "rejected"]
    assert said["results"][2]["field"] == "user_id"
