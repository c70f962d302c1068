"""Shapes that were ever stored can be read for ever: tests/golden/<topic>.json pins them.

A file is never changed, only added to; what is on somebody's log cannot be changed either. Each
has a list of payloads as stored (`codec` byte in hex, `body` JSON text) and the `values` that they
hold. A field that came later is not among the values of an older payload: there it is its default,
and a payload that shows it is added. When an event otherwise changes its shape it gets a new topic and a golden file, and the old topic's
file stays and is read through the upcaster.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest

from domain.catalogue import BY_TOPIC, UPCASTERS
from domain.tracking import Tracked
from infrastructure import codec

GOLDEN = Path(__file__).parents[1] / "golden"
PAYLOADS = [
    pytest.param(file.stem, payload, id=f"{file.stem}-{number}")
    for file in sorted(GOLDEN.glob("*.json"))
    for number, payload in enumerate(json.loads(file.read_text()))
]


def _stored(payload: dict[str, Any]) -> bytes:
    return bytes.fromhex(payload["codec"]) + payload["body"].encode()


def _values(event: Any) -> Any:
    """JSON that was kept as bytes is shown as its text, so that spaces and order count."""
    if isinstance(event, msgspec.Raw):
        return bytes(event).decode()
    if isinstance(event, msgspec.Struct):
        return {name: _values(getattr(event, name)) for name in event.__struct_fields__}
    return json.loads(msgspec.json.encode(event))


def _held(event: Any, values: Any) -> Any:
    """The values of `event`, without those that are the defaults of fields that came after
    `values` was written, at whatever depth.
    """
    if not isinstance(event, msgspec.Struct) or not isinstance(values, dict):
        return _values(event)
    defaults = {
        field.name: _values(field.default)
        for field in msgspec.structs.fields(event)
        if field.default is not msgspec.NODEFAULT
    }
    held = {name: getattr(event, name) for name in event.__struct_fields__}
    return {
        name: _held(value, values.get(name))
        for name, value in held.items()
        if name in values or name not in defaults or _values(value) != defaults[name]
    }


def _without_golden(directory: Path) -> list[str]:
    return sorted(
        topic
        for topic in BY_TOPIC.keys() | UPCASTERS.keys()
        if not (directory / f"{topic}.json").is_file()
    )


@pytest.mark.parametrize(("topic", "payload"), PAYLOADS)
def test_a_stored_payload_is_read_as_the_values_that_it_held(topic, payload):
    values = payload["values"]
    assert _held(codec.decode(topic, _stored(payload)), values) == values


@pytest.mark.parametrize(("topic", "payload"), PAYLOADS)
def test_a_stored_payload_is_written_again_byte_for_byte(topic, payload):
    if topic in UPCASTERS:
        pytest.skip("an old shape is read, never written")
    assert codec.encode(codec.decode(topic, _stored(payload))) == _stored(payload)


def test_every_topic_has_a_golden_file():
    assert _without_golden(GOLDEN) == []


def test_every_golden_file_has_a_full_and_a_bare_payload():
    for topic, event in BY_TOPIC.items():
        payloads = json.loads((GOLDEN / f"{topic}.json").read_text())
        bodies = [json.loads(payload["body"]) for payload in payloads]
        optional = [field for field in msgspec.structs.fields(event) if not field.required]
        for field in optional:
            assert any(body.get(field.name) for body in bodies), f"{topic}: {field.name} not shown"


def test_a_missing_golden_file_is_noticed(tmp_path):
    copied = tmp_path / "golden"
    shutil.copytree(GOLDEN, copied)
    (copied / "tracked.v1.json").unlink()
    assert _without_golden(copied) == ["tracked.v1"]


def test_a_payload_that_changed_is_noticed():
    payload = json.loads((GOLDEN / "tracked.v1.json").read_text())[0]
    changed = {**payload, "body": payload["body"].replace("commit", "comit")}
    values = payload["values"]
    assert _held(codec.decode("tracked.v1", _stored(changed)), values) != values


def test_a_field_that_came_later_is_its_default_in_an_old_payload():
    payload = json.loads((GOLDEN / "grouped.v1.json").read_text())[0]
    values = payload["values"]
    assert "group_type" not in values
    said = payload["body"].replace('"group_id"', '"group_type":"team","group_id"')
    changed = codec.decode("grouped.v1", _stored({**payload, "body": said}))
    assert _held(changed, values) == values | {"group_type": "team"}


def test_old_shapes_are_read_through_all_their_upcasters(monkeypatch):
    """Two generations back: `name` became `event`, then the one `time` became `timestamp`."""

    def rename(old):
        return {"event": old.pop("name"), **old}

    def split(old):
        time = old.pop("time")
        return {"timestamp": time, "received_at": time, **old}

    monkeypatch.setitem(UPCASTERS, "tracked.v0a", ("tracked.v0b", rename))
    monkeypatch.setitem(UPCASTERS, "tracked.v0b", ("tracked.v1", split))
    old = b'{"message_id":"m1","name":"commit","time":"2026-01-02T03:04:05Z","properties":{"n":1}}'

    event = codec.decode("tracked.v0a", codec.PLAIN + old)

    assert isinstance(event, Tracked)
    assert (event.event, event.message_id) == ("commit", "m1")
    assert event.timestamp.isoformat() == "2026-01-02T03:04:05+00:00"
    assert bytes(event.properties) == b'{"n":1}'


def test_a_topic_of_a_newer_version_is_named_not_guessed():
    with pytest.raises(codec.UnknownTopic, match=r"tracked\.v99"):
        codec.decode("tracked.v99", codec.PLAIN + b"{}")


def test_a_payload_with_an_unknown_codec_is_refused():
    with pytest.raises(codec.UnknownCodec, match="7f"):
        codec.decode("tracked.v1", b"\x7f{}")
