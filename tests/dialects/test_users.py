"""POST /v1/users and /v1/users/batch: what is said of people, and what is refused."""

import json
from datetime import timedelta

import msgspec
import pytest

from api.dialects import users
from api.dialects.calls import CALLS, readmit
from commands.ingest import Outcome
from domain.errors import Conflict, Rejected, TooLarge
from domain.tracking import EMPTY, Aliased, Grouped, Identified, Refused, Tracked

PATH = "/v1/users"
BATCH = "/v1/users/batch"
USER = {"user_id": "ada"}


def said(raw):
    return json.loads(bytes(raw))


@pytest.fixture
def refused(take_in):
    def refuse(body) -> tuple[str, str]:
        (refusal,) = take_in(PATH, json.dumps(body).encode())
        assert isinstance(refusal, Refused), refusal
        assert refusal.dialect == users.NAME
        return refusal.field, refusal.issue

    return refuse


@pytest.mark.parametrize(
    "body",
    [
        {
            "user_id": "ada",
            "anonymous_id": "a-1",
            "message_id": "m",
            "sent_at": "2026-11-22T10:00:00Z",
            "set_once": {"first": 1},
        },
        {
            "userId": "ada",
            "anonymousId": "a-1",
            "messageId": "m",
            "sentAt": "2026-11-22T10:00:00Z",
            "setOnce": {"first": 1},
        },
        {
            "userId": "ada",
            "user_id": "ada",
            "anonymous_id": "a-1",
            "message_id": "m",
            "sent_at": "2026-11-22T10:00:00Z",
            "setOnce": {"first": 1},
        },
    ],
)
def test_both_spellings_are_the_same_user(one, body):
    message = one(PATH, body)
    assert isinstance(message, Identified)
    assert (message.user_id, message.anonymous_id, message.message_id) == ("ada", "a-1", "m")
    assert message.sent_at.isoformat() == "2026-11-22T10:00:00+00:00"
    assert said(message.operations) == {"set_once": {"first": 1}}
    assert message.source == "users"


def test_an_id_alone_is_a_user(one):
    message = one(PATH, USER)
    assert (message.traits, message.operations) == (EMPTY, EMPTY)
    assert message.message_id == "generated-1"


@pytest.mark.parametrize("name", ["traits", "properties"])
def test_traits_are_the_bytes_that_were_sent(one, name):
    body = b'{"user_id":"ada","%s":{"plan" : "pro", "n":1e2}}' % name.encode()
    assert bytes(one(PATH, body).traits) == b'{"plan" : "pro", "n":1e2}'


def test_traits_and_properties_and_what_has_a_field_of_its_own_are_one(one):
    body = {
        **USER,
        "traits": {"plan": "pro", "same": [1, {"a": 2, "b": 3}]},
        "properties": {"age": 36, "same": [1, {"b": 3, "a": 2}], "email": "ada@example.com"},
        "email": "ada@example.com",
        "phone": "+49 (30) 901820",
        "origin": {"channel": "ads", "campaign": None},
    }
    assert said(one(PATH, body).traits) == {
        "plan": "pro",
        "same": [1, {"a": 2, "b": 3}],
        "age": 36,
        "email": "ada@example.com",
        "phone": "+49 (30) 901820",
        "origin": {"channel": "ads", "campaign": None},
    }


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"traits": {"n": 1}, "properties": {"n": 2}}, "properties.n"),
        ({"traits": {"n": 1}, "properties": {"n": True}}, "properties.n"),
        ({"traits": {"n": 1}, "properties": {"n": None}}, "properties.n"),
        ({"email": "a@example.com", "traits": {"email": "b@example.com"}}, "email"),
        ({"email": None, "properties": {"email": "b@example.com"}}, "email"),
        ({"origin": {"a": 1}, "traits": {"origin": "web"}}, "origin"),
        ({"user_id": "ada", "userId": "eve"}, "user_id"),
        ({"set_once": {}, "setOnce": {}}, "set_once"),
    ],
)
def test_what_is_said_twice_and_differently_is_refused(refused, body, field):
    assert refused({**USER, **body})[0] == field


@pytest.mark.parametrize("name", ["email", "phone", "origin"])
def test_null_unsets_what_has_a_field_of_its_own(one, name):
    message = one(PATH, {**USER, name: None, "traits": {"plan": "pro"}, "unset": ["old", name]})
    assert said(message.traits) == {"plan": "pro"}
    assert said(message.operations) == {"unset": ["old", name]}
    bare = one(PATH, {**USER, name: None})
    assert (bare.traits, said(bare.operations)) == (EMPTY, {"unset": [name]})


def test_a_trait_that_is_null_is_null(one):
    message = one(PATH, {**USER, "traits": {"plan": None}})
    assert (said(message.traits), message.operations) == ({"plan": None}, EMPTY)


