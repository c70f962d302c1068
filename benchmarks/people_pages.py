"""Pages about people taken by the Postgres read models; no HTTP, nothing beside it.

    python -m benchmarks.people_pages [--messages 100000] [--aliases 10000] [--chain 1000] [--json]

Pages of 4,000 identify messages (two ids, three traits; half of them by people seen before), from
the log's bytes to the commit. The limit, in this run: COPY of the rows that they came to into
tables of the same shape, a commit for each page. And links: one person with many aliases, and a
chain of ids each linked to the next.
"""

import json
import random
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import click
import psycopg
from sqlalchemy import Engine

from api.dialects.calls import CALLS, admit
from benchmarks.machine import loop_seconds
from benchmarks.postgres import own_database
from benchmarks.rebuild import CLIENT
from commands.ingest import to_new_events
from domain.tracking import Unmerged
from infrastructure import codec, garbage
from infrastructure.database import open_engine, open_log
from infrastructure.event_store import binary
from infrastructure.event_store.group_commit import columns_of
from infrastructure.event_store.reader import read_head, read_page
from infrastructure.projector import PAGE
from infrastructure.provisioning import provision
from infrastructure.read_models import ReadModels, decode
from infrastructure.settings import Settings
from projections import people

COMMIT = 500
TABLES = ("distinct_ids", "said", "links", "link_history", "person_changes", "persons")
START = datetime(2026, 11, 1, tzinfo=UTC)


class People:
    """Who sends: every other message is by somebody new, and one in ten by a known person on
    another device. Times are a millisecond apart.
    """

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        self._seed = seed
        self._known = 0
        self._sent = 0

    def identify(self) -> dict[str, Any]:
        """A Segment message of about 400 bytes."""
        chance = self._chance
        self._sent += 1
        is_new = self._known == 0 or chance.random() < 0.5
        person = self._known if is_new else chance.randrange(self._known)
        self._known += is_new
        device = "" if is_new or chance.random() < 0.8 else f"-{self._sent}"
        at = START + timedelta(milliseconds=self._sent)
        return {
            "type": "identify",
            "userId": f"user-{self._seed}-{person}",
            "anonymousId": f"5f8d04b3-{self._seed}-{person:09}{device}",
            "messageId": f"{chance.getrandbits(128):032x}",
            "timestamp": at.isoformat(timespec="milliseconds"),
            "traits": {
                "email": f"person{person}@example.com",
                "plan": chance.choice(("free", "pro", "team")),
                "logins": self._sent,
            },
            "context": {"library": {"name": "analytics-python", "version": "2.4.0"}},
        }


def alias(user_id: str, previous_id: str, number: int) -> dict[str, Any]:
    at = START + timedelta(milliseconds=number)
    return {
        "type": "alias",
        "userId": user_id,
        "previousId": previous_id,
        "messageId": f"{user_id} {previous_id}",
        "timestamp": at.isoformat(timespec="milliseconds"),
    }


