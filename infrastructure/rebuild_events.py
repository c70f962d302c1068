"""Rebuilding the ClickHouse read model of events, with the same interface as rebuild.Rebuild.

The shadow table has checkpoints of its own, so a rebuild that was killed goes on where it was. The
checkpoint in Postgres says which table that is, made by which code and rules: after a crash in a
swap the shadow's name is the old table's, which must not come back.
"""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any
from uuid import UUID

import msgspec
import psycopg
from sqlalchemy import Connection, Engine

from infrastructure import checkpoints
from infrastructure.analytics_engine import AnalyticsEngine
from infrastructure.checkpoints import Checkpoint
from infrastructure.companions import differing as differing_companions
from infrastructure.companions import refill
from infrastructure.enrichment import Enrichment
from infrastructure.event_projector import NAME, VERSION
from infrastructure.event_store.reader import read_log_id
from infrastructure.event_writer import EventWriter, digest, drop_table, exchange
from infrastructure.rebuild import Progress, Rebuilt, adopt_parked, alone, forget_parked
from infrastructure.rebuild_rows import PAGE, Made, Maker, makers
from infrastructure.settings import Settings
from projections.events import SHADOW, TABLE

_INSERT_ROWS = 100_000  # large parts need fewer merges
_INSERT_BYTES = 64 * 2**20
_MANY = 1_000_000  # positions that are worth the start of more processes
_CLOSE = 20_000  # this far behind, the rest is written with the live one held


class RebuildEvents:
    def __init__(
        self,
        engine: Engine,
        log: psycopg.Connection[Any],
        analytics: AnalyticsEngine,
        settings: Settings,
    ) -> None:
        enrichment = Enrichment(settings.country_database)
        self._settings = settings
        self._engine = engine
        self._log = log
        self._analytics = analytics
        self._rules = enrichment.fingerprint
        self._maker = Maker(engine, log, enrichment)
        self._writer = EventWriter(analytics, SHADOW)
        self._log_id: UUID = read_log_id(log)

    def swap(self, progress: Progress) -> Rebuilt:
        with alone(self._log, NAME):
            return self._swap(progress)

    def verify(self, progress: Progress) -> Rebuilt:
        """Rows never change once written, so both tables are compared up to the live one's
        position while it goes on.
        """
        with alone(self._log, NAME):
            return self._verify(progress)

    def _swap(self, progress: Progress) -> Rebuilt:
        self._build(progress)
        with self._engine.begin() as connection:
            live = checkpoints.lock(connection, [NAME])[NAME]
            self._fill(live.position)
            self._writer.checkpoint()
            exchange(self._analytics)
            refill(self._analytics, self._engine, self._log_id, live.position)
            adopt_parked(connection, live=NAME, shadow=SHADOW)
            self._announce(connection, live)
            checkpoints.remove(connection, SHADOW)
        drop_table(self._analytics, SHADOW)
        return Rebuilt(name=NAME, position=live.position)

    def _verify(self, progress: Progress) -> Rebuilt:
        self._build(progress)
        position = self._live_position()
        self._fill(position)
        live = digest(self._analytics, position)
        built = digest(self._analytics, position, SHADOW)
        differing = tuple(
            f"{TABLE}, app {app}"
            for app in sorted(live.keys() | built.keys())
            if live.get(app) != built.get(app)
        )
        differing += differing_companions(self._analytics, self._engine, self._log_id, position)
        forget_shadow(self._engine, self._analytics)
        return Rebuilt(name=NAME, position=position, equal=not differing, differing=differing)

    def _build(self, progress: Progress) -> None:
        self._begin()
        self._maker.prepare()
        while True:
            target = self._live_position()
            progress(self._writer.position, target)
            if self._writer.position + _CLOSE >= target:
                return
            self._fill(target, progress)

    def _begin(self) -> None:
        """Goes on with the shadow that a killed rebuild left, or drops what is not one."""
        self._writer.recover(self._log_id)
        with self._engine.begin() as connection:
            begun = checkpoints.read(connection, SHADOW)
            if begun is None or not self._goes_on_from(begun):
                drop_table(self._analytics, SHADOW)
                self._writer.recover(self._log_id)
                forget_parked(connection, SHADOW)
            checkpoints.write(connection, self._checkpoint())

    def _goes_on_from(self, begun: Checkpoint) -> bool:
        same = (self._writer.generation, VERSION, self._rules)
        return (begun.filling, begun.version, begun.rules) == same

    def _checkpoint(self) -> Checkpoint:
        return Checkpoint(
            name=SHADOW,
            version=VERSION,
            position=self._writer.position,
            filling=self._writer.generation,
            rules=self._rules,
        )

    def _fill(self, target: int, progress: Progress = lambda _done, _of: None) -> None:
        self._mend(min(target, self._writer.head(self._writer.position)))
        if target - self._writer.position < _MANY:
            self._insert(self._maker.made(self._writer.position, target), target, progress)
            return
        with makers(self._settings) as several:
            self._insert(several.made(self._writer.position, target), target, progress)

    def _mend(self, upto: int) -> None:
        """What a killed rebuild wrote after its checkpoint need not be whole."""
        while (after := self._writer.position) < upto:
            last = min(upto, after + PAGE)
            present = self._writer.present(after, last)
            self._writer.insert(self._maker.make_missing(after, last, present).blocks, last)

    def _insert(self, pages: Iterator[Made], target: int, progress: Progress) -> None:
        """One insert is written while the next one is made."""
        with ThreadPoolExecutor(1, thread_name_prefix="rebuild") as writing:
            written: Future[None] | None = None
            for blocks, last in _inserts(pages, target):
                if written is not None:
                    written.result()
                    progress(self._writer.position, target)
                written = writing.submit(self._writer.insert, blocks, last)
            if written is not None:
                written.result()

    def _live_position(self) -> int:
        with self._engine.connect() as connection:
            live = checkpoints.read(connection, NAME)
        return live.position if live else 0

    def _announce(self, connection: Connection, live: Checkpoint) -> None:
        """Another filling: the projector sees it before its next insert and starts from it."""
        moved = msgspec.structs.replace(
            live,
            version=VERSION,
            filling=self._writer.generation,
            rules=self._rules,
        )
        checkpoints.write(connection, moved)


def forget_shadow(engine: Engine, analytics: AnalyticsEngine) -> None:
    """Also what a killed rebuild has left."""
    drop_table(analytics, SHADOW)
    with engine.begin() as connection:
        forget_parked(connection, SHADOW)
        checkpoints.remove(connection, SHADOW)


def _inserts(pages: Iterator[Made], target: int) -> Iterator[tuple[list[bytes], int]]:
    """Blocks, and the position up to which they are the log's."""
    blocks: list[bytes] = []
    rows = size = 0
    for page in pages:
        blocks += page.blocks
        rows += page.rows
        size += sum(map(len, page.blocks))
        if rows >= _INSERT_ROWS or size >= _INSERT_BYTES or page.upto == target:
            yield blocks, page.upto
            blocks, rows, size = [], 0, 0
