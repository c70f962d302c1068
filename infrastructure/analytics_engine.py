"""The client of the analytics engine: ClickHouse's HTTP interface, whoever serves it.

The embedded engine host and a ClickHouse server or cluster are only different URLs.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar
from urllib.parse import unquote, urlsplit

import clickhouse_connect
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError, DatabaseError
from clickhouse_connect.driver.httputil import get_pool_manager
from urllib3.exceptions import HTTPError

from domain.errors import Overloaded, TooHeavy
from projections import person_map

_T = TypeVar("_T")

# ErrorCodes.cpp of ClickHouse.
_TIMEOUT = 159
_NO_DICTIONARY = 36
# Too many rows, too large a set, memory limit, too many bytes or results.
_TOO_BIG = frozenset({158, 191, 241, 307, 396})
_TOO_BUSY = frozenset({202, 203, 209, 210, 252, 394, 439})
# What these warn of is raised too, and their words hold addresses of requests.
for _name in ("clickhouse_connect", "urllib3.connectionpool"):
    logging.getLogger(_name).setLevel(logging.ERROR)

LIGHT: Mapping[str, object] = {"priority": 1}  # settings of a small read: it waits for no place

_LONGEST_STATEMENT = 2**27  # bytes: the members of a list may stand in it, 8 bytes each
# Inserts answer when the rows are in the table, and are never taken for repetitions: exactly-once
# is the work of positions (infrastructure/event_writer.py).
_INSERT = {"async_insert": 0, "insert_deduplicate": 0, "max_partitions_per_insert_block": 0}


class EngineFailed(Exception):
    """The engine refused a statement of ours. `code` is one of ClickHouse's ErrorCodes."""

    def __init__(self, code: int | None, message: str) -> None:
        super().__init__(message)
        self.code = code


class Read(NamedTuple):
    """What the engine read from its tables to answer, and how long it took."""

    rows: int
    bytes: int
    engine_ms: float


class Answer(NamedTuple):
    columns: tuple[str, ...]
    rows: Sequence[Sequence[Any]]
    read: Read