class Instance:
    """An empty log with one app, and its read models."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._app = UUID(provision(Settings(database_url=url)).app_id)
        self.engine: Engine = open_engine(url)
        self._models = ReadModels(self.engine)
        self._models.prepare()
        self._log = open_log(url)
        self.project()

    def close(self) -> None:
        self._log.close()
        self.engine.dispose()

    def send(self, messages: Sequence[dict[str, Any]]) -> None:
        call = CALLS["/v1/batch"]
        with psycopg.connect(self.url, autocommit=True) as connection:
            binary.register(connection)
            for first in range(0, len(messages), COMMIT):
                batch = list(messages[first : first + COMMIT])
                taken = admit(
                    call,
                    call.parse(json.dumps({"batch": batch}).encode()),
                    received_at=datetime.now(UTC),
                    client=CLIENT,
                    new_id=lambda: "never used",
                )
                connection.execute(
                    "SELECT log.append_events(%b, %b, %b, %b)",
                    columns_of(to_new_events(self._app, taken)),
                )

    def cut(self, user_id: str, other: str) -> None:
        now = datetime.now(UTC)
        event = Unmerged(
            user_id=user_id,
            pairs=((user_id, other),),
            timestamp=now,
            received_at=now,
            done_by="benchmark",
        )
        body = codec.encode(event)
        given = (UUID(int=random.getrandbits(128)).bytes, self._app.bytes, b"unmerged.v1", body)
        kinds = (binary.uuids, binary.uuids, binary.texts, binary.byteas)
        with psycopg.connect(self.url, autocommit=True) as connection:
            binary.register(connection)
            connection.execute(
                "SELECT log.append_events(%b, %b, %b, %b)",
                [kind([one]) for kind, one in zip(kinds, given, strict=True)],
            )

    def project(self) -> list[float]:
        """Seconds of each page, reading the log left out."""
        spent = []
        position = self._models.position()
        while page := read_page(self._log, position, PAGE):
            started = time.perf_counter()
            self._models.apply([decode(entry) for entry in page])
            spent.append(time.perf_counter() - started)
            position = page[-1].position
        return spent

    def head(self) -> int:
        return read_head(self._log)


@contextmanager
def instance() -> Iterator[Instance]:
    with own_database() as url:
        made = Instance(url)
        yield made
        made.close()


def of_pages(messages: int) -> dict[str, Any]:
    with instance() as made:
        sender = People(1)
        made.send([sender.identify() for _ in range(messages)])
        spent = made.project()
        rows, copied = _raw_copy(made.url, len(spent))
    rate, limit = messages / sum(spent), messages / copied
    return {
        "identify_messages": messages,
        "projected_per_second": round(rate),
        "median_page_seconds": round(statistics.median(spent), 3),
        "rows_of_a_message": round(rows / messages, 2),
        "raw_copy_messages_per_second": round(limit),
        "ratio_to_raw_copy": round(rate / limit, 2),
    }


def _raw_copy(url: str, pages: int) -> tuple[int, float]:
    """Rows, and seconds: median of three."""
    with psycopg.connect(url, autocommit=True) as connection:
        parts = {table: _parts(connection, table, pages) for table in TABLES}
        taken = statistics.median(_copied(connection, parts, pages) for _ in range(3))
    rows = sum(len(part) for of_table in parts.values() for part in of_table)
    return rows, taken


def _parts(connection: psycopg.Connection[Any], table: str, pages: int) -> list[list[bytes]]:
    """The table's rows as COPY has them, in as many parts as there were pages."""
    with connection.cursor() as cursor, cursor.copy(f"COPY people.{table} TO STDOUT") as copy:
        lines = b"".join(copy).splitlines(keepends=True)
    size = -(-len(lines) // pages) or 1
    return [lines[size * n : size * (n + 1)] for n in range(pages)]


def _copied(
    connection: psycopg.Connection[Any], parts: dict[str, list[list[bytes]]], pages: int
) -> float:
    for table in parts:
        connection.execute(f"DROP TABLE IF EXISTS raw_{table}")
        connection.execute(f"CREATE TABLE raw_{table} (LIKE people.{table} INCLUDING ALL)")
    started = time.perf_counter()
    for page in range(pages):
        with connection.transaction(), connection.cursor() as cursor:
            for table, of_table in parts.items():
                with cursor.copy(f"COPY raw_{table} FROM STDIN") as copy:
                    copy.write(b"".join(of_table[page]))
    return time.perf_counter() - started


def of_aliases(aliases: int) -> dict[str, Any]:
    """One person with that many aliases."""
    with instance() as made:
        made.send([alias("ada", f"device-{n}", n) for n in range(aliases)])
        every = sum(made.project())
        made.send([alias("ada", "one-more", aliases)])
        one_more = sum(made.project())
        read = _median_ms(made.engine, "device-5")
        made.cut("ada", "device-7")
        cut = sum(made.project())
        with made.engine.connect() as connection:
            apart = people.find_profile(connection, 1, "device-7")
    assert apart is not None
    return {
        "aliases": aliases,
        "aliases_seconds": round(every, 2),
        "one_more_alias_ms": round(one_more * 1000, 1),
        "profile_ms": round(read, 2),
        "unmerge_of_one_ms": round(cut * 1000, 1),
    }


def _median_ms(engine: Engine, user_id: str) -> float:
    taken = []
    for _ in range(30):
        started = time.perf_counter()
        with engine.connect() as connection:
            assert people.find_profile(connection, 1, user_id) is not None
        taken.append((time.perf_counter() - started) * 1000)
    return statistics.median(taken)


def of_chain(length: int) -> dict[str, Any]:
    with instance() as made:
        made.send([alias(f"link-{n}", f"link-{n + 1}", n) for n in range(length)])
        forwards = sum(made.project())
        made.send([alias(f"back-{n}", f"back-{n + 1}", length - n) for n in range(length)])
        backwards = sum(made.project())
    return {
        "chain": length,
        "chain_seconds": round(forwards, 2),
        "chain_told_backwards_seconds": round(backwards, 2),
    }


@click.command(help=__doc__)
@click.option("--messages", default=100_000, show_default=True)
@click.option("--aliases", default=10_000, show_default=True)
@click.option("--chain", default=1_000, show_default=True)
@click.option("--json", "as_json", is_flag=True)
def main(messages: int, aliases: int, chain: int, as_json: bool) -> None:  # noqa: FBT001  click's flag
    garbage.seldom()  # as the projector does
    found: dict[str, Any] = {"python_loop_seconds": [loop_seconds()]}
    found |= of_pages(messages) if messages else {}
    found |= of_aliases(aliases) if aliases else {}
    found |= of_chain(chain) if chain else {}
    found["python_loop_seconds"].append(loop_seconds())
    if as_json:
        click.echo(json.dumps(found))
        return
    for name, value in found.items():
        click.echo(f"{name.replace('_', ' '):<34} {value}")


if __name__ == "__main__":
    main()
