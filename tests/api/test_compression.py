"""Bodies as SDKs really send them: compressed, mislabelled, or neither."""

import gzip
import json
import zlib

import pytest

EVENT = json.dumps({"event_name": "E", "user_id": "u", "message_id": "m"}).encode()
BATCH = json.dumps({"batch": [{"type": "track", "event": "E", "userId": "u"}]}).encode()
PACKED = gzip.compress(EVENT, mtime=0)  # the same whenever it is made: tests are named for it
BOMB = gzip.compress(bytes(200 * 1024 * 1024), 9)


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Encoding": "gzip", "Content-Type": "application/json"},
        {"Content-Encoding": "x-gzip"},
        {"Content-Encoding": "GZIP"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/octet-stream"},
        {},
    ],
)
def test_gzip_is_found_whatever_the_label(tenant, headers):
    assert tenant.send(gzip.compress(EVENT), **headers).status_code == 202
    assert tenant.send(gzip.compress(BATCH), "/v1/batch", **headers).status_code == 200
    assert len(tenant.events()) == 2


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Encoding": "gzip"},
        {"Content-Encoding": "identity"},
        {"Content-Encoding": ""},
        {"Content-Type": "text/plain;charset=UTF-8"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "nonsense"},
    ],
)
def test_json_is_found_whatever_the_label(tenant_of_all, headers):
    assert tenant_of_all.send(EVENT, **headers).status_code == 202
    assert tenant_of_all.send(BATCH, "/v1/batch", **headers).status_code == 200


@pytest.mark.parametrize("encoding", ["br", "deflate", "zstd", "gzip, gzip"])
def test_another_compression_is_refused_by_its_name(tenant_of_all, problem, encoding):
    answer = tenant_of_all.send(zlib.compress(EVENT), **{"Content-Encoding": encoding})
    problem(
        answer, 400, "INVALID_REQUEST", field="Content-Encoding", issue="must be gzip or left out"
    )


@pytest.mark.parametrize(
    ("body", "issue"),
    [
        (PACKED[:-9], "cut short"),
        (PACKED[:12], "cut short"),
        (b"\x1f\x8b", "cut short"),
        (PACKED + b"tail", "goes on"),
        (gzip.compress(PACKED, mtime=0), "twice"),
        (b"\x1f\x8b" + b"\xff" * 100, "not valid gzip"),
        (PACKED[:-5] + b"\0\0\0\0\0", "not valid gzip"),
    ],
)
@pytest.mark.parametrize("path", ["/v1/events", "/v1/events/batch", "/v1/batch", "/v1/track"])
def test_gzip_that_is_damaged_is_refused(tenant_of_all, problem, path, body, issue):
    details = problem(tenant_of_all.send(body, path), 400, "INVALID_REQUEST", field="body")
    assert issue in details["issue"]


@pytest.mark.parametrize("path", ["/v1/events", "/v1/events/batch", "/v1/batch", "/v1/track"])
@pytest.mark.parametrize("bomb", [BOMB, gzip.compress(BOMB, 9)], ids=["once", "twice"])
def test_a_gzip_bomb_is_refused_without_unpacking_it(tenant_of_all, path, bomb):
    answer = tenant_of_all.send(bomb, path)
    assert answer.status_code == (413 if bomb is BOMB else 400)
    assert tenant_of_all.send(EVENT).status_code == 202


QUESTION = json.dumps({"event": "E", "from": "2026-03-01", "to": "2026-03-02"}).encode()


def asked(tenant, body, path="/v1/analytics/trends", **headers):
    given = {**tenant.bearer(tenant.secret_key), **headers}
    return tenant.http.post(path, content=body, headers=given)


@pytest.mark.parametrize("headers", [{"Content-Encoding": "gzip"}, {}])
def test_a_question_may_be_compressed(tenant_of_all, headers):
    packed = gzip.compress(QUESTION)
    answer = asked(tenant_of_all, packed, **headers)
    assert answer.status_code == 200, answer.text
    assert answer.json()["data"] == asked(tenant_of_all, QUESTION).json()["data"]
    metric = gzip.compress(b'{"name": "packed", "definition": {}}')
    assert asked(tenant_of_all, metric, "/v1/metrics", **headers).status_code == 201


def test_a_question_that_is_damaged_or_too_large_is_refused(tenant_of_all, problem):
    refused = asked(tenant_of_all, gzip.compress(QUESTION)[:-9])
    assert "cut short" in problem(refused, 400, "INVALID_REQUEST", field="body")["issue"]
    other = asked(tenant_of_all, QUESTION, **{"Content-Encoding": "br"})
    problem(other, 400, "INVALID_REQUEST", field="Content-Encoding")
    assert asked(tenant_of_all, BOMB).status_code == 413
    assert asked(tenant_of_all, gzip.compress(BOMB, 9)).status_code == 400
