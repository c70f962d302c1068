"""Changes of segments and metrics, one after the other in each app: whether they lead round in a
circle, or name what is being deleted, is seen only by whoever sees all of them.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine, text

from domain.errors import NotCaughtUp
from domain.limits import MAX_WAIT_SECONDS
from infrastructure.positions import Positions
from projections import metrics, segments

_LOCK = text("SELECT pg_advisory_xact_lock(cast(:kind AS int), cast(:app AS int))")
_KIND = 0x5E63
_PAUSE_SECONDS = 0.02
_MODELS = (segments, metrics)


@contextmanager
def one_at_a_time(engine: Engine, positions: Positions, app_number: int) -> Iterator[Connection]:
    """Within it both read models, seen through the connection, have all changes made before. Raises
    NotCaughtUp.
    """
    with engine.begin() as connection:
        connection.execute(_LOCK, {"kind": _KIND, "app": app_number})
        _catch_up(positions)
        yield connection


def _catch_up(positions: Positions) -> None:
    until = time.monotonic() + MAX_WAIT_SECONDS
    head = positions.head()
    while (reached := min(positions.of(model.name).position for model in _MODELS)) < head:
        if time.monotonic() > until:
            raise NotCaughtUp(reached, head)
        time.sleep(_PAUSE_SECONDS)
