"""The AsyncAPI 3.0 document of the feed, made from the structs that are stored and published."""

from functools import cache
from typing import Any

import msgspec

from domain.catalogue import EVENTS, category
from infrastructure.cloud_events import CONTENT_TYPE, CloudEvent
from infrastructure.message_bus import STREAM

_TEMPLATE = "#/components/schemas/{name}"
_UUID = "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_POSITION = {"type": "string", "pattern": "^[0-9]+$"}
_HEADERS: dict[str, dict[str, Any]] = {
    "Content-Type": {"type": "string", "const": CONTENT_TYPE},
    "Nats-Msg-Id": {
        "type": "string",
        "description": "The message's last position, a dot, and its number in the stream.",
    },
    "Appizer-Log": {
        "type": "string",
        "format": "uuid",
        "description": "Which log the positions are of. Another one: begin again.",
    },
    "Appizer-First": _POSITION | {"description": "Position of the first event in the message."},
    "Appizer-Last": _POSITION | {"description": "Position of the last event in the message."},
    "Appizer-Previous": _POSITION
    | {
        "description": "Position of the last event before these on the same subject, as far as"
        " the stream remembers; 0 when it remembers none."
    },
    "Appizer-Page-First": _POSITION | {"description": "Where the page begins, all subjects."},
    "Appizer-Page-Last": _POSITION | {"description": "Where the page ends, all subjects."},
    "Appizer-Page-Part": {
        "type": "string",
        "pattern": "^[0-9]+/[0-9]+$",
        "description": "Which part of the page this message is: 2/3.",
    },
}


@cache
def document() -> dict[str, Any]:
    """Shared: don't change it."""
    by_category: dict[str, list[type]] = {}
    for event in EVENTS:
        by_category.setdefault(category(_topic(event)), []).append(event)
    return {
        "asyncapi": "3.0.0",
        "info": _INFO,
        "defaultContentType": CONTENT_TYPE,
        "channels": {name: _channel(name, events) for name, events in by_category.items()},
        "operations": {f"publish_{name}": _operation(name) for name in by_category},
        "components": {
            "messages": {name: _message(name, events) for name, events in by_category.items()},
            "schemas": _schemas(),
        },
    }


_INFO = {
    "title": "Appizer's feed of events",
    "version": "1",
    "description": (
        "Every event of the log, on the NATS JetStream stream "
        f"`{STREAM}`, in batches of CloudEvents 1.0. Each event is in the stream once, and on each"
        " subject events come in the order of their positions. Take an event that you have had"
        " for a repetition: the stream can be filled again from the log."
    ),
    "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
}


def _channel(name: str, events: list[type]) -> dict[str, Any]:
    return {
        "address": f"appizer.v1.{{app}}.{name}",
        "description": "Carries " + ", ".join(sorted(map(_topic, events))) + ".",
        "parameters": {
            "app": {"description": "The app's id, or `system` for what belongs to no app."}
        },
        "messages": {"batch": {"$ref": f"#/components/messages/{name}"}},
    }


def _operation(name: str) -> dict[str, Any]:
    return {
        "action": "send",
        "channel": {"$ref": f"#/channels/{name}"},
        "messages": [{"$ref": f"#/channels/{name}/messages/batch"}],
        "summary": f"Appizer publishes; subscribe to appizer.v1.*.{name}",
    }


def _message(name: str, events: list[type]) -> dict[str, Any]:
    return {
        "name": name,
        "contentType": CONTENT_TYPE,
        "headers": {"type": "object", "properties": _HEADERS, "required": list(_HEADERS)},
        "payload": {"type": "array", "items": {"oneOf": [_reference(_carrier(e)) for e in events]}},
    }


def _schemas() -> dict[str, Any]:
    described = [CloudEvent, *map(_described, EVENTS)]
    _, schemas = msgspec.json.schema_components(described, ref_template=_TEMPLATE)
    schemas["CloudEvent"]["properties"] |= {
        "specversion": {"const": "1.0"},
        "id": {"type": "string", "pattern": "^evt_[0-9a-f]{32}(-[0-9]+)?$"},
        "source": {"type": "string", "pattern": f"^/(system|apps/{_UUID})$"},
        "position": _POSITION,
        "time": {"type": "string", "format": "date-time"},
    }
    return schemas | {_carrier(event): _envelope(event) for event in EVENTS}


def _envelope(event: type) -> dict[str, Any]:
    """The CloudEvent whose `type` is the topic and whose `data` is the event."""
    properties = {"type": {"const": _topic(event)}, "data": _reference(event.__name__)}
    return {
        "title": _topic(event),
        "allOf": [_reference("CloudEvent"), {"type": "object", "properties": properties}],
    }


def _carrier(event: type) -> str:
    return f"{event.__name__}CloudEvent"


def _reference(name: str) -> dict[str, str]:
    return {"$ref": _TEMPLATE.format(name=name)}


def _topic(event: type) -> str:
    topic: str = event.TOPIC  # type: ignore[attr-defined]  # every class in EVENTS has one
    return topic


def _described(event: type) -> type:
    """The same struct with its raw JSON as what it is, an object: msgspec describes no default
    that is raw.
    """
    fields = [_field(field) for field in msgspec.structs.fields(event)]
    return msgspec.defstruct(
        event.__name__, fields, kw_only=True, namespace={"__doc__": event.__doc__}
    )


def _field(field: msgspec.structs.FieldInfo) -> tuple[str, Any] | tuple[str, Any, Any]:
    if field.type is msgspec.Raw:
        empty: Any = msgspec.field(default_factory=dict[str, Any])
        return field.encode_name, dict[str, Any], empty
    if field.default_factory is not msgspec.NODEFAULT:
        made: Any = msgspec.field(default_factory=field.default_factory)
        return field.encode_name, field.type, made
    if field.default is not msgspec.NODEFAULT:
        return field.encode_name, field.type, field.default
    return field.encode_name, field.type
