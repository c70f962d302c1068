"""Every value that breaks one of the layers behind the edge: refused with its place, or stored
faithfully. Which layer it breaks: see the table of hostile values in docs/ (JSON, msgspec,
Postgres, ClickHouse).
"""

import json

import pytest

from domain.limits import MAX_EVENT_BYTES
from domain.tracking import Refused, Tracked
from infrastructure import codec

DEEP = 100_000


@pytest.mark.parametrize(
    ("properties", "field"),
    [
        (b'{"a":"\\u0000"}', "properties.a"),
        (b'{"a":{"b":["x","y\\u0000"]}}', "properties.a.b[1]"),
        (b'{"\\u0000":1}', "properties"),
        (b'{"a":"\\ud800"}', "properties.a"),
        (b'{"a":["\\udc00\\ud800"]}', "properties.a[0]"),
        (b'{"\\ud800":1}', "properties"),
        (b'{"a":"\xff"}', "properties"),
        (b'{"\xc3":1}', "properties"),
        (b'{"a":"\xed\xa0\x80"}', "properties"),
        (b'{"a":"\xc0\x80"}', "properties"),
        (b'{"a":NaN}', "properties.a"),
        (b'{"a":[Infinity]}', "properties.a[0]"),
        (b'{"a":-Infinity}', "properties.a"),
        (b'{"a":1e400}', "properties.a"),
        (b'{"a":1e131071}', "properties.a"),
        (b'{"price":9007199254740993}', "properties.price"),
        (b'{"a":{"price":-9007199254740993}}', "properties.a.price"),
        (b'{"a":9.1e15}', "properties.a"),
        (b'{"a":' + b"9" * 400 + b"}", "properties.a"),
        (b'{"a":-' + b"9" * 5000 + b"}", "properties.a"),
        (b'{"a":' + b"[" * 20 + b"]" * 20 + b"}", "properties"),
        (b'{"a":' * 21 + b"1" + b"}" * 21, "properties"),
        (b'{"a":1,"a":2}', "properties.a"),
        (b'{"a" :1,"a":2}', "properties.a"),
        (b'{"a":1,"a" :2,"b":":"}', "properties.a"),
        (b'{"x":{"a":1,"b":2,"a":3}}', "properties.x.a"),
        (b'{"url":"http://a","a":1,"a":2}', "properties.a"),
        (b'{"a\\u0062":1,"ab":2}', "properties.ab"),
        (b'{"":1}', "properties"),
        (b'{"a":[{"":1}]}', "properties.a[0]"),
        (b'{"' + b"k" * 256 + b'":1}', "properties"),
        (b'{"a":{"' + b"k" * 256 + b'":1}}', "properties.a"),
        (json.dumps({f"k{i}": i for i in range(201)}).encode(), "properties"),
        (json.dumps({"a": [{f"k{i}": i} for i in range(200)]}).encode(), "properties"),
        (b"[]", "properties"),
        (b'"text"', "properties"),
        (b"5", "properties"),
    ],
)
def test_bad_properties_are_refused_with_the_path(with_properties, properties, field):
    refused = with_properties(properties)
    assert isinstance(refused, Refused), refused
    assert refused.field == field
    assert refused.issue


@pytest.mark.parametrize(
    "message",
    [
        b'{"event_name":"E","user_id":"u","properties":{"a":"\x01"}}',
        b'{"event_name":"E","user_id":"u","properties":{"a":"\x00"}}',
        b'{"event_name":"E","user_id":"u","properties":{"a":01}}',
        b'{"event_name":"E","user_id":"u","properties":{"a":1}',
        b'{"event_name":"E","user_id":"u","properties":' + b"[" * DEEP + b"]" * DEEP + b"}",
        b'{"event_name":"E","user_id":"u","properties":' + b"[" * 900 + b"]" * 900 + b"}",
        b'{"event_name":"E","user_id":"u","properties":' + b"[" * 1100 + b"]" * 1100 + b"}",
        b'{"event_name":"E","user_id":"u","properties":' + b'{"a":' * 1100 + b"1" + b"}" * 1101,
        b"[" * DEEP,
        b'{"a":' * 5000,
        b'"' * 20_000,
        b'{"event_name":"E","user_id":"' + b"\\" * 9999,
        b'{"event_name":"E","user_id":"u"}x',
        b"\xef\xbb\xbf{}",
        b"\x00",
        b"",
        b"null",
    ],
)
@pytest.mark.parametrize("path", ["/v1/events", "/v1/track"])
def test_what_is_no_json_is_refused(judge, message, path):
    (refused,) = judge(message, path)
    assert isinstance(refused, Refused)
    assert codec.decode("refused.v1", codec.encode(refused)) == refused


