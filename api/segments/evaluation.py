"""How far live segments are evaluated, and waiting for it."""

import asyncio
import time
from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import msgspec
from sqlalchemy import Connection

from api.reading import Asked
from api.waiting import caught_up
from domain.errors import NotCaughtUp
from domain.limits import MAX_WAIT_SECONDS
from domain.past import NOW
from infrastructure.bootstrap import Adapters
from infrastructure.reactor import state
from infrastructure.reactor.definitions import fingerprints
from infrastructure.reactor.state import Evaluated
from projections import segments
from projections.segments import Definition

_POLL_SECONDS = 0.1
_PATIENCE_SECONDS = 0.5  # as long as it takes at most, from the log to the read model


class Freshness(msgspec.Struct, frozen=True, kw_only=True):
    """As of when a live segment is evaluated, null: not yet as it is defined now. `lag_ms`: how
    long ago the first event behind that was recorded, 0 if there is none.
    """

    evaluated_position: int | None
    evaluated_at: datetime | None
    lag_ms: float


_NOT_YET = Freshness(evaluated_position=None, evaluated_at=None, lag_ms=0.0)


class Evaluation(NamedTuple):
    """What was evaluated for an app. `wanted` and `done`: fingerprints of what its live segments
    are and of what they were when that was; static ones have none.
    """

    upto: Evaluated
    wanted: Mapping[UUID, str]
    done: Mapping[UUID, str]

    def has(self, segment_id: UUID) -> bool:
        """Whether its members are those of its definition; always so of a static one."""
        return self.wanted.get(segment_id) == self.done.get(segment_id)

    def of(self, definitions: Mapping[UUID, Definition]) -> "Evaluation":
        """The same beside other definitions."""
        return self._replace(wanted=fingerprints(definitions))


_NOTHING = Evaluation(Evaluated(), {}, {})


def read_evaluation(connection: Connection, app_number: int) -> Evaluation:
    return Evaluation(
        state.read(connection, app_number),
        fingerprints(segments.find_definitions(connection, app_number)),
        state.fingerprints(connection, app_number),
    )


def _read(asked: Asked) -> Evaluation:
    with asked.connected() as connection:
        return read_evaluation(connection, asked.app_number)


async def evaluated(
    asked: Asked, min_position: int | None, segment_id: UUID | None = None
) -> Evaluation:
    """Waits until that segment, or all live ones, are evaluated up to `min_position` and the read
    model has who entered and left by then. Raises NotCaughtUp. Without it nothing is waited for
    that takes long; where who entered is still missing, it was not evaluated.
    """
    if asked.past != NOW:
        return _NOTHING
    until = time.monotonic() + MAX_WAIT_SECONDS
    while True:
        found = await asyncio.to_thread(_read, asked)
        is_live = segment_id in found.wanted if segment_id else bool(found.wanted)
        wanted = min_position if is_live else None
        if wanted is None or found.upto.position >= wanted:
            break
        if time.monotonic() > until:
            raise NotCaughtUp(found.upto.position, wanted)
        await asyncio.sleep(_POLL_SECONDS)
    appended = found.upto.appended_position
    if wanted is not None:
        await caught_up(asked.adapters, segments.name, appended)
        return found
    try:
        await asked.adapters.following.reached(segments.name, appended, seconds=_PATIENCE_SECONDS)
    except NotCaughtUp:
        return found._replace(upto=Evaluated())
    return found


async def freshness(asked: Asked, found: Evaluation, segment_id: UUID) -> Freshness | None:
    """None where the answer is exact as of its position: of a past, and of a static segment."""
    if asked.past != NOW or segment_id not in found.wanted:
        return None
    if not found.has(segment_id) or not found.upto.is_there:
        return _NOT_YET
    lag = await asyncio.to_thread(_lag_ms, asked.adapters, found.upto.position)
    return Freshness(evaluated_position=found.upto.position, evaluated_at=found.upto.at, lag_ms=lag)


def _lag_ms(adapters: Adapters, position: int) -> float:
    if position >= adapters.positions.head():
        return 0.0
    waiting = adapters.clock() - adapters.positions.recorded_at(position + 1)
    return max(0.0, round(waiting.total_seconds() * 1000, 1))
