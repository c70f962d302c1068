import json

import pytest

from api.dialects import browser, segment
from api.dialects.calls import CALLS
from commands.ingest import Outcome
from domain.errors import Rejected, TooLarge
from domain.tracking import Aliased, Client, Grouped, Identified, Refused, Tracked

WHO = {"userId": "u1", "messageId": "m1"}


def test_the_path_decides_over_the_type_in_a_single_call(one):
    message = one("/v1/identify", {**WHO, "type": "track", "traits": {"plan": "pro"}})
    assert isinstance(message, Identified)


def test_the_type_decides_inside_a_batch(take_in):
    batch = [
        {**WHO, "type": "track", "event": "E"},
        {**WHO, "type": "group", "groupId": "g"},
        {**WHO, "type": "alias", "previousId": "old"},
        {**WHO, "type": "screen", "name": "Home"},
    ]
    found = take_in("/v1/batch", json.dumps({"batch": batch}).encode())
    assert [type(message) for message in found] == [Tracked, Grouped, Aliased, Tracked]


@pytest.mark.parametrize(
    ("said", "event"),
    [
        ({"name": "Pricing"}, "Pricing"),
        ({"name": "Pricing", "category": "Docs"}, "Docs Pricing"),
        ({"category": "Docs"}, "Docs"),
        ({}, "page"),
        ({"name": "", "category": None}, "page"),
    ],
)
def test_a_page_is_called_by_category_and_name(one, said, event):
    assert one("/v1/page", {**WHO, **said}).event == event


def test_name_and_category_of_a_page_are_found_in_its_properties(one):
    said = {**WHO, "name": "Pricing", "category": "Docs", "properties": {"name": "own", "n": 1}}
    properties = json.loads(bytes(one("/v1/page", said).properties))
    assert properties == {"name": "own", "n": 1, "category": "Docs"}


@pytest.mark.parametrize("empty", [None, ""])
def test_an_id_that_is_null_or_empty_is_no_id(one, empty):
    message = one("/v1/track", {"userId": empty, "anonymousId": "a", "event": "E"})
    assert message.user_id is None
    assert message.distinct_id == "a"


def test_a_message_without_an_id_of_its_own_gets_one(one):
    assert one("/v1/track", {"userId": "u", "event": "E"}).message_id == "generated-1"


def test_rudderstack_traits_come_from_the_context(one):
    said = {**WHO, "traits": {}, "context": {"traits": {"plan": "pro"}}}
    assert bytes(one("/v1/identify", said).traits) == b'{"plan": "pro"}'


def test_traits_of_identify_go_before_those_of_the_context(one):
    said = {**WHO, "traits": {"plan": "new"}, "context": {"traits": {"plan": "old"}}}
    assert bytes(one("/v1/identify", said).traits) == b'{"plan": "new"}'


def test_properties_are_kept_as_the_bytes_that_came(one):
    body = b'{"userId":"u","event":"E","properties":{ "b" :1.50,"a":"\\u00e9" }}'
    assert bytes(one("/v1/track", body).properties) == b'{ "b" :1.50,"a":"\\u00e9" }'


def test_the_context_of_a_batch_holds_for_its_messages(take_in):
    batch = {
        "context": {"locale": "de", "app": {"name": "a"}},
        "batch": [{**WHO, "type": "track", "event": "E", "context": {"locale": "fr"}}],
    }
    (message,) = take_in("/v1/batch", json.dumps(batch).encode())
    assert json.loads(bytes(message.context)) == {"locale": "fr", "app": {"name": "a"}}


def test_rudderstacks_original_timestamp_is_the_time_of_the_event(one):
    said = {**WHO, "event": "E", "originalTimestamp": "2026-11-22T09:00:00.000Z"}
    said["sentAt"] = "2026-11-22T09:30:00.000Z"  # 30 minutes before it came in: its clock is slow
    message = one("/v1/track", said)
    assert message.original_timestamp.isoformat() == "2026-11-22T09:00:00+00:00"
    assert message.timestamp.isoformat() == "2026-11-22T09:30:00+00:00"


@pytest.mark.parametrize(
    ("path", "said", "field"),
    [
        ("/v1/track", {"event": "E"}, "userId"),
        ("/v1/track", {"userId": "u"}, "event"),
        ("/v1/group", {"userId": "u"}, "groupId"),
        ("/v1/group", {"userId": "u", "groupId": "undefined"}, "groupId"),
        ("/v1/alias", {"userId": "u"}, "previousId"),
        ("/v1/alias", {"anonymousId": "a", "previousId": "p"}, "userId"),
        ("/v1/track", {"userId": 5, "event": "E"}, "userId"),
        ("/v1/track", [], "message"),
    ],
)
def test_what_is_missing_is_named(take_in, path, said, field):
    (refused,) = take_in(path, json.dumps(said).encode())
    assert isinstance(refused, Refused)
    assert refused.field == field