def test_operations_are_kept_beside_the_traits(one):
    operations = {
        "set_once": {"first_plan": "free"},
        "increment": {"visits": 1},
        "append": {"seen": "docs"},
        "union": {"tags": ["a"]},
        "unset": ["old"],
    }
    message = one(PATH, {**USER, "traits": {"plan": "pro"}, **operations})
    assert said(message.operations) == operations


@pytest.mark.parametrize(
    "email", ["a@b", "ada.lovelace+x@example.com", "ä@ü.example", "a" * 248 + "@b.com"]
)
def test_an_email_has_one_at(one, email):
    assert said(one(PATH, {**USER, "email": email}).traits) == {"email": email}


@pytest.mark.parametrize(
    "email", ["", "ada", "@b", "a@", "a@b@c", "a b@c", "a@b\n", "a@b\0", "a" * 249 + "@b.com", 5]
)
def test_what_is_no_email_is_refused(refused, email):
    assert refused({**USER, "email": email})[0] == "email"


@pytest.mark.parametrize("phone", ["+491701234567", "+1 (555) 010-9999", "+44 20 7946 0958"])
def test_a_phone_number_has_a_country_code(one, phone):
    assert said(one(PATH, {**USER, "phone": phone}).traits) == {"phone": phone}


@pytest.mark.parametrize(
    "phone",
    ["", "030 901820", "+0123456789", "+49", "+4930abc9018", "+" + "1" * 16, "++4930901820", 49],
)
def test_what_is_no_phone_number_with_a_country_code_is_refused(refused, phone):
    field, issue = refused({**USER, "phone": phone})
    assert field == "phone"
    assert isinstance(phone, int) or "country code" in issue


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "user_id"),
        ({"user_id": None}, "user_id"),
        ({"user_id": ""}, "user_id"),
        ({"user_id": 5}, "user_id"),
        ({"anonymous_id": "a-1"}, "user_id"),
        ({**USER, "plan": "pro"}, "plan"),
        ({**USER, "traits": []}, "traits"),
        ({**USER, "properties": 5}, "properties"),
        ({**USER, "origin": "web"}, "origin"),
        ({**USER, "increment": {"visits": "1"}}, "increment.visits"),
        ({**USER, "union": {"tags": "a"}}, "union.tags"),
        ({**USER, "unset": "plan"}, "unset"),
        ({**USER, "timestamp": "yesterday"}, "timestamp"),
        ({**USER, "context": []}, "context"),
        ({**USER, "writeKey": "ak_"}, "writeKey"),
        ([], "message"),
    ],
)
def test_a_broken_rule_is_named_with_its_field(refused, body, field):
    assert refused(body)[0] == field


def test_a_field_that_is_not_ours_is_refused_with_the_place_where_it_belongs(refused):
    assert "put it into traits" in refused({**USER, "plan": "pro"})[1]


def test_traits_of_all_fields_together_are_within_the_limits_of_one_object(refused):
    body = {
        **USER,
        "traits": {f"t{n}": n for n in range(120)},
        "properties": {f"p{n}": n for n in range(120)},
    }
    assert refused(body) == ("traits", "has more than 200 keys, counting nested ones")


# --- ids that name nobody ------------------------------------------------------------------

JUNK = ("null", "undefined", "0", "[object Object]", "NaN", "none", "00000000-0000-0000-0000-0000")


@pytest.mark.parametrize("junk", JUNK)
@pytest.mark.parametrize("field", ["user_id", "anonymous_id"])
def test_an_id_that_programs_send_for_nobody_is_refused(refused, field, junk):
    found, issue = refused({**USER, field: junk})
    assert found == field
    assert "nobody in particular" in issue


@pytest.mark.parametrize("junk", JUNK)
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/events", {"event": "E", "user_id": None}),
        ("/v1/track", {"event": "E", "userId": None}),
        ("/v1/identify", {"userId": None, "anonymousId": "a"}),
        ("/v1/alias", {"userId": None, "previousId": "a"}),
    ],
)
def test_sdks_that_send_such_ids_are_put_up_with(one, path, body, junk):
    body = {name: junk if value is None else value for name, value in body.items()}
    assert one(path, body).user_id == junk


# --- batches -------------------------------------------------------------------------------


def test_one_bad_user_does_not_sink_the_others(take_in):
    body = b'{"users":[{"user_id":"u"},7,{"user_id":"null"},{"user_id":"v","email":"\\ud800"}]}'
    good, *bad = take_in(BATCH, body)
    assert isinstance(good, Identified)
    assert [refusal.field for refusal in bad] == ["message", "user_id", "email"]
    assert bad[0].body == b"7"


def test_a_batch_shares_its_sent_at(take_in):
    users_ = [{**USER, "timestamp": "2026-11-22T09:00:00Z"}]
    body = json.dumps({"users": users_, "sentAt": "2026-11-22T09:59:00Z"}).encode()
    (message,) = take_in(BATCH, body)
    assert message.timestamp.isoformat() == "2026-11-22T09:01:00+00:00"


