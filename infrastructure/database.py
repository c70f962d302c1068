"""Connections to Postgres: SQLAlchemy Core for read models, psycopg for the log."""

from typing import Any

import msgspec
import psycopg
from eventsourcing import persistence
from sqlalchemy import Engine, create_engine, exc

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


# A server that is gone without a word is noticed within some 11 seconds, not after two hours.
REACHABLE: dict[str, Any] = {
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,  # milliseconds
}


def open_engine(database_url: str, *, pool_size: int = 5) -> Engine:
    return create_engine(
        "postgresql+psycopg://" + database_url.split("://", 1)[1],
        pool_size=pool_size,
        max_overflow=0,  # such connections are closed after each use, and opening one is dear
        pool_timeout=5,
        hide_parameters=True,  # errors are logged and kept; what people sent is not
        pool_pre_ping=True,
        json_serializer=lambda value: msgspec.json.encode(value).decode(),
        connect_args={**REACHABLE, "application_name": "appizer"},
    )


def open_log(database_url: str) -> psycopg.Connection[Any]:
    """A connection for reading the log page by page."""
    return psycopg.connect(database_url, autocommit=True, **REACHABLE)
