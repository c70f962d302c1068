"""Rows into the events table exactly once, and rebuilding that table beside the live one.

Nothing ties an insert and its checkpoint together, and nothing needs to: every row carries its log
position. The checkpoint is written after the rows; after a crash, or an insert whose outcome is
not known, the table itself says which later positions it has, and only the others are sent.
ClickHouse's own deduplication lost and doubled blocks in kill tests and is left off.

One writer per table at a time; the caller sees to that. A predecessor that was killed may have an
insert on its way: `recover` waits until none is running.
"""

import time
from collections.abc import Sequence
from uuid import UUID, uuid4

from domain.errors import Overloaded
from infrastructure.analytics_engine import LIGHT, AnalyticsEngine
from projections.events import COLUMNS, DIGEST, SHADOW, TABLE, create_table

CHECKPOINTS = "event_checkpoints"
_DRAIN_SECONDS = 60.0

_CREATE_CHECKPOINTS = f"""
CREATE TABLE IF NOT EXISTS {CHECKPOINTS} (generation String, log_id UUID, position UInt64)
ENGINE = ReplacingMergeTree(position) ORDER BY (generation, log_id)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1"""
_GENERATION = """
SELECT comment FROM system.tables WHERE database = currentDatabase() AND name = {table:String}"""
_CHECKPOINT = f"""
SELECT max(position) FROM {CHECKPOINTS}
WHERE generation = {{generation:String}} AND log_id = {{log_id:UUID}}"""
_RUNNING = """
SELECT count() FROM system.processes
WHERE query_kind = 'Insert' AND position(query, {target:String}) > 0"""


class EventWriter:
    """Not thread-safe: one thread writes.

    Use: `position = recover(log_id)`; then for each page of the log after it, leave out the rows
    whose position is in `present(page_first - 1, page_last)` and `insert` the rest. When `insert`
    raises Overloaded, ask `present` about the same page again and repeat.
    """

    def __init__(
        self, engine: AnalyticsEngine, table: str = TABLE, *, checkpoint_every: int = 1
    ) -> None:
        """`checkpoint_every`: inserts per checkpoint. More saves a small insert each time, and
        makes the next start ask for more positions.
        """
        self._engine = engine
        self._table = table
        self._every = checkpoint_every
        self._since = 0
        self._position = 0
        self._generation = ""
        self._log_id = UUID(int=0)
        self._head: int | None = None  # the last position in the table; None: must be looked up

    @property
    def position(self) -> int:
        """Everything up to here is in the table."""
        return self._position

    @property
    def generation(self) -> str:
        """Names this filling of the table: another after a rebuild. Known after `recover`."""
        return self._generation

    def recover(self, log_id: UUID) -> int:
        """The position to go on after. Makes the tables if they are missing, and starts again from
        an empty table if this one was filled from another log.
        """
        self._log_id = log_id
        self._engine.command(_CREATE_CHECKPOINTS)
        self._engine.command(create_table(self._table, generation=_new_generation(log_id)))
        self._generation = self._read_generation()
        if _log_of(self._generation) != log_id:
            self._start_again()
        self._drain()
        self._head = None
        self._position = self._checkpoint()
        self._since = 0
        return self._position

    def present(self, after: int, upto: int) -> frozenset[int]:
        """Which positions in (after, upto] the table has already. Costs nothing on the way: only
        after `recover`, or an insert that failed, are there any to look for.
        """
        if after >= self.head(after):
            return frozenset()
        answer = self._engine.query(
            f"SELECT position FROM {self._table}"
            " WHERE position > {after:UInt64} AND position <= {upto:UInt64}",
            {"after": after, "upto": upto},
            LIGHT,
        )
        return frozenset(row[0] for row in answer.rows)

    def head(self, after: int) -> int:
        """The last position after `after` that the table has already, else `after`: up to there
        `present` has to be asked.
        """
        if self._head is None:
            self._drain()
            self._head = self._last_position(after)
        return max(after, self._head)

    def insert(self, data: bytes | Sequence[bytes], last_position: int) -> None:
        """Rows in Native format with the columns of projections.events, in one or more blocks (b"",
        []: none), after which everything up to `last_position` is in the table.
        """
        head, self._head = self._head, None
        if data:
            self._engine.insert_rows(self._table, COLUMNS, data)
        # As if the last one were in the table: who repeats this page, because the checkpoint below
        # failed, must look. Never less than before: more pages may be there already.
        self._head = None if head is None else max(head, last_position)
        self._position = last_position
        self._since += 1
        if self._since >= self._every:
            self.checkpoint()

    def checkpoint(self) -> None:
        """Also called before a planned stop, when not every insert writes one."""
        if self._since == 0:
            return
        row = f"{self._generation}\t{self._log_id}\t{self._position}\n".encode()
        columns = ("generation", "log_id", "position")
        self._engine.insert_rows(CHECKPOINTS, columns, row, format_name="TSV")
        self._since = 0

    def _last_position(self, after: int) -> int:
        # Bounded, so that the index on positions leaves only the newest parts to be read.
        answer = self._engine.query(
            f"SELECT max(position) FROM {self._table} WHERE position > {{after:UInt64}}",
            {"after": after},
            LIGHT,
        )
        return max(after, int(answer.rows[0][0]))

    def _checkpoint(self) -> int:
        known = {"generation": self._generation, "log_id": str(self._log_id)}
        return int(self._engine.query(_CHECKPOINT, known, LIGHT).rows[0][0])

    def _read_generation(self) -> str:
        return str(self._engine.query(_GENERATION, {"table": self._table}, LIGHT).rows[0][0])

    def _start_again(self) -> None:
        drop_table(self._engine, self._table)
        self._engine.command(create_table(self._table, generation=_new_generation(self._log_id)))
        self._generation = self._read_generation()

    def _drain(self) -> None:
        deadline = time.monotonic() + _DRAIN_SECONDS
        target = f"INSERT INTO {self._table} "
        while int(self._engine.query(_RUNNING, {"target": target}, LIGHT).rows[0][0]):
            if time.monotonic() > deadline:
                raise Overloaded(f"an insert into {self._table} is still running")
            time.sleep(0.02)


def _new_generation(log_id: UUID) -> str:
    return f"{log_id} {uuid4()}"


def _log_of(generation: str) -> UUID | None:
    try:
        return UUID(generation.partition(" ")[0])
    except ValueError:
        return None


def exchange(engine: AnalyticsEngine, table: str = TABLE, shadow: str = SHADOW) -> None:
    """Atomic; each table's checkpoint goes with its rows. Writers of both must `recover`."""
    engine.command(f"EXCHANGE TABLES {table} AND {shadow}")


def drop_table(engine: AnalyticsEngine, table: str) -> None:
    engine.command(f"DROP TABLE IF EXISTS {table} SYNC")


def digest(engine: AnalyticsEngine, upto: int, table: str = TABLE) -> dict[int, tuple[int, str]]:
    """App number -> (rows, hash) over the rows up to position `upto`: equal for equal rows in any
    order. Reads the whole table.
    """
    answer = engine.query(DIGEST.format(table=table), {"upto": upto}, {"max_execution_time": 0})
    return {app: (rows, value) for app, rows, value in answer.rows}
