"""Whatever comes in, each item becomes a message or a refusal, and what is accepted can be read
back by everything behind the log.
"""

import json
import string

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api.body import open_body
from api.dialects.calls import CALLS
from commands.ingest import Refused
from domain import admission
from domain.errors import AppizerError, Rejected
from domain.json_objects import examine
from infrastructure import codec

lenient = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
PATHS = sorted(CALLS)

hostile_text = st.one_of(
    st.text(),
    st.text(st.characters(codec=None), max_size=8),  # surrogates too
    st.sampled_from(
        ["", "\0", "\ud800", "a:b", '"', "\\", "\\u0000", "http://a/b", " :", "e\u0301"]
    ),
)
numbers = st.one_of(
    st.integers(), st.floats(), st.sampled_from([2**53, 2**53 + 1, -(2**53), 1e16, 10**400])
)
values = st.recursive(
    st.none() | st.booleans() | numbers | hostile_text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(hostile_text, inner, max_size=5),
    max_leaves=25,
)
fields = st.sampled_from(
    [
        "type",
        "event",
        "event_name",
        "userId",
        "user_id",
        "anonymousId",
        "messageId",
        "message_id",
        "timestamp",
        "sentAt",
        "sent_at",
        "originalTimestamp",
        "context",
        "properties",
        "traits",
        "name",
        "category",
        "previousId",
        "groupId",
        "batch",
        "events",
        "writeKey",
        "ip",
        "ua",
        "users",
        "email",
        "phone",
        "origin",
        "set_once",
        "setOnce",
        "increment",
        "append",
        "union",
        "unset",
    ]
)
sound = st.sampled_from(
    [
        {"type": "track", "event": "E", "userId": "u"},
        {"type": "identify", "userId": "u", "traits": {"a": 1}},
        {"event": "E", "user_id": "u"},
        {"user_id": "u", "email": "u@example.com", "traits": {"a": 1}, "increment": {"n": 1}},
        {"user_id": "u", "phone": None, "union": {"tags": ["a"]}, "unset": ["a"]},
    ]
)
messages = st.builds(lambda base, more: {**base, **more}, sound, st.dictionaries(fields, values))


def written(value, *, ascii_only: bool, separators) -> bytes:
    text = json.dumps(value, ensure_ascii=ascii_only, separators=separators)
    return text.encode("utf-8", "surrogatepass")


bodies = st.builds(
    written,
    messages
    | st.builds(lambda items: {"batch": items}, st.lists(messages, max_size=4))
    | st.builds(lambda items: {"events": items}, st.lists(messages, max_size=4))
    | st.builds(lambda items: {"users": items}, st.lists(messages, max_size=4)),
    ascii_only=st.booleans(),
    separators=st.sampled_from([(",", ":"), (", ", ": "), (" , ", " : "), (",\n", "\t:")]),
)
damaged = st.builds(
    lambda body, at, junk: body[: at % (len(body) + 1)] + junk + body[at % (len(body) + 1) :],
    bodies,
    st.integers(0, 4000),
    st.binary(max_size=4) | st.sampled_from([b'"', b"{", b"[" * 2000, b"\\ud800", b"]", b"}"]),
)


def check(judge, body: bytes, path: str) -> None:
    try:
        submitted = judge(open_body(body, None), path)
    except AppizerError:
        return
    for event in submitted:
        state = codec.encode(event)
        again = codec.decode(event.TOPIC, state)
        assert codec.encode(again) == state
        if not isinstance(event, Refused):
            assert_readable(event)


def assert_readable(event) -> None:
    """By Python's own reader, as text of Postgres, and by the exact rules."""
    stored = codec.encode(event)[1:].decode()
    assert "\\u0000" not in stored.replace("\\\\", "")
    for name in ("context", "properties", "traits", "operations"):
        raw = getattr(event, name, None)
        if raw is not None:
            examine(bytes(raw), name)
            assert isinstance(json.loads(bytes(raw)), dict)


@lenient
@given(body=st.binary(max_size=200), path=st.sampled_from(PATHS))
def test_no_bytes_break_it(judge, body, path):
    check(judge, body, path)


@lenient
@given(body=bodies, path=st.sampled_from(PATHS))
def test_no_json_breaks_it(judge, body, path):
    check(judge, body, path)


@lenient
@given(body=damaged, path=st.sampled_from(PATHS))
def test_no_damaged_json_breaks_it(judge, body, path):
    check(judge, body, path)


def verdict(judge, *arguments) -> Rejected | None:
    try:
        judge(*arguments)
    except Rejected as error:
        return error
    return None


@lenient
@given(
    value=st.dictionaries(hostile_text, values, max_size=6),
    ascii_only=st.booleans(),
    separators=st.sampled_from([(",", ":"), (", ", ": "), (" , ", " : "), (",\n", "\t:")]),
)
def test_the_quick_look_and_the_exact_reading_agree(value, ascii_only, separators):
    body = written(value, ascii_only=ascii_only, separators=separators)
    quick = verdict(admission.checked_object, msgspec.Raw(body), "properties", True)
    exact = verdict(examine, body, "properties")
    assert (quick is None) == (exact is None), (quick, exact)


keys = st.sampled_from(["a", "b", "c:", '"', "\\", "", "é"])


@lenient
@given(
    members=st.lists(st.tuples(keys, st.sampled_from([1, "x", ":", '":', {"a": 1}])), max_size=6),
    space=st.sampled_from(["", " ", "\n", "\t"]),
)
def test_a_key_that_comes_twice_is_always_seen(members, space):
    pairs = ",".join(f"{json.dumps(key)}{space}:{json.dumps(value)}" for key, value in members)
    found = verdict(admission.checked_object, msgspec.Raw(f"{{{pairs}}}".encode()), "p", True)
    names = [key for key, _ in members]
    assert (found is not None) == (len(set(names)) < len(names) or "" in names)


@lenient
@given(
    properties=st.dictionaries(
        st.text(string.ascii_letters, min_size=1), st.text(string.printable) | st.integers(0, 9)
    ),
    user=st.text(string.ascii_letters, min_size=1, max_size=200),
)
def test_what_is_accepted_is_read_back_as_it_was_sent(judge, properties, user):
    body = json.dumps({"event_name": "E", "user_id": user, "properties": properties}).encode()
    (event,) = judge(body)
    again = codec.decode(event.TOPIC, codec.encode(event))
    assert (again.user_id, json.loads(bytes(again.properties))) == (user, properties)
    assert again.timestamp == event.timestamp


@pytest.mark.parametrize("path", PATHS)
def test_every_path_takes_something(judge, path):
    said = {"type": "track", "userId": "u", "previousId": "p", "groupId": "g", "event": "E"}
    native = {"event": "E", "user_id": "u"}
    user = {"user_id": "u"}
    body = {
        "/v1/events/batch": {"events": [native]},
        "/v1/batch": {"batch": [said]},
        "/v1/import": {"batch": [said]},
        "/v1/b": {"batch": [said]},
        "/beacon/v1/batch": {"batch": [said]},
        "/v1/users": user,
        "/v1/users/batch": {"users": [user]},
    }.get(path, native if "events" in path else said)
    (event,) = judge(json.dumps(body).encode(), path)
    assert not isinstance(event, Refused)
