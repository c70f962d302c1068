"""What erasing costs: payloads sealed with a key per id, or rewritten when it is asked for.

    python -m benchmarks.erasure [--events N] [--people N]

Sealing costs every event, at ingest and at every reading; rewriting costs the erasure. Sealed as it
would have to be: ids, context, address and agent, and properties as one AES-256-GCM text under the
person's own key, base64 in JSON. The keys are at hand here; storing those of new ids comes on top,
and is told apart.
"""

import gc
import os
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import click
import msgspec
import psycopg
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from benchmarks.machine import loop_seconds
from benchmarks.postgres import own_database
from domain.erasures import Barred, digest, redacted
from domain.tracking import Client, Tracked
from infrastructure import codec
from infrastructure.event_store import binary

APP = uuid4()
BATCH = 100
PERSON = 10_000  # events of the person who is erased
PAGE = 1_000
RUNS = 200
CONTEXT = msgspec.Raw(
    b'{"ip":"203.0.113.7","userAgent":"Mozilla/5.0 (X11)","library":{"name":"analytics-python"}}'
)
PROPERTIES = (
    b'{"order_id":"order-%d","revenue":19.9,"currency":"EUR","coupon":"SPRING","items":3,'
    b'"shipping":4.5,"tax":1.9,"category":"Books","new":true,"source":"newsletter of the week"}'
)
_APPEND = "SELECT head FROM log.append_events(%b, %b, %b, %b, false)"


class Sealed(msgspec.Struct, gc=False):
    """Tracked with what is personal in one text."""

    message_id: str
    timestamp: datetime
    received_at: datetime
    event: str
    kind: str
    source: str
    key: bytes
    sealed: bytes


class Personal(msgspec.Struct, gc=False, omit_defaults=True):
    user_id: str | None
    anonymous_id: str | None
    context: msgspec.Raw
    client: Client
    properties: msgspec.Raw


_encode = msgspec.json.Encoder().encode
_read_sealed = msgspec.json.Decoder(Sealed).decode
_read_personal = msgspec.json.Decoder(Personal).decode


class Sealer:
    """The keys of all ids, by id and by the digest that a sealed payload names."""

    def __init__(self, ids: Sequence[str]) -> None:
        made = {one: (secrets.token_bytes(16), AESGCM(secrets.token_bytes(32))) for one in ids}
        self._of_id = made
        self._of_name = dict(made.values())

    def encode(self, event: Tracked) -> bytes:
        name, key = self._of_id[event.distinct_id]
        personal = Personal(
            event.user_id, event.anonymous_id, event.context, event.client, event.properties
        )
        nonce = os.urandom(12)
        sealed = Sealed(
            event.message_id,
            event.timestamp,
            event.received_at,
            event.event,
            event.kind,
            event.source,
            name,
            nonce + key.encrypt(nonce, _encode(personal), None),
        )
        return b"\x02" + _encode(sealed)

    def decode(self, state: bytes) -> Tracked:
        sealed = _read_sealed(memoryview(state)[1:])
        text = self._of_name[sealed.key].decrypt(sealed.sealed[:12], sealed.sealed[12:], None)
        personal = _read_personal(text)
        return Tracked(
            message_id=sealed.message_id,
            timestamp=sealed.timestamp,
            received_at=sealed.received_at,
            event=sealed.event,
            user_id=personal.user_id,
            anonymous_id=personal.anonymous_id,
            context=personal.context,
            client=personal.client,
            properties=personal.properties,
        )


def events(count: int, people: int) -> list[Tracked]:
    now = datetime.now(UTC)
    client = Client("198.51.100.4", "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0")
    return [
        Tracked(
            message_id=str(uuid4()),
            timestamp=now,
            received_at=now,
            user_id=f"user-{n % people}@example.com",
            anonymous_id=f"browser-{n % people}",
            context=CONTEXT,
            client=client,
            event="Order Completed",
            properties=msgspec.Raw(PROPERTIES % n),
        )
        for n in range(count)
    ]


def per_event(job: Callable[[], object], count: int) -> float:
    """Microseconds, of the fastest of many runs."""
    fastest = float("inf")
    for _ in range(RUNS):
        started = time.perf_counter()
        job()
        fastest = min(fastest, time.perf_counter() - started)
    return fastest / count * 1e6


def append(connection: psycopg.Connection[Any], states: Sequence[bytes]) -> float:
    """Microseconds an event, in commits of BATCH."""
    app = APP.bytes
    started = time.perf_counter()
    for first in range(0, len(states), BATCH):
        page = states[first : first + BATCH]
        ids = [os.urandom(16) for _ in page]
        columns = (binary.uuids(ids), binary.uuids([app] * len(page)))
        rest = (binary.texts([b"tracked.v1"] * len(page)), binary.byteas(page))
        connection.execute(_APPEND, (*columns, *rest), prepare=True)
    return (time.perf_counter() - started) / len(states) * 1e6