@pytest.mark.parametrize(
    "properties",
    [
        b"{}",
        b"null",
        b'{"a":null,"b":true,"c":-0,"d":1e2,"e":1E-400,"f":0.1}',
        b'{"a":9007199254740992,"b":-9007199254740992}',
        b'{"a":9007199254740992.0}',
        b'{"a":"\\ud83d\\ude00","b":"\\\\u0000","c":"\\\\\\\\u0000"}',
        b'{"a":"\xf0\x9f\x98\x80","\xc3\xa9":"\xe2\x80\xa8"}',
        b'{ "a" : "x:y" , "b\\n" :"\\":" }',
        b'{"a":"":"}'.replace(b'"":"', b'"\\":"'),
        b'{"a":' + b"[" * 19 + b"]" * 19 + b"}",
        b'{"a":' * 20 + b"1" + b"}" * 20,
        b'{"' + b"k" * 255 + b'":1}',
        json.dumps({f"k{i}": i for i in range(200)}).encode(),
        json.dumps({"a": "x" * 20_000}).encode(),
        b'{"url":"http://example.com:80/a?b=c:d","title":"a: b"}',
        b'{"$a":1,"a.b":2,"a":{"b":3},"__proto__":{},"select *":"\'; DROP TABLE events; --"}',
    ],
)
def test_what_is_good_is_kept_byte_for_byte(with_properties, properties):
    event = with_properties(properties)
    assert isinstance(event, Tracked), (event.field, event.issue)
    assert bytes(event.properties) == (b"{}" if properties == b"null" else properties)
    again = codec.decode("tracked.v1", codec.encode(event))
    assert json.loads(bytes(again.properties)) == json.loads(bytes(event.properties))


@pytest.mark.parametrize("field", ["user_id", "anonymous_id", "message_id"])
@pytest.mark.parametrize(
    "value",
    [
        "",
        " ",
        "\u3000",
        "a\0b",
        "a\nb",
        "a\x7f",
        "\u200b",
        "\u202e",
        "\ufeff",
        "e\u0301",
        "x" * 201,
        "\ue000",
        "\U000e0041",
    ],
)
def test_ids_that_break_an_index_or_deceive_the_eye_are_refused(refusal, field, value):
    said = {"event_name": "E", "user_id": "u", field: value}
    assert refusal(said)[0] == field


@pytest.mark.parametrize("value", [5, 1.5, True, [], {}])
def test_an_id_that_is_no_string_is_refused(refusal, value):
    field, issue = refusal({"event_name": "E", "user_id": value})
    assert (field, "string" in issue) == ("user_id", True)


@pytest.mark.parametrize(
    "value", ["u", "0", "null", "x" * 200, "ü@example.com", "日本", "a b", "😀", '"\\']
)
def test_ids_of_any_script_are_kept(judge, value):
    (event,) = judge(json.dumps({"event_name": "E", "user_id": value}).encode())
    assert event.user_id == value


@pytest.mark.parametrize("value", ["", "  ", "x" * 101, "a\nb", "a\0", "\u202eE", None, 5])
def test_names_that_are_none_are_refused(refusal, value):
    assert refusal({"event_name": value, "user_id": "u"})[0] == "event_name"


@pytest.mark.parametrize(
    "value",
    [
        "E",
        "x" * 100,
        "👩\u200d💻 hired",
        "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
        "$pageview",
    ],
)
def test_names_of_any_script_are_kept(judge, value):
    (event,) = judge(json.dumps({"event_name": value, "user_id": "u"}).encode())
    assert event.event == value


@pytest.mark.parametrize(
    "value",
    [
        "0001-01-01T00:00:00Z",
        "0001-01-01T00:00:00+14:00",
        "1999-12-31T23:59:59Z",
        "9999-12-31T23:59:59-14:00",
        "2100-01-01T00:00:00Z",
        "2026-11-23T10:00:01Z",
        "2026-11-22T24:00:00Z",
        "2026-11-22T09:59:60Z",
        "2026-02-30T00:00:00Z",
        "infinity",
        "294277-01-01T00:00:00Z",
        "yesterday",
        "",
        -1,
        0,
        10**15,
        10**300,
        -(10**300),
        1e300,
        True,
        [],
    ],
)
@pytest.mark.parametrize("path", ["/v1/events", "/v1/track"])
def test_times_outside_of_the_calendar_are_refused(refusal, value, path):
    said = {"event_name": "E", "user_id": "u", "timestamp": value}
    if path == "/v1/track":
        said = {"event": "E", "userId": "u", "timestamp": value}
    assert refusal(said, path)[0] == "timestamp"


def test_an_event_of_32_kb_is_taken_and_one_byte_more_is_not(judge):
    frame = len(b'{"event_name":"E","user_id":"u","properties":{"a":""}}')
    for size, kind in ((MAX_EVENT_BYTES, Tracked), (MAX_EVENT_BYTES + 1, Refused)):
        text = b"x" * (size - frame)
        body = b'{"event_name":"E","user_id":"u","properties":{"a":"' + text + b'"}}'
        assert len(body) == size
        assert isinstance(judge(body)[0], kind)


def test_of_a_message_that_is_too_large_the_beginning_is_kept(judge):
    body = b'{"event_name":"' + b"x" * 2 * MAX_EVENT_BYTES + b'"}'
    assert judge(body)[0].body == body[:MAX_EVENT_BYTES]


def test_a_refusal_quotes_nothing_that_could_break_a_reader(judge):
    body = '{"event_name":"E","user_id":"u","\\u0000\\n\\u001b[31m":1}'
    (refused,) = judge(body.encode())
    assert refused.field.isprintable()
