"""Connections to Postgres: SQLAlchemy Core for read models, psycopg for the log."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from select import POLLIN, POLLOUT, poll
from typing import Any

import msgspec
import psycopg
from eventsourcing import persistence
from sqlalchemy import Connection, Engine, create_engine, event, exc

# Postgres is away, stopping or overwhelmed: no fault of the caller's, nor of ours.
AWAY: tuple[type[Exception], ...] = (
    exc.OperationalError,
    exc.InterfaceError,
    exc.TimeoutError,
    psycopg.OperationalError,
    psycopg.InterfaceError,
    persistence.OperationalError,
    persistence.InterfaceError,
)


# What it warns of are the server's words, which may have what people sent; we raise the errors.
logging.getLogger("psycopg").setLevel(logging.ERROR)

# A server that is gone without a word is noticed within some 11 seconds, not after two hours.
REACHABLE: dict[str, Any] = {
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,  # milliseconds
}


def open_engine(
    database_url: str, *, pool_size: int = 5, query_seconds: float | None = None
) -> Engine:
    """`query_seconds`: a statement that takes longer fails, see `took_too_long`."""
    limits = (
        {"options": f"-c statement_timeout={query_seconds * 1000:.0f}"} if query_seconds else {}
    )
    engine = create_engine(
        "postgresql+psycopg://" + database_url.split("://", 1)[1],
        pool_size=pool_size,
        max_overflow=0,  # such connections are closed after each use, and opening one is dear
        pool_timeout=5,
        hide_parameters=True,  # errors are logged and kept; what people sent is not
        pool_pre_ping=True,
        json_serializer=lambda value: msgspec.json.encode(value).decode(),
        connect_args={**REACHABLE, **limits, "application_name": "appizer"},
    )
    event.listen(engine, "after_cursor_execute", _in_pipeline)
    return engine


@contextmanager
def pipelined(connection: Connection) -> Iterator[None]:
    """Meanwhile Postgres works on what changes rows and answers none while the caller goes on. What
    that breaks is raised by a later statement, or at the end: there as psycopg's errors.
    """
    driver: Any = connection.connection.driver_connection
    info = connection.info  # a connection that was lost has none any more
    try:
        with driver.pipeline() as pipeline:
            info[_PIPELINE] = pipeline
            yield
    finally:
        info.pop(_PIPELINE, None)


_PIPELINE = "pipeline"


def _in_pipeline(
    connection: Connection, cursor: Any, _statement: Any, _given: Any, context: Any, _many: Any
) -> None:
    pipeline = connection.info.get(_PIPELINE)
    if pipeline is None:
        return
    changes = context.isinsert or context.isupdate or context.isdelete
    if changes and not context.compiled.effective_returning:
        _flush(cursor.connection)
    else:
        pipeline.sync()


def _flush(driver: psycopg.Connection[Any]) -> None:
    """Hands all to the socket: the library keeps back what does not fit in at once."""
    if not driver.pgconn.flush():
        return
    ready = poll()
    ready.register(driver.fileno(), POLLIN | POLLOUT)
    while driver.pgconn.flush():
        if any(found & POLLIN for _, found in ready.poll()):
            driver.pgconn.consume_input()


def time_limit(seconds: float) -> dict[str, str]:
    """Of each statement, as an option of a connection."""
    return {"options": f"-c statement_timeout={round(seconds * 1000)}"}


def took_too_long(error: Exception) -> bool:
    """Whether it was a statement's time that ran out, not the database that is away."""
    return isinstance(getattr(error, "orig", None), psycopg.errors.QueryCanceled)


def open_log(database_url: str) -> psycopg.Connection[Any]:
    """A connection for reading the log page by page."""
    return psycopg.connect(database_url, autocommit=True, **REACHABLE)