def rewrite(connection: psycopg.Connection[Any], names: dict[str, str]) -> tuple[float, int]:
    """Seconds to rewrite the last PERSON events, as infrastructure/erasure_log.py does it; bytes of
    WAL.
    """
    wal = "SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn"
    before = connection.execute(wal).fetchone()
    started = time.perf_counter()
    with connection.transaction():
        connection.execute("SELECT set_config('enable_seqscan', 'off', true)")
        head = connection.execute("SELECT max(notification_id) FROM log.events").fetchone()
        assert head is not None
        positions = list(range(head[0] - PERSON + 1, head[0] + 1))
        for first in range(0, PERSON, PAGE):
            rows = connection.execute(
                "SELECT notification_id, originator_id, state FROM log.events"
                " WHERE notification_id = ANY(%s)",
                (positions[first : first + PAGE],),
                binary=True,
            ).fetchall()
            done = {at: redact(state, stream, names) for at, stream, state in rows}
            connection.execute(
                "UPDATE log.events e SET state = n.state"
                " FROM unnest(%s::bigint[], %s::bytea[]) n(position, state)"
                " WHERE e.notification_id = n.position",
                (list(done), list(done.values())),
            )
    seconds = time.perf_counter() - started
    after = connection.execute(wal).fetchone()
    assert before is not None
    assert after is not None
    return seconds, int(after[0] - before[0])


def redact(state: bytes, stream: UUID, names: dict[str, str]) -> bytes:
    return codec.encode(redacted(codec.decode("tracked.v1", state), stream.bytes, names))


@click.command()
@click.option("--events", "count", default=50_000, help="appended in each way")
@click.option("--people", default=1_000)
def main(count: int, people: int) -> None:
    gc.freeze()
    gc.set_threshold(100_000, 20, 100)  # as the roles set it
    some = events(1_000, people)
    sealer = Sealer([event.distinct_id for event in some[:people]])
    plain = [codec.encode(event) for event in some]
    sealed = [sealer.encode(event) for event in some]
    assert sealer.decode(sealed[7]) == some[7]
    joined = b",".join(state[1:] for state in plain)
    print(f"loop {loop_seconds()} s; {len(plain[7])} bytes plain, {len(sealed[7])} sealed")
    row = "{:42} {:8.2f} {:8.2f} µs/event, {:5.2f} times".format
    table: list[tuple[str, Callable[[], object], Callable[[], object]]] = [
        (
            "encode",
            lambda: [codec.encode(event) for event in some],
            lambda: [sealer.encode(event) for event in some],
        ),
        (
            "decode one by one, as the projector",
            lambda: [codec.decode("tracked.v1", state) for state in plain],
            lambda: [sealer.decode(state) for state in sealed],
        ),
        (
            "decode in chunks, as a rebuild",
            lambda: codec.decode_joined("tracked.v1", joined),
            lambda: [sealer.decode(state) for state in sealed],
        ),
    ]
    for name, now, then in table:
        one, other = per_event(now, len(some)), per_event(then, len(some))
        print(row(name, one, other, other / one))
    erased = {digest(b"k" * 32, APP, f"gone {n}") for n in range(10_000)}
    barred = Barred(b"k" * 32, APP, erased)
    looked = per_event(lambda: [barred.field_of(event) for event in some], len(some))
    print(f"refusing erased ids, in an app that has some: {looked:.2f} µs/event")
    with _database() as connection:
        _append_both(connection, events(count, people), sealer, row)
        names = {event.user_id or "": f"erased-{secrets.token_hex(16)}" for event in some}
        append(connection, [codec.encode(event) for event in events(PERSON, 1)])
        seconds, wal = rewrite(connection, names)
        print(f"rewrite {PERSON:,} events of a person: {seconds:.2f} s, WAL {wal / 2**20:.1f} MiB")
        started = time.perf_counter()
        connection.execute("VACUUM (ANALYZE) log.events")
        print(f"vacuum afterwards: {time.perf_counter() - started:.2f} s")


@contextmanager
def _database() -> Iterator[psycopg.Connection[Any]]:
    with own_database() as url, psycopg.connect(url, autocommit=True) as connection:
        binary.register(connection)
        yield connection


def _append_both(
    connection: psycopg.Connection[Any],
    made: Sequence[Tracked],
    sealer: Sealer,
    row: Callable[..., str],
) -> None:
    """In turns, since the machine's speed varies."""
    spent = {"plain": 0.0, "sealed": 0.0}
    slices = [made[first : first + 5_000] for first in range(0, len(made), 5_000)]
    for part in slices:
        for name, encode in (("plain", codec.encode), ("sealed", sealer.encode)):
            started = time.perf_counter()
            states = [encode(event) for event in part]
            append(connection, states)
            spent[name] += time.perf_counter() - started
    one, other = (spent[name] / len(made) * 1e6 for name in ("plain", "sealed"))
    print(row(f"encode and append, commits of {BATCH}", one, other, other / one))
    started = time.perf_counter()
    connection.execute("CREATE TEMP TABLE keys (name bytea PRIMARY KEY, key bytea NOT NULL)")
    for _ in range(10_000 // BATCH):
        keys = [(secrets.token_bytes(16), secrets.token_bytes(32)) for _ in range(BATCH)]
        given = (binary.byteas([k for k, _ in keys]), binary.byteas([v for _, v in keys]))
        connection.execute("INSERT INTO keys SELECT * FROM unnest(%b, %b)", given)
    print(
        f"storing keys, a new id: {(time.perf_counter() - started) / 10_000 * 1e6:.1f} µs at least"
    )


if __name__ == "__main__":
    main()
