"""One OpenAPI document of both applications and of the write routes, which Litestar can't see."""

from typing import Any

import msgspec
from litestar import Litestar

from api.dialects import native, segment, users
from api.dialects.calls import CALLS
from api.errors import Problem
from commands.ingest import Outcome
from domain.admission import Clock
from domain.limits import MAX_EVENT_BYTES, MAX_REQUEST_BYTES, MAX_REQUEST_EVENTS

Document = dict[str, Any]

_SECURITY = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "any key"},
    "basic": {"type": "http", "scheme": "basic", "description": "the key as user name"},
    "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}
_ABOUT = f"""Events in, answers out.

Write keys (`ak_…`) send events, secret keys (`as_…`) also read, admin keys (`ad_…`) may also force
merges and erase people, organisation keys (`apps_…`) manage apps. Every key goes into
`Authorization: Bearer`, `X-API-Key`, or Basic as user name.
An event may have {MAX_EVENT_BYTES} bytes, a request {MAX_REQUEST_EVENTS} events and
{MAX_REQUEST_BYTES} bytes after decompression (gzip is found out by itself)."""
_REFUSALS = {
    "400": "the request as a whole can't be read; `details` names field and issue",
    "401": "no key, or not one of ours",
    "403": "the key may not do this",
    "413": "too large, or too many events",
    "503": "try again after `Retry-After` seconds; nothing is known about the events, sending them"
    " again is safe",
}


def document(*applications: Litestar) -> Document:
    merged: Document = {
        "openapi": "3.1.0",
        "info": {"title": "Appizer", "version": "1", "description": _ABOUT},
        "paths": dict(_ingest_paths()),
        "components": {"schemas": _ingest_schemas(), "securitySchemes": _SECURITY},
        "security": [{"bearer": []}, {"basic": []}, {"header": []}],
    }
    for application in applications:
        part = application.openapi_schema.to_schema()
        for path, operations in part.get("paths", {}).items():
            told = {method: _completed(path, one) for method, one in operations.items()}
            merged["paths"].setdefault(path, {}).update(told)
        merged["components"]["schemas"].update(part.get("components", {}).get("schemas", {}))
    return merged


_OPEN = (
    "/healthz",
    "/readyz",
    "/metrics",
    "/v1/projects/{write_key}/settings",
    "/sourceConfig",
    "/analytics.js/v1/{write_key}/analytics.min.js",
)
_SHARED = {
    "400": "`details` names field and issue",
    "401": "no key, or not one of ours",
    "403": "the key may not do this",
    "404": "there is no such thing, or it is somebody else's",
    "504": "the read model is not at `min_position` yet; `details` says how far behind it is",
}


def _completed(path: str, operation: Document) -> Document:
    """The framework knows neither our refusals nor which routes are open."""
    waits = any(p["name"] == "min_position" for p in operation.get("parameters", ()))
    statuses = ["400"] if "400" in operation["responses"] else []
    if path in _OPEN:
        operation["security"] = []
    else:
        statuses += ["401", "403"]
    statuses += ["404"] * ("{" in path) + ["504"] * (waits or path.startswith("/v1/analytics/"))
    refusals = {status: _json(_SHARED[status], Problem) for status in statuses}
    return {**operation, "responses": {**operation["responses"], **refusals}}


# msgspec's own schemas stop at a default of type Raw: the bodies are described by their fields.
_BODIES = (
    native.EventBody,
    native.EventsBody,
    users.UserBody,
    users.UsersBody,
    segment.CallBody,
    segment.CallsBody,
)
_ANSWERS = (
    native.Taken,
    native.BatchTaken,
    users.UserTaken,
    segment.SegmentTaken,
    Problem,
    Outcome,
)
_TIME = {
    "description": "ISO 8601, or epoch seconds or milliseconds",
    "anyOf": [{"type": "string", "format": "date-time"}, {"type": "number"}],
}


def _ingest_schemas() -> Document:
    _, answers = msgspec.json.schema_components(
        _ANSWERS, ref_template="#/components/schemas/{name}"
    )
    return {**answers, **{body.__name__: _body(body) for body in _BODIES}}


def _body(kind: type[msgspec.Struct]) -> Document:
    fields = msgspec.structs.fields(kind)
    return {
        "type": "object",
        "properties": {field.encode_name: _field(field) for field in fields},
        "required": [field.encode_name for field in fields if field.required],
    }


def _field(field: msgspec.structs.FieldInfo) -> Document:
    kind = field.type
    if field.name == "unset":
        return {"type": "array", "items": {"type": "string"}}
    if kind is msgspec.Raw:
        return {"type": "object"}
    if kind == list[msgspec.Raw]:
        return {"type": "array", "items": {"type": "object"}, "maxItems": MAX_REQUEST_EVENTS}
    if kind == Clock:
        return _TIME
    return {"type": ["string", "null"] if field.default is msgspec.UNSET else "string"}


def _ref(kind: type) -> Document:
    return {"$ref": f"#/components/schemas/{kind.__name__}"}


def _ingest_paths() -> Document:
    return {path: {"post": _operation(path)} for path in CALLS}


def _operation(path: str) -> Document:
    dialect = CALLS[path].dialect
    of_segment = dialect == segment.NAME
    status = "200" if of_segment else "202"
    body, answer = _SHAPES[dialect, path.endswith(("/batch", "/import", "/b"))]
    return {
        "operationId": "Post" + path.title().replace("/", ""),
        "summary": _SUMMARIES[dialect].format(path.rpartition("/")[2]),
        "tags": ["ingest (Segment, RudderStack)" if of_segment else "ingest"],
        "requestBody": {"required": True, "content": {"application/json": {"schema": _ref(body)}}},
        "responses": {
            status: _json("stored, or refused one by one", answer),
            **{code: _json(text, Problem) for code, text in _refusals(path).items()},
        },
    }


_SUMMARIES = {
    native.NAME: "Native: {}",
    users.NAME: "Upsert people: {}",
    segment.NAME: "Segment dialect: {}",
}
_SHAPES: dict[tuple[str, bool], tuple[type[msgspec.Struct], type[msgspec.Struct]]] = {
    (native.NAME, False): (native.EventBody, native.Taken),
    (native.NAME, True): (native.EventsBody, native.BatchTaken),
    (users.NAME, False): (users.UserBody, users.UserTaken),
    (users.NAME, True): (users.UsersBody, native.BatchTaken),
    (segment.NAME, False): (segment.CallBody, segment.SegmentTaken),
    (segment.NAME, True): (segment.CallsBody, segment.SegmentTaken),
}


def _refusals(path: str) -> dict[str, str]:
    if path in ("/v1/events", "/v1/events/track", "/v1/users"):
        return {**_REFUSALS, "409": "the message id belongs to another event"}
    return _REFUSALS


def _json(description: str, kind: type) -> Document:
    return {"description": description, "content": {"application/json": {"schema": _ref(kind)}}}
