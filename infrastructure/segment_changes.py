"""Changes of segments, one after the other in each app: whether they lead round in a circle is
seen only by whoever sees all of them.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine, text

from domain.errors import NotCaughtUp
from domain.limits import MAX_WAIT_SECONDS
from infrastructure.positions import Positions
from projections import segments

_LOCK = text("SELECT pg_advisory_xact_lock(cast(:kind AS int), cast(:app AS int))")
_KIND = 0x5E63
_PAUSE_SECONDS = 0.02


@contextmanager
def one_at_a_time(engine: Engine, positions: Positions, app_number: int) -> Iterator[Connection]:
    """Within it the read model, seen through the connection, has all changes made before. Raises
    NotCaughtUp.
    """
    with engine.begin() as connection:
        connection.execute(_LOCK, {"kind": _KIND, "app": app_number})
        _catch_up(positions)
        yield connection


def _catch_up(positions: Positions) -> None:
    until = time.monotonic() + MAX_WAIT_SECONDS
    head = positions.head()
    while (reached := positions.of(segments.name).position) < head:
        if time.monotonic() > until:
            raise NotCaughtUp(reached, head)
        time.sleep(_PAUSE_SECONDS)
