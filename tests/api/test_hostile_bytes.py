"""Values and bytes that break a layer behind the edge: each is refused with a 4xx or read back
as it was sent, never answered with a 5xx, and never a poison for what comes after it.
"""

import concurrent.futures
import gzip
import itertools
import json

import pytest
from sqlalchemy import create_engine

from infrastructure.parked import count_parked

NATIVE = ("/v1/events", "/v1/events/track", "/v1/events/batch")
SEGMENT = ("/v1/track", "/v1/t", "/v1/identify", "/v1/page", "/v1/group", "/v1/alias", "/v1/batch")
SEGMENT = (*SEGMENT, "/v1/import", "/v1/b", "/beacon/v1/batch", "/v1/screen", "/v1/i")
DEEP = 100_000

# In the place of a value of `properties` (or traits): what is inside the object.
VALUES = {
    "NUL": b'"a":"\\u0000"',
    "NUL in a key": b'"a\\u0000b":1',
    "NUL byte": b'"a":"\x00"',
    "control character": b'"a":"\x01"',
    "half a surrogate pair": b'"a":"\\ud800"',
    "the other half": b'"a":"\\udc00x"',
    "half a pair in a key": b'"\\ud800":1',
    "surrogate in UTF-8": b'"a":"\xed\xa0\x80"',
    "invalid UTF-8": b'"a":"\xff\xfe"',
    "invalid UTF-8 in a key": b'"\xc3":1',
    "overlong UTF-8": b'"a":"\xc0\x80"',
    "cut UTF-8": b'"a":"\xe2\x82"',
    "NaN": b'"a":NaN',
    "Infinity": b'"a":Infinity',
    "minus Infinity": b'"a":-Infinity',
    "1e400": b'"a":1e400',
    "1e131071": b'"a":1e131071',
    "a 400-digit integer": b'"a":' + b"9" * 400,
    "a 5,000-digit integer": b'"a":-' + b"9" * 5000,
    "2^53 + 1": b'"a":9007199254740993',
    "900 deep": b'"a":' + b"[" * 900 + b"]" * 900,
    "1,100 deep": b'"a":' + b"[" * 1100 + b"]" * 1100,
    "1,100 objects deep": b'"a":' + b'{"a":' * 1100 + b"1" + b"}" * 1100,
    "100,000 deep": b'"a":' + b"[" * DEEP + b"]" * DEEP,
    "100,000 never closed": b'"a":' + b"[" * DEEP,
    "the same key twice": b'"a":1,"a":2',
    "the same key twice, escaped": b'"ab":1,"a\\u0062":2',
    "an empty key": b'"":1',
    "1e2": b'"a":1e2,"b":1.0,"c":-0.0,"d":1E-400',
    "2^53": b'"a":9007199254740992,"b":-9007199254740992',
    "an escaped backslash before u0000": b'"a":"\\\\u0000"',
    "bidi, joiners and the end of Unicode": '"a":"\u202e\u200d\ufeff\uffff\U0010ffff"'.encode(),
    "line separators": b'"a":"\xe2\x80\xa8\\n\\r\\t\\u2029"',
    "SQL": b'"a":"\'; DROP TABLE events; --","b":"{x:String}","c":"%s","d":"$1"',
    "names of databases' own": b'"__proto__":{},"select":1,"a.b":1,"$event":1,"a":{"b":2}',
    "spaces everywhere": b' "a" : [ 1 , 2 ] ',
    "20 deep": b'"a":' + b"[" * 19 + b"]" * 19,
    "8,000 characters": b'"a":"' + "日".encode() * 8000 + b'"',
}
IDS = {
    "empty": "",
    "blank": " ",
    "NUL": "a\0b",
    "newline": "a\nb",
    "zero width": "\u200b",
    "bidi": "\u202eabc",
    "not normalised": "e\u0301",
    "too long": "x" * 201,
    "long and random": "".join(chr(0x4E00 + (n * 7919) % 20000) for n in range(2700)),
    "private use": "\ue000",
    "unassigned": "\U000e0fff",
    "null": "null",
    "[object Object]": "[object Object]",
    "0": "0",
    "longest": "日" * 200,
    "quotes": "'\"\\`;--",
    "emoji": "👩\u200d💻",
}
TIMES = [
    *("0001-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"),
    *("2026-01-01T24:00:00Z", "2026-01-01T23:59:60Z", "infinity", "-infinity", "now", ""),
    *("294277-01-01T00:00:00Z", "2026-02-30T00:00:00Z", "1969-12-31T23:59:59Z", "12:00"),
    *(-1, 10**15, 10**300, -(10**300), 1e308, True, [], {}, 0),
]


