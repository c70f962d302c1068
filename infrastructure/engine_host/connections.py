"""chDB's connections: a pool of them, checked out one caller at a time, and who may run when.

chDB holds one engine directory in one process; its connections run truly in parallel. A second
statement on a busy connection answers with silence, so none is ever shared.
"""

import re
import threading
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import structlog
from chdb import _chdb

from infrastructure.engine_host.cancelling import Read, Reads, killed
from infrastructure.engine_host.requests import EngineError, Statement

MEBIBYTE = 1024 * 1024
TOO_MANY_QUERIES = 202  # ErrorCodes.cpp: TOO_MANY_SIMULTANEOUS_QUERIES
CANCELLED = 394  # QUERY_WAS_CANCELLED
UNKNOWN_ERROR = 1002


log = structlog.get_logger(__name__)


class Limits(NamedTuple):
    """Seconds and MiB are per query; `heavy` is how many big reads may run at once."""

    heavy: int
    query_seconds: float
    query_memory_mib: int
    connections: int = 32

    def settings(self, statement: Statement) -> dict[str, str]:
        """The limits, unless the statement says otherwise."""
        limits = {"max_memory_usage": str(self.query_memory_mib * MEBIBYTE)}
        if statement.reads:
            limits["max_execution_time"] = str(self.query_seconds)
        return limits | dict(statement.settings)


class Outcome(NamedTuple):
    body: bytes
    read_rows: int
    read_bytes: int
    written_rows: int
    written_bytes: int
    seconds: float


_NOTHING = Outcome(b"", 0, 0, 0, 0, 0.0)


class _Connection:
    """One chDB handle and the session state left on it by the last statement."""

    def __init__(self, address: str) -> None:
        self.handle: Any = _chdb.connect(address)  # type: ignore[attr-defined]  # compiled
        self.database = ""
        self.settings: dict[str, str] = {}

    def prepare(self, database: str, settings: Mapping[str, str]) -> None:
        changed = [
            f"{name} = {quoted(value)}"
            for name, value in settings.items()
            if self.settings.get(name) != value
        ]
        changed += [f"{name} = DEFAULT" for name in self.settings if name not in settings]
        if changed:
            self.handle.query("SET " + ", ".join(changed), "Null")
            self.settings = dict(settings)
        if database != self.database:
            self.handle.query(f"USE `{database}`", "Null")
            self.database = database

    def run(self, statement: Statement) -> Outcome:
        if statement.data_format:
            return self._insert(statement)
        result = self.handle.query(
            statement.sql, statement.default_format, params=dict(statement.parameters)
        )
        return _outcome(result, result.bytes())

    def _insert(self, statement: Statement) -> Outcome:
        stream = self.handle.send_insert(statement.sql.decode(), statement.data_format)
        self.handle.insert_append(stream, statement.data)
        return _outcome(self.handle.insert_done(stream), b"")


def _outcome(result: Any, body: bytes) -> Outcome:
    return Outcome(
        body,
        result.storage_rows_read(),
        result.storage_bytes_read(),
        result.rows_written(),
        result.bytes_written(),
        result.elapsed(),
    )


def quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


class Connections:
    """Runs statements, each on a connection of its own. Thread-safe.

    Raises EngineError with the engine's own code. Big reads wait for one of `limits.heavy` places;
    inserts, commands and statements with `priority = 1` never do.
    """

    def __init__(self, address: str, limits: Limits) -> None:
        self._address = address
        self._limits = limits
        self._places = threading.Condition()
        self._taken = 0
        self._free = threading.Condition()
        self._idle = [_Connection(address)]  # never without one: the last to close stops the engine
        self._open = 1
        self._lock = threading.Lock()
        self._ending: _Connection | None = _Connection(address)  # however many others are busy
        self._reads = Reads(self._end)

    def run(
        self, statement: Statement, is_abandoned: Callable[[], bool] = lambda: False
    ) -> Outcome:
        """`is_abandoned`: whether nobody waits for the answer; a read is then ended."""
        query_id = killed(statement.sql)
        if query_id is not None:
            self._reads.kill(query_id)
            return _NOTHING
        if not statement.reads:
            return self._run(statement)
        with self._reads.listed(statement.query_id, is_abandoned) as read:
            marked = statement._replace(sql=read.marked(statement.sql))
            if not statement.heavy:
                return self._run(marked)
            self._take_place(read)
            try:
                return self._run(marked)
            finally:
                self._leave_place()

    def _take_place(self, read: Read) -> None:
        with self._places:
            is_told = self._places.wait_for(
                lambda: read.is_ended or self._taken < self._limits.heavy,
                timeout=self._limits.query_seconds,
            )
            if read.is_ended:
                raise EngineError(CANCELLED, "Code: 394. DB::Exception: Query was cancelled.")
            if not is_told:
                places = self._limits.heavy
                message = f"Too many simultaneous queries: {places} heavy ones are running"
                raise EngineError(TOO_MANY_QUERIES, message)
            self._taken += 1

    def _leave_place(self) -> None:
        with self._places:
            self._taken -= 1
            self._places.notify_all()

    def _end(self, read: Read) -> None:
        """In the one thread that watches the reads."""
        with self._places:
            self._places.notify_all()
        with self._lock:
            if self._ending is None:
                return
            try:
                self._ending.handle.query(read.kill, "Null")
            except RuntimeError as error:
                log.warning("could not end a query", code=engine_error(str(error)).code)
                self._ending = self._replaced(self._ending)

    def close(self, seconds: float) -> None:
        """Waits for what is running, at most so long."""
        with self._free:
            self._free.wait_for(lambda: len(self._idle) == self._open, timeout=seconds)
            with self._lock:
                if self._ending is not None:
                    self._ending.handle.close()
                self._ending = None
            while self._idle:
                self._idle.pop().handle.close()
                self._open -= 1

    def _run(self, statement: Statement) -> Outcome:
        settings = self._limits.settings(statement)
        connection = self._take(statement.database, settings)
        known_state = False
        try:
            connection.prepare(statement.database, settings)
            # After a statement that fails chDB keeps what it had written of its answer, and puts it
            # in front of the next one's: somebody else's rows, on the same connection.
            outcome = connection.run(statement)
            known_state = not statement.changes_session
        except RuntimeError as error:
            raise engine_error(str(error)) from None
        finally:
            self._give_back(connection if known_state else self._replaced(connection))
        return outcome

    def _take(self, database: str, settings: Mapping[str, str]) -> _Connection:
        """Preferably one left in the state that is wanted: SET costs half a millisecond."""
        with self._free:
            while not self._idle and self._open >= self._limits.connections:
                self._free.wait()
            for place in range(len(self._idle) - 1, -1, -1):
                left = self._idle[place]
                if left.database == database and left.settings == settings:
                    return self._idle.pop(place)
            if self._idle and self._open >= self._limits.connections:
                return self._idle.pop(0)
            self._open += 1
        try:
            return _Connection(self._address)
        except BaseException:
            with self._free:
                self._open -= 1
            raise

    def _replaced(self, connection: _Connection) -> _Connection:
        fresh = _Connection(self._address)
        connection.handle.close()
        return fresh

    def _give_back(self, connection: _Connection) -> None:
        with self._free:
            self._idle.append(connection)
            self._free.notify_all()


_CODE = re.compile(r"Code: (\d+)\.")


def engine_error(message: str) -> EngineError:
    start = max(message.find("Code: "), 0)
    code = _CODE.match(message, start)
    return EngineError(int(code[1]) if code else UNKNOWN_ERROR, message[start:])
