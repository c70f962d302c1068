import gzip
import zlib

import pytest

from api.body import open_body
from domain.errors import Rejected, TooLarge
from domain.limits import MAX_REQUEST_BYTES

BODY = b'{"event":"E"}'
PACKED = gzip.compress(BODY, mtime=0)  # the same whenever it is made: tests are named for it


@pytest.mark.parametrize("said", [None, "", "identity", "gzip", "br", "GZIP"])
def test_gzip_is_known_by_its_first_bytes_whatever_the_headers_say(said):
    assert open_body(gzip.compress(BODY), said) == BODY


@pytest.mark.parametrize("said", [None, "", "gzip", "identity", "x-gzip", "GZIP"])
def test_a_plain_body_is_taken_as_it_is(said):
    assert open_body(BODY, said) == BODY


@pytest.mark.parametrize("said", ["br", "zstd", "deflate"])
def test_a_compression_that_we_do_not_undo_is_named(said):
    with pytest.raises(Rejected) as refusal:
        open_body(zlib.compress(BODY), said)
    assert refusal.value.field == "Content-Encoding"


def test_a_body_at_the_limit_is_taken():
    body = b" " * MAX_REQUEST_BYTES
    assert open_body(body, None) == body
    assert open_body(gzip.compress(body), None) == body


def test_a_body_over_the_limit_is_too_large():
    body = b" " * (MAX_REQUEST_BYTES + 1)
    for raw in (body, gzip.compress(body)):
        with pytest.raises(TooLarge):
            open_body(raw, None)


def test_a_bomb_is_stopped_at_the_limit():
    bomb = gzip.compress(bytes(200_000_000))
    assert len(bomb) < 250_000
    with pytest.raises(TooLarge):
        open_body(bomb, None)


def test_what_is_compressed_twice_is_refused():
    with pytest.raises(Rejected):
        open_body(gzip.compress(gzip.compress(BODY)), "gzip")


@pytest.mark.parametrize(
    "raw",
    [
        PACKED[:-4],
        PACKED[:5],
        PACKED + b"more",
        PACKED * 2,
        b"\x1f\x8b",
        b"\x1f\x8b" + bytes(50),
        PACKED[:-8] + bytes(8),
    ],
)
def test_broken_gzip_is_refused(raw):
    with pytest.raises(Rejected):
        open_body(raw, "gzip")
