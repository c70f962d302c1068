"""The AsyncAPI document describes what the relay really publishes."""

import json
import re

import jsonschema
import msgspec
import pytest

from api.asyncapi import document
from domain.catalogue import BY_TOPIC, CATEGORIES

SCHEMAS = document()["components"]["schemas"]


def refs(node):
    if isinstance(node, dict):
        if "$ref" in node:
            yield node["$ref"]
        for value in node.values():
            yield from refs(value)
    elif isinstance(node, list):
        for value in node:
            yield from refs(value)


def found(reference: str):
    node = document()
    for step in reference.removeprefix("#/").split("/"):
        node = node[step]
    return node


def payload_validator(category: str) -> jsonschema.Draft202012Validator:
    payload = document()["components"]["messages"][category]["payload"]
    return jsonschema.Draft202012Validator(payload | {"components": document()["components"]})


def test_it_has_the_parts_that_asyncapi_3_requires():
    made = document()
    assert made["asyncapi"] == "3.0.0"
    assert {"title", "version"} <= made["info"].keys()
    for operation in made["operations"].values():
        assert operation["action"] == "send"
        assert found(operation["channel"]["$ref"]) in made["channels"].values()
    for channel in made["channels"].values():
        named = set(re.findall(r"{(\w+)}", channel["address"]))
        assert named == channel["parameters"].keys()


def test_it_is_json_and_every_reference_leads_somewhere():
    read = json.loads(msgspec.json.encode(document()))
    assert all(found(reference) for reference in refs(read))


def test_every_topic_is_in_it():
    assert {schema["title"] for schema in SCHEMAS.values() if "allOf" in schema} == set(BY_TOPIC)


def test_every_category_has_its_channel():
    addresses = {channel["address"] for channel in document()["channels"].values()}
    assert addresses == {f"appizer.v1.{{app}}.{category}" for category in CATEGORIES.values()}


@pytest.mark.parametrize("name", SCHEMAS)
def test_each_schema_is_a_json_schema(name):
    jsonschema.Draft202012Validator.check_schema(SCHEMAS[name])


def test_what_the_relay_publishes_fits_it(log, relays, until_relayed, read_stream):
    tracked = (
        b'\x01{"message_id":"m","timestamp":"2026-05-01T10:00:00Z",'
        b'"received_at":"2026-05-01T10:00:00Z","user_id":"u","event":"Signed up"}'
    )
    organisation = (
        b'\x01{"originator_id":"2f6a0f3e-3a5e-4c6f-9f5e-0f3a5e4c6f9f","originator_version":1,'
        b'"occurred_at":"2026-05-01T10:00:00Z","app_id":null,"name":"Acme"}'
    )
    log.append_states([tracked], [log.apps[0]], "tracked.v1")
    head = log.append_states([organisation], [None], "organisation.created.v1")
    with relays.start_here():
        until_relayed(head)
    for message in read_stream():
        category = message.subject.rpartition(".")[2]
        payload_validator(category).validate(json.loads(message.payload))
        headers = document()["components"]["messages"][category]["headers"]
        jsonschema.validate(dict(message.headers), headers)


def test_an_event_of_another_channel_does_not_fit():
    event = {
        "specversion": "1.0",
        "id": "evt_" + "0" * 32,
        "source": "/system",
        "type": "app.created.v1",
        "time": "2026-05-01T10:00:00Z",
        "position": "1",
        "streamversion": 1,
    }
    assert not payload_validator("tracked").is_valid([event])