def test_an_unknown_type_in_a_batch_is_refused_alone(take_in):
    batch = [{**WHO, "type": "wave"}, {**WHO, "type": "track", "event": "E"}]
    refused, taken = take_in("/v1/batch", json.dumps({"batch": batch}).encode())
    assert (refused.field, type(taken)) == ("type", Tracked)


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ({}, "company"),
        ({"groupType": None}, "company"),
        ({"groupType": "", "context": {"groupType": ""}}, "company"),
        ({"groupType": "team"}, "team"),
        ({"context": {"groupType": "team"}}, "team"),
        ({"groupType": "team", "context": {"groupType": "site"}}, "team"),
    ],
)
def test_a_group_is_of_a_type_a_company_where_none_is_said(one, said, kind):
    message = one("/v1/group", {**WHO, "groupId": "g", **said})
    assert (message.group_id, message.group_type) == ("g", kind)


@pytest.mark.parametrize("kind", [5, True, [], {}, " ", "a\nb", "x" * 101])
def test_a_group_type_is_a_name(take_in, kind):
    for said in ({"groupType": kind}, {"context": {"groupType": kind}}):
        (refused,) = take_in("/v1/group", json.dumps({**WHO, "groupId": "g", **said}).encode())
        assert refused.field == ("groupType" if "groupType" in said else "context.groupType")


def test_in_other_calls_a_group_type_is_nobodys_field(one):
    assert one("/v1/track", {**WHO, "event": "E", "groupType": 5}).event == "E"


# --- who it was ----------------------------------------------------------------------------


def test_the_edge_tells_who_it_was_when_the_context_does_not(one, edge):
    assert one("/v1/track", {**WHO, "event": "E"}).client == edge


def test_a_servers_own_address_says_nothing_about_the_person(one):
    context = {"library": {"name": "analytics-python"}}
    assert one("/v1/track", {**WHO, "event": "E", "context": context}).client == Client()


def test_the_address_in_the_context_goes_first_and_drops_the_edges_country(one):
    context = {"ip": "203.0.113.7", "userAgent": "phone"}
    message = one("/v1/track", {**WHO, "event": "E", "context": context})
    assert message.client == Client("203.0.113.7", "phone", None)


@pytest.mark.parametrize("ip", ["0.0.0.0", "", "unknown", "::", 7, "fe80::1%\n"])
def test_an_address_that_is_none_is_left_in_the_context(one, edge, ip):
    message = one("/v1/track", {**WHO, "event": "E", "context": {"ip": ip}})
    assert message.client.ip in (edge.ip, "fe80::1")
    assert json.loads(bytes(message.context)) == {"ip": ip}


# --- the request as a whole ----------------------------------------------------------------


@pytest.mark.parametrize("body", [b"", b"[]", b"5", b"null", b"{", b'{"batch":{}}', b"\xff\xfe"])
def test_a_batch_that_is_none_is_refused_as_a_whole(body):
    with pytest.raises(Rejected):
        CALLS["/v1/batch"].parse(body)


def test_an_empty_batch_is_taken():
    assert CALLS["/v1/batch"].parse(b'{"batch":[]}').items == []


def test_more_than_500_messages_are_too_many():
    with pytest.raises(TooLarge):
        CALLS["/v1/batch"].parse(b'{"batch":[' + b",".join([b"{}"] * 501) + b"]}")


def test_a_sent_at_that_is_no_time_refuses_the_batch():
    with pytest.raises(Rejected) as refusal:
        CALLS["/v1/batch"].parse(b'{"batch":[],"sentAt":"yesterday"}')
    assert refusal.value.field == "sentAt"


@pytest.mark.parametrize("key", ['"k"', "null", "7", "[]"])
def test_only_a_string_is_a_write_key(key):
    parsed = CALLS["/v1/track"].parse(b'{"writeKey":' + key.encode() + b"}")
    assert parsed.write_key == ("k" if key == '"k"' else None)


# --- answers -------------------------------------------------------------------------------


def test_sdks_get_a_200_also_for_refused_messages_because_rudderstack_repeats_a_400():
    refused = Outcome(1, "rejected", "evt_1", 8, "event", "is missing")
    answer = segment.answer([Outcome(0, "accepted", "evt_0", 7), refused])
    assert answer.status == 200
    assert json.loads(answer.body) == {
        "success": True,
        "rejected": [
            {
                "index": 1,
                "status": "rejected",
                "event_id": "evt_1",
                "position": 8,
                "field": "event",
                "reason": "is missing",
            }
        ],
    }


def test_all_taken_is_the_answer_of_segment():
    answer = segment.answer([Outcome(0, "accepted", "evt_0", 7), Outcome(1, "duplicate", "e", 7)])
    assert answer == (200, b'{"success":true}')


def test_the_browser_is_told_to_send_to_us_and_to_measure_nothing():
    settings = browser.segment_settings("https://events.example.com", "key")
    io = settings["integrations"]["Segment.io"]
    assert (io["apiKey"], io["apiHost"], io["protocol"]) == (
        "key",
        "events.example.com/v1",
        "https",
    )
    assert settings["metrics"] == {"sampleRate": 0}


def test_rudderstacks_browser_sdk_finds_a_valid_source():
    source = browser.rudderstack_source("http://127.0.0.1:8080/", "key")["source"]
    assert source["id"] == "key"
    assert source["enabled"] is True
    assert isinstance(source["config"], dict)
    assert source["destinations"] == []
    assert source["dataPlaneUrl"] == "http://127.0.0.1:8080"