@pytest.mark.parametrize(
    ("body", "field", "mend"),
    [
        (b"{}", "users", 'send {"users": [...]}'),
        (b'{"events":[]}', "users", "is missing"),
        (b'{"users":[],"events":[]}', "events", "put it into its users"),
        (b'{"users":5}', "users", "array"),
        (b"[]", "message", "object"),
        (b"", "body", "is missing"),
    ],
)
def test_a_batch_that_is_none_is_refused_as_a_whole(body, field, mend):
    with pytest.raises(Rejected) as refusal:
        CALLS[BATCH].parse(body)
    assert refusal.value.field == field
    assert mend in refusal.value.issue


def test_a_batch_has_at_most_500_users():
    with pytest.raises(TooLarge, match="500 users, this one has 501"):
        CALLS[BATCH].parse(b'{"users":[' + b",".join([b"{}"] * 501) + b"]}")


# --- order ---------------------------------------------------------------------------------


def test_users_of_a_batch_without_times_keep_their_order(take_in, received_at):
    items = [USER, {**USER, "timestamp": "2026-11-22T09:00:00Z"}, {"user_id": "null"}, USER]
    first, timed, refusal, last = take_in(BATCH, json.dumps({"users": items}).encode())
    assert first.timestamp == received_at
    assert timed.timestamp.isoformat() == "2026-11-22T09:00:00+00:00"
    assert last.timestamp - received_at == timedelta(microseconds=3)
    assert {m.received_at for m in (first, timed, last)} == {received_at}
    again = readmit(msgspec.structs.replace(refusal, body=b'{"user_id":"u"}'), "id")
    assert again.timestamp - received_at == timedelta(microseconds=2)


def test_so_do_messages_about_people_among_events_of_a_segment_batch(take_in, received_at):
    who = {"userId": "u"}
    batch = [
        {**who, "type": "track", "event": "E"},
        {**who, "type": "identify", "traits": {"n": 1}},
        {**who, "type": "page"},
        {**who, "type": "alias", "previousId": "p"},
        {**who, "type": "group", "groupId": "g", "timestamp": "2026-11-22T09:00:00Z"},
        {**who, "type": "identify", "traits": {"n": 2}},
    ]
    found = take_in("/v1/batch", json.dumps({"batch": batch}).encode())
    assert [type(m) for m in found] == [Tracked, Identified, Tracked, Aliased, Grouped, Identified]
    later = [(m.timestamp - received_at) // timedelta(microseconds=1) for m in found]
    assert later == [0, 1, 0, 3, -3_600_000_000, 5]


# --- answers -------------------------------------------------------------------------------


@pytest.fixture
def answered(one):
    def answer(user_id: str, outcome: Outcome):
        return users.answer_one([outcome], [one(PATH, {"user_id": user_id})])

    return answer


@pytest.mark.parametrize(
    ("user_id", "ours"), [("ada", "usr_YWRh"), ("a/b?ü", "usr_YS9iP8O8"), ("a", "usr_YQ")]
)
def test_a_stored_user_answers_202_with_our_name_and_the_callers(answered, user_id, ours):
    answer = answered(user_id, Outcome(0, "accepted", "evt_1", 7))
    assert answer.status == 202
    assert json.loads(answer.body) == {
        "success": True,
        "user_id": ours,
        "external_id": user_id,
        "event_id": "evt_1",
        "position": 7,
        "duplicate": False,
        "message": "stored",
    }


def test_a_duplicate_says_so_and_names_the_position_of_the_first(answered):
    answer = json.loads(answered("ada", Outcome(0, "duplicate", "evt_1", 7)).body)
    assert (answer["duplicate"], answer["position"]) == (True, 7)


def test_a_refused_user_is_an_error_with_field_and_issue(answered):
    with pytest.raises(Rejected) as refusal:
        answered("ada", Outcome(0, "rejected", "evt_1", 7, "email", "is no e-mail"))
    assert refusal.value.details == {"field": "email", "issue": "is no e-mail"}


def test_the_same_message_id_with_other_content_is_a_conflict(answered):
    with pytest.raises(Conflict) as conflict:
        answered("ada", Outcome(0, "conflict", "evt_1", 7, "message_id", "was used before"))
    assert conflict.value.details == {"event_id": "evt_1", "position": 7}


def test_a_batch_answers_for_each_user():
    answer = users.answer_batch(
        [
            Outcome(0, "accepted", "evt_0", 7),
            Outcome(1, "rejected", "evt_1", 8, "email", "is none"),
        ],
        [],
    )
    told = json.loads(answer.body)
    assert (answer.status, told["message"]) == (202, "1 of 2 users stored")
    assert [result["status"] for result in told["results"]] == ["accepted", "rejected"]