def bodies(path: str, inside: bytes) -> bytes:
    """One message of the path's call with these members in its properties and traits."""
    whole = b"{" + inside + b"}"
    if path == "/v1/events/batch":
        one = b'{"event_name":"E","user_id":"u","properties":' + whole + b"}"
        return b'{"events":[' + one + b"]}"
    if path in NATIVE:
        return b'{"event_name":"E","user_id":"u","properties":' + whole + b"}"
    one = (
        b'{"type":"track","event":"E","name":"N","userId":"u","previousId":"v","groupId":"g",'
        b'"properties":' + whole + b',"traits":' + whole + b"}"
    )
    if path.endswith(("/batch", "/import", "/b")):
        return b'{"batch":[' + one + b"]}"
    return one


@pytest.fixture(scope="module")
def attacked(new_tenant):
    return new_tenant()


@pytest.fixture
def assert_healthy(settings_in_force):
    """Everything that was sent until now is in the read models, and nothing was set aside."""

    def checked(tenant) -> None:
        position = tenant.sent({"event_name": "Afterwards", "user_id": "somebody"})
        for path in ("/v1/events", "/v1/users/somebody", "/v1/failed-events"):
            tenant.ask(path, min_position=position)
        engine = create_engine(
            settings_in_force["APPIZER_DATABASE_URL"].replace("postgresql:", "postgresql+psycopg:")
        )
        with engine.connect() as connection:
            assert count_parked(connection) == {}
        engine.dispose()

    return checked


@pytest.mark.parametrize("path", [*NATIVE, *SEGMENT])
def test_a_hostile_value_is_refused_or_read_back_and_poisons_nothing(
    attacked, post, assert_healthy, path
):
    for name, inside in VALUES.items():
        status, answer = post(path, attacked.write_key, bodies(path, inside))
        assert status in (200, 202, 400), (name, status, answer)
        assert json.loads(answer), name
    assert_healthy(attacked)


@pytest.mark.parametrize("name", VALUES)
def test_what_is_taken_is_read_back_as_it_was_sent(tenant, post, name):
    inside = VALUES[name]
    status, answer = post("/v1/events", tenant.write_key, bodies("/v1/events", inside))
    found = tenant.events()
    if status == 202:
        (event,) = found
        assert event["properties"] == json.loads(b"{" + inside + b"}")
        return
    assert (status, found) == (400, [])
    details = json.loads(answer)["details"]
    assert details["field"].startswith(("properties", "message"))
    assert details["issue"]
    (kept,) = tenant.ask("/v1/failed-events", min_position=tenant.head())["failed_events"]
    assert kept["field"] == details["field"]


def test_in_a_batch_a_hostile_value_hurts_nobody_else(tenant, post):
    """Each stands between two good events, all of them in one request as far as they fit."""
    for kind, dialect in (("events", "native"), ("batch", "segment")):
        path = "/v1/events/batch" if kind == "events" else "/v1/batch"
        good = b'{"event_name":"Good","user_id":"u"}'
        if dialect == "segment":
            good = b'{"type":"track","event":"Good","userId":"u"}'
        single = "/v1/events" if kind == "events" else "/v1/track"
        hostile = [
            bodies(single, inside) for name, inside in VALUES.items() if "closed" not in name
        ]
        items = [item for bad in hostile for item in (good, bad)]
        body = b'{"' + kind.encode() + b'":[' + b",".join([*items, good]) + b"]}"
        status, answer = post(path, tenant.write_key, body)
        assert status in (200, 202), answer
        found = tenant.events(event_name="Good")
        assert len(found) == (len(hostile) + 1) * (1 if dialect == "native" else 2)


