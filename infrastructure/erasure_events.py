"""The ClickHouse read model after the log was rewritten: rows made anew from it, in their places.

An UPDATE by mutation, part by part: no moment at which rows are missing or doubled, and the columns
that rollups are made of stay as they are. The new values come from a table made of the log.
"""

import time
from collections.abc import Iterator, Sequence
from typing import Any

import psycopg
from sqlalchemy import Engine

from domain.errors import Overloaded
from infrastructure.analytics_engine import LIGHT, AnalyticsEngine
from infrastructure.enrichment import Enrichment
from infrastructure.event_rows import Rows
from infrastructure.event_store.reader import Entry, read_at
from infrastructure.read_models import decode
from infrastructure.trait_writer import write_traits
from projections import people, person_traits
from projections.events import COLUMNS, TABLE

_STAGED, _STAGED_TRAITS = "erasure_rows", "erasure_traits"
_ROWS = 5_000  # in one insert
_MUTATION = 100_000  # rows in one mutation: the staging table is held in memory
_PERSONS = 1_000  # in one mutation of their traits
_PATIENCE = 3600.0
# What the rollups are made of, and what neither sender nor message can say.
_STAYS = frozenset(
    ("app_number", "event", "pid0", "ts", "position", "event_id", "received_at", "recorded_at")
)
_CHANGED = [column for column in COLUMNS if column not in _STAYS]

_TYPES = {"app_number": "UInt32", "pid0": "UInt64", "position": "UInt64", "event_id": "UUID"} | (
    dict.fromkeys(("ts", "received_at", "recorded_at"), "DateTime64(6, 'UTC')")
)
_CREATE = f"""
CREATE TABLE {_STAGED} ({", ".join(f"{name} {_TYPES.get(name, 'String')}" for name in COLUMNS)})
ENGINE = Join(ANY, LEFT, position)"""
_UPDATE = f"""
ALTER TABLE {TABLE} UPDATE
    {", ".join(f"{n} = joinGet('{{database}}.{_STAGED}', '{n}', position)" for n in _CHANGED)}
WHERE app_number = {{app_number}} AND position IN (SELECT position FROM {_STAGED})"""
_MUTATIONS = f"""
SELECT mutation_id, latest_fail_reason != '' FROM system.mutations
WHERE database = currentDatabase() AND table = '{TABLE}' AND NOT is_done
    AND position(command, '{_STAGED}') > 0"""
_KILL = """
KILL MUTATION WHERE database = currentDatabase() AND table = '{table}'
    AND position(command, '{staged}') > 0 SYNC"""
_KILL_ROWS = _KILL.format(table=TABLE, staged=_STAGED)
_KILL_TRAITS = _KILL.format(table=person_traits.TABLE, staged=_STAGED_TRAITS)
_CREATE_TRAITS = f"""
CREATE TABLE {_STAGED_TRAITS}
    (app_number UInt32, person UInt64, position UInt64, traits String)
ENGINE = Join(ANY, LEFT, person, position)"""
_DELETE = f"""
ALTER TABLE {person_traits.TABLE} DELETE WHERE app_number = {{app_number}}
    AND position <= {{upto}} AND person IN ({{persons}})
    AND traits != joinGet('{{database}}.{_STAGED_TRAITS}', 'traits', person, position)"""
_OLD_PARTS = f"""
SELECT count() FROM system.parts
WHERE database = currentDatabase() AND table IN ('{TABLE}', '{person_traits.TABLE}')
    AND NOT active
    AND remove_time <= toDateTime({{before:UInt32}})"""


class ErasureEvents:
    """`log` is a connection of its own. One at a time; nobody rebuilds the table meanwhile."""

    def __init__(
        self,
        engine: Engine,
        log: psycopg.Connection[Any],
        analytics: AnalyticsEngine,
        enrichment: Enrichment,
    ) -> None:
        self._engine = engine
        self._log = log
        self._analytics = analytics
        self._rows = Rows(engine, enrichment)

    def rewrite(self, app_number: int, positions: Sequence[int]) -> None:
        """Of tracked events, which the table has all. Doing it twice is doing it once."""
        self._analytics.command(_KILL_ROWS)
        for first in range(0, len(positions), _MUTATION):
            self._stage(positions[first : first + _MUTATION])
            self._update(app_number)
        self._analytics.command(f"DROP TABLE IF EXISTS {_STAGED} SYNC")

    def rewrite_traits(self, app_number: int, positions: Sequence[int], upto: int) -> None:
        """Of the persons who said something at these positions, before and after any merge. What
        is beyond `upto` was written after the log was rewritten. Doing it twice is doing it once.
        Rows that differ go when the new ones are there: nobody is without traits meanwhile.
        """
        self._analytics.command(_KILL_TRAITS)
        with self._engine.connect() as connection:
            persons = sorted(people.persons_spoken_of(connection, app_number, positions))
            for first in range(0, len(persons), _PERSONS):
                part = persons[first : first + _PERSONS]
                rows = [*people.trait_rows_of(connection, app_number, part, upto)]
                self._stage_traits(rows)
                write_traits(self._analytics, rows)
                self._delete_others(app_number, part, upto)
        self._analytics.command(f"DROP TABLE IF EXISTS {_STAGED_TRAITS} SYNC")

    def _stage_traits(self, rows: Sequence[people.TraitRow]) -> None:
        self._analytics.command(f"DROP TABLE IF EXISTS {_STAGED_TRAITS} SYNC")
        self._analytics.command(_CREATE_TRAITS)
        write_traits(self._analytics, rows, table=_STAGED_TRAITS)

    def _delete_others(self, app_number: int, persons: Sequence[int], upto: int) -> None:
        delete = _DELETE.format(
            app_number=app_number,
            upto=upto,
            persons=", ".join(map(str, persons)),
            database=self._database(),
        )
        self._analytics.command(delete, settings={"mutations_sync": 1})

    def _database(self) -> str:
        return str(self._analytics.query("SELECT currentDatabase()", settings=LIGHT).rows[0][0])

    def _stage(self, positions: Sequence[int]) -> None:
        self._analytics.command(f"DROP TABLE IF EXISTS {_STAGED} SYNC")
        self._analytics.command(_CREATE)
        for page in self._pages(positions):
            block = self._rows.of([decode(entry) for entry in page], parked_as=TABLE)
            if block.rows:
                self._analytics.insert_rows(_STAGED, COLUMNS, block.data)

    def _pages(self, positions: Sequence[int]) -> Iterator[list[Entry]]:
        for first in range(0, len(positions), _ROWS):
            yield read_at(self._log, positions[first : first + _ROWS])

    def _update(self, app_number: int) -> None:
        update = _UPDATE.format(database=self._database(), app_number=app_number)
        self._analytics.command(update, settings={"mutations_sync": 0})
        deadline = time.monotonic() + _PATIENCE
        while unfinished := self._analytics.query(_MUTATIONS, settings=LIGHT).rows:
            if any(failed for _, failed in unfinished) or time.monotonic() > deadline:
                self._analytics.command(_KILL_ROWS)
                raise Overloaded("the analytics engine could not rewrite its rows")
            time.sleep(0.05)

    def old_parts(self, before: float) -> int:
        """How many parts that were replaced before that time (seconds since 1970) are still on the
        disk: the engine removes them some minutes later (`old_parts_lifetime`).
        """
        answer = self._analytics.query(_OLD_PARTS, {"before": int(before) + 1}, LIGHT)
        return int(answer.rows[0][0])