class AnalyticsEngine:
    """Thread-safe. Connects at the first use, so that it can be made before the engine runs.

    All methods raise Overloaded (busy or out of reach: try again), TooHeavy (the query is too
    big or too slow for the limits in force) and EngineFailed (a statement that is wrong).
    """

    def __init__(self, url: str, *, connections: int = 16, timeout_seconds: float = 300) -> None:
        at = urlsplit(url)
        self._pool = get_pool_manager(maxsize=connections, num_pools=1)
        self._options: dict[str, Any] = {
            "interface": at.scheme or "http",
            "host": at.hostname or "127.0.0.1",
            "port": at.port or 8123,
            "username": unquote(at.username or "default"),
            "password": unquote(at.password or ""),
            "database": at.path.strip("/") or "default",
            "pool_mgr": self._pool,
            "compress": False,
            "tz_mode": "aware",
            "connect_timeout": 5,
            "send_receive_timeout": timeout_seconds,
            "autogenerate_session_id": False,  # a session would allow one query at a time
            "form_encode_query_params": True,  # long lists do not fit into a URL
            "settings": {"max_query_size": _LONGEST_STATEMENT},
        }
        self._database = str(self._options["database"])
        self._client: Client | None = None

    def query(
        self,
        sql: str,
        parameters: Mapping[str, object] | None = None,
        settings: Mapping[str, object] | None = None,
    ) -> Answer:
        """`{name:Type}` in `sql` stands for `parameters["name"]`. With `query_id` among `settings`
        it can be killed.
        """

        def ask() -> Answer:
            result = self._connected().query(
                sql, parameters=dict(parameters or {}), settings=dict(settings or {})
            )
            rows = result.result_rows
            return Answer(tuple(result.column_names), rows, _read(result.summary))

        return self._asked(ask)

    def raw(
        self,
        sql: str,
        parameters: Mapping[str, object],
        settings: Mapping[str, object],
        *,
        format_name: str,
    ) -> bytes:
        """The answer as the engine writes it in one of its formats, whole."""
        whole = {**settings, "wait_end_of_query": 1}  # else an error may stand behind half of it
        return self._asked(
            lambda: self._connected().raw_query(
                sql, parameters=dict(parameters), settings=whole, fmt=format_name
            )
        )

    def command(
        self,
        sql: str,
        parameters: Mapping[str, object] | None = None,
        settings: Mapping[str, object] | None = None,
    ) -> None:
        """A statement whose answer does not matter: DDL, INSERT ... SELECT, KILL."""
        self._asked(
            lambda: self._connected().command(
                sql, parameters=dict(parameters or {}), settings=dict(settings or {})
            )
        )

    def kill(self, query_id: str) -> None:
        """Ends the query if it runs; who sent it gets Overloaded. `query_id`: letters and digits.
        What was sent but runs not yet may be missed: call it until the query is over.
        """
        if not query_id.isalnum():
            raise ValueError(query_id)
        self.command(f"KILL QUERY WHERE query_id = '{query_id}' ASYNC")

    def insert_rows(
        self,
        table: str,
        columns: Sequence[str],
        data: bytes | Sequence[bytes],
        *,
        format_name: str = "Native",
    ) -> None:
        """`data` may be in parts. After Overloaded the rows may be in the table, or not, or still
        be on their way.
        """
        parts = (data,) if isinstance(data, bytes) else data
        with _Translated():
            # A generator can't be sent again when the connection breaks: the rows may be in the
            # table already. (`command` would not either, but reads all of it in search of SQL.)
            once = (part for part in parts)
            self._connected().raw_insert(table, columns, once, settings=_INSERT, fmt=format_name)

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
        self._pool.clear()

    def _asked(self, ask: Callable[[], _T]) -> _T:
        """An app's first question makes the dictionary that its numbers are looked up in."""
        with _Translated():
            try:
                return ask()
            except DatabaseError as error:
                # What a caller wrote may stand in a message, but not at its beginning.
                app = person_map.missing_dictionary(str(error))
                if app is None or error.code != _NO_DICTIONARY:
                    raise
                self._make_dictionary(app)
                return ask()

    def _make_dictionary(self, app_number: int) -> None:
        client = self._connected()
        asked = {"app": app_number}
        found = client.query(person_map.HIGHEST, parameters=asked, settings=dict(LIGHT))
        ids = int(found.result_rows[0][0])
        made = person_map.create_dictionary(app_number, database=self._database, ids=ids)
        client.command(made)

    def _connected(self) -> Client:
        if self._client is None:
            self._client = clickhouse_connect.get_client(**self._options)
        return self._client


def _read(summary: Mapping[str, Any]) -> Read:
    """A server's summary is that of when its answer began; wait_end_of_query makes it the whole."""
    rows, size, nanoseconds = (
        int(summary.get(name, 0)) for name in ("read_rows", "read_bytes", "elapsed_ns")
    )
    return Read(rows, size, round(nanoseconds / 1e6, 2))


class _Translated:
    """What goes wrong inside, in the words of domain/errors.py."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        match error:
            case DatabaseError():
                raise _translated(error) from error
            case ClickHouseError() | HTTPError() | OSError():
                raise Overloaded("the analytics engine is out of reach") from error


def _translated(error: DatabaseError) -> Exception:
    code = error.code
    if code is None:  # no answer at all: clickhouse-connect wraps the transport's error
        return Overloaded("the analytics engine is out of reach")
    if code == _TIMEOUT:
        return TooHeavy("the query takes too long; ask for a shorter time or fewer groups")
    if code in _TOO_BIG:
        return TooHeavy("the query is too big; ask for a shorter time or fewer groups")
    if code in _TOO_BUSY:
        return Overloaded("the analytics engine is busy")
    return EngineFailed(code, str(error))