@pytest.mark.parametrize("field", ["user_id", "anonymous_id", "message_id"])
def test_a_hostile_id_is_refused_or_found_under_it(tenant, field):
    sent = {}
    for name, value in IDS.items():
        body = {"event_name": "E", "user_id": "u", field: value}
        answer = tenant.send(body)
        assert answer.status_code in (202, 400), (name, answer.text)
        if answer.status_code == 202:
            sent[answer.json()["event_id"]] = value
        else:
            assert answer.json()["details"]["field"] == field
    assert {event["event_id"]: event[field] for event in tenant.events()} == sent
    assert set(sent.values()) >= {"null", "0", "日" * 200, "'\"\\`;--"}


def test_a_hostile_id_in_every_call_of_segments_poisons_nothing(tenant, assert_healthy):
    for path, value in itertools.product(SEGMENT, IDS.values()):
        body = {"type": "track", "event": "E", "userId": value, "anonymousId": value}
        body |= {"previousId": value, "groupId": value, "messageId": value, "traits": {"a": value}}
        whole = {"batch": [body]} if path.endswith(("/batch", "/import", "/b")) else body
        assert tenant.send(whole, path).status_code == 200
    assert_healthy(tenant)


@pytest.mark.parametrize("field", ["timestamp", "sent_at"])
def test_a_hostile_time_is_refused(tenant, assert_healthy, field):
    for value in TIMES:
        body = {"event_name": "E", "user_id": "u", field: value}
        answer = tenant.send(body)
        assert answer.status_code in (202, 400), (value, answer.text)
        if answer.status_code == 400:
            assert answer.json()["details"]["field"] == field, value
    for event in tenant.events():
        assert "2000" <= event["timestamp"] < "2100"
    assert_healthy(tenant)


# --- bytes on the wire ---------------------------------------------------------------------


def head(path: str, key: str, *lines: str) -> bytes:
    first = [f"POST {path} HTTP/1.1", "Host: localhost", f"Authorization: Bearer {key}", *lines]
    return "\r\n".join(first).encode() + b"\r\n\r\n"


GOOD = b'{"event_name":"E","user_id":"u"}'


@pytest.mark.parametrize("path", ["/v1/events", "/v1/events/batch", "/v1/batch", "/v1/track"])
@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"\x00", b"null", b"5", b'"x"', b"[]", b"{}", b"{", b"]", b"\xef\xbb\xbf" + GOOD),
        *(b"[" * DEEP, b'{"a":' * 5000, b'"' * 20_000, b"{" + b'"a":' * 1000, GOOD + b"x"),
        *(b"\xff" * 1000, b'{"batch":' + b"[" * DEEP, b'{"events":[' + b"{" * DEEP, b"," * 100_000),
        *(b'{"batch":[' + b"[]," * 50_000 + b"[]]}", b'{"events":[' + b"1," * 50_000 + b"1]}"),
        gzip.compress(b"[" * DEEP, mtime=0),
        gzip.compress(GOOD, mtime=0)[:-3],
        gzip.compress(GOOD, mtime=0)[:5],
    ],
    ids=lambda body: f"{body[:12]!r} {len(body)}",
)
def test_a_body_that_is_none_is_refused(attacked, post, path, body):
    status, answer = post(path, attacked.write_key, body)
    assert status in (400, 413) or (status == 200 and b'"rejected"' in answer), answer
    assert json.loads(answer)


def test_afterwards_nothing_is_parked(attacked, assert_healthy):
    assert_healthy(attacked)


def test_a_body_shorter_than_announced_is_not_taken(tenant, raw):
    status, _ = raw(
        head("/v1/events", tenant.write_key, "Content-Length: 100"), GOOD, half_close=True
    )
    assert status in (0, 400)
    assert tenant.events() == []


def test_a_body_longer_than_announced_is_cut_where_it_was_announced(tenant, raw):
    length = f"Content-Length: {len(GOOD)}"
    status, _ = raw(head("/v1/events", tenant.write_key, length) + GOOD + b"GARBAGE\r\n\r\n")
    assert status in (202, 400)
    status, _ = raw(head("/v1/events", tenant.write_key, "Content-Length: 10") + GOOD)
    assert status == 400
    assert len(tenant.events()) <= 1


