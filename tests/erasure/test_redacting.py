"""What stays of an event, and what is refused: pure functions."""

from datetime import UTC, datetime
from uuid import UUID

import msgspec
import pytest

from domain.erasures import Barred, counted, digest, names_one, redacted, words_in
from domain.tracking import Aliased, Client, Identified, Refused, Tracked, Unmerged

NOW = datetime(2026, 11, 22, tzinfo=UTC)
STREAM = bytes(range(16))
NAMES = {"ada": "erased-1", "ada-browser": "erased-2"}
SENT = {
    "message_id": "ada-7",
    "timestamp": NOW,
    "received_at": NOW,
    "context": msgspec.Raw(b'{"ip":"198.51.100.1"}'),
    "client": Client(ip="198.51.100.1"),
}
APP = UUID(int=7)


def raw(text: str) -> msgspec.Raw:
    return msgspec.Raw(text.encode())


def tracked(**fields) -> Tracked:
    return Tracked(**{**SENT, "event": "bought", "properties": raw('{"n":1,"s":"x"}'), **fields})


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("{}", "{}"),
        ('{"a":"text","b":null,"c":["x",1]}', "{}"),
        ('{"n":1,"price":19.90,"e":1e3,"minus":-4,"yes":true,"no":false}', None),
        ('{"phone":491701234567,"most":999999999,"minus":-1000000000}', '{"most":999999999}'),
        ('{"in":{"n":1,"s":"x","in":{"s":"x"}},"s":"x"}', '{"in":{"n":1}}'),
    ],
)
def test_numbers_and_booleans_stay_as_they_were_written(given, kept):
    assert bytes(counted(raw(given))).decode() == (given if kept is None else kept)


@pytest.mark.parametrize(
    "name",
    [
        *("ada@example.com", "+491701234567", "ada", "seen by ada-browser", "a:ada-browser"),
        *("visits_ada-browser", "opened/ada-browser", "seen by ada", "seen_by_ada"),
    ],
)
def test_a_property_is_not_kept_under_a_name_that_may_tell_who_it_was(name):
    given = raw('{"n":1,"in":{"%s":true},"%s":2}' % (name, name))  # noqa: UP031  braces are JSON's
    left = redacted(tracked(user_id="ada", properties=given), STREAM, NAMES)
    assert bytes(left.properties) == b'{"n":1}'


def test_a_name_that_has_a_short_id_by_chance_stays():
    left = redacted(tracked(user_id="ada", properties=raw('{"canadas":2}')), STREAM, NAMES)
    assert bytes(left.properties) == b'{"canadas":2}'


def test_of_the_persons_own_event_only_what_is_counted_stays():
    left = redacted(tracked(user_id="ada", anonymous_id="ada-browser"), STREAM, NAMES)
    assert left == Tracked(
        message_id=STREAM.hex(),
        timestamp=NOW,
        received_at=NOW,
        user_id="erased-1",
        anonymous_id="erased-2",
        event="bought",
        properties=left.properties,
    )
    assert bytes(left.properties) == b'{"n":1}'
    assert redacted(left, STREAM, NAMES) == left


def test_of_anothers_event_only_the_id_is_renamed():
    theirs = tracked(user_id="bob", anonymous_id="ada-browser")
    renamed = msgspec.structs.replace(theirs, anonymous_id="erased-2")
    assert redacted(theirs, STREAM, NAMES) == renamed


def test_traits_and_reasons_go():
    said = Identified(
        **SENT, user_id="ada", traits=raw('{"age":1}'), operations=raw('{"unset":["x"]}')
    )
    left = redacted(said, STREAM, NAMES)
    assert (bytes(left.traits), bytes(left.operations)) == (b"{}", b"{}")
    forced = Aliased(**SENT, user_id="bob", previous_id="ada", forced_by="key", reason="of Ada")
    left = redacted(forced, STREAM, NAMES)
    assert (left.previous_id, left.forced_by, left.reason) == ("erased-1", "key", None)
    assert left.message_id == "ada-7"
    cut = Unmerged(
        user_id="ada", pairs=(("ada", "bob"), ("x", "y")), timestamp=NOW, received_at=NOW,
        done_by="key", reason="of Ada",
    )  # fmt: skip
    left = redacted(cut, STREAM, NAMES)
    assert (left.user_id, left.pairs, left.reason) == (
        "erased-1",
        (("erased-1", "bob"), ("x", "y")),
        None,
    )


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b'{"user_id":"ada"}', True),
        (b'{"userId":"ad\\u0061"}', True),
        (b'{"batch":[{"previousId":"ada"}]}', True),
        (b'{"user_id":42}', True),
        (b'{"name":"ada"}', False),  # too short to be more than chance
        (b'{"text":"ask ada@example.com, please"}', True),
        (b'{"text":"ask ad\\u0061@example.com"}', True),
        (b"not json ada@example.com", True),
        (b"\xff ada@example.com", True),
        (b'{"event":"signed_up","price":42}', False),
    ],
)
def test_ids_are_found_in_bodies_that_were_refused(body, found):
    ids = {"ada", "ada@example.com", "42"}
    assert any(word in ids for word in words_in(body)) is found
    refused = Refused(body=body, field="f", issue="i", received_at=NOW, dialect="native")
    assert names_one(refused, ids) is found


def test_erased_ids_are_barred_in_their_app_only():
    barred = Barred(b"key", APP, {digest(b"key", APP, "ada")})
    assert "ada" in barred
    assert "eve" not in barred
    assert "ada" not in barred._replace(app_id=UUID(int=8))
    assert "ada" not in barred._replace(key=b"another")
    assert barred.field_of(tracked(user_id="ada")) == "user_id"
    assert barred.field_of(tracked(user_id="bob", anonymous_id="ada")) == "anonymous_id"
    assert barred.field_of(Aliased(**SENT, user_id="bob", previous_id="ada")) == "previous_id"
    assert barred.field_of(tracked(user_id="bob")) is None