@pytest.mark.parametrize(
    "line",
    [
        "Content-Length: -1",
        "Content-Length: x",
        "Content-Length: 99999999999999999999999",
        "Content-Length: 5, 6",
        "Transfer-Encoding: chunked\r\nContent-Length: 32",
        "Transfer-Encoding: nonsense",
        "Header-Without-Colon",
        "X: " + "y" * 200_000,
    ],
    ids=lambda line: line[:40],
)
def test_a_head_that_lies_is_refused(tenant_of_all, raw, line):
    """The two lengths at once are what request smuggling needs."""
    status, _ = raw(head("/v1/events", tenant_of_all.write_key, line) + GOOD, half_close=True)
    assert status == 0 or 400 <= status < 500


def test_a_body_in_chunks_is_taken_whole_or_not(tenant, raw):
    chunked = head("/v1/events", tenant.write_key, "Transfer-Encoding: chunked")
    parts = [b"%x\r\n%b\r\n" % (len(part), part) for part in (GOOD[:10], GOOD[10:])]
    assert raw(chunked, *parts, b"0\r\n\r\n")[0] == 202
    assert raw(chunked, parts[0], b"zz\r\n", half_close=True)[0] in (0, 400)
    assert raw(chunked, parts[0], half_close=True)[0] in (0, 400)
    assert len(tenant.events()) == 1


def test_a_body_beyond_4_mb_in_chunks_is_refused_before_its_end(tenant_of_all, raw):
    chunked = head("/v1/events/batch", tenant_of_all.write_key, "Transfer-Encoding: chunked")
    megabyte = b"100000\r\n" + b" " * 0x100000 + b"\r\n"
    status, answer = raw(chunked, *[megabyte] * 4, b"1\r\n \r\n")
    assert status == 413
    assert json.loads(answer)["code"] == "REQUEST_TOO_LARGE"


def test_a_slow_sender_holds_up_nobody(tenant, raw):
    """The rest comes only after the others were answered."""
    length = f"Content-Length: {len(GOOD)}"

    def trickle():
        yield head("/v1/events", tenant.write_key, length)
        for at in range(0, len(GOOD), 8):
            assert tenant.send({"event_name": "Fast", "user_id": "u"}).status_code == 202
            yield GOOD[at : at + 8]

    assert raw(*itertools.chain(trickle()))[0] == 202
    assert [e["event_name"] for e in tenant.events()] == ["E", "Fast", "Fast", "Fast", "Fast"]


def test_a_sender_who_hangs_up_leaves_nothing_behind(tenant, raw):
    for cut in (0, 1, 10, len(GOOD) - 1):
        whole = head("/v1/events", tenant.write_key, f"Content-Length: {len(GOOD)}")
        raw(whole, GOOD[:cut], half_close=True)
    assert tenant.events() == []


def test_what_is_no_http_is_refused(tenant_of_all, raw):
    for nonsense in (b"\x16\x03\x01\x02\x00\x01\x00", b"GET\r\n\r\n", b"\xff" * 100 + b"\r\n\r\n"):
        status, _ = raw(nonsense, half_close=True)
        assert status == 0 or 400 <= status < 500


def test_a_body_that_is_dear_to_read_is_answered(tenant_of_all, post):
    """4 MB of one thing over and over; `post` gives up after 20 seconds."""
    size = 4 * 1024 * 1024 - 100
    for filling in (b"[", b'{"a":', b'"', b"\\", b'"a":1,', b"[],", b"{},", b"9"):
        for start in (b'{"events":[', b'{"batch":[{"a":', b'{"event_name":"E","properties":{'):
            body = start + filling * (size // len(filling))
            path = "/v1/batch" if b"batch" in start else "/v1/events/batch"
            status, _ = post(path, tenant_of_all.write_key, body)
            assert status in (200, 400, 413), (filling, start)


def test_while_such_a_body_is_read_others_are_answered(tenant, post):
    """99 events of which each takes the slowest reading."""
    hostile = bodies("/v1/events", b'"a":[' + b"[]," * 2700 + b'"\\u0000"]')
    body = b'{"events":[' + b",".join([hostile] * 99) + b"]}"
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        slow = pool.submit(post, "/v1/events/batch", tenant.write_key, body)
        answered = 0
        while not slow.done():
            assert tenant.send({"event_name": "Fast", "user_id": "u"}).status_code == 202
            answered += 1
        status, answer = slow.result()
    assert status == 202
    assert json.loads(answer)["rejected_count"] == 99
    assert answered > 5
