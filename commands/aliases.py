"""Linking two ids, and cutting links again."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from uuid import UUID, uuid4

import msgspec

from commands.ingest import Outcome, outcomes, to_new_events
from commands.ports import Log, NewEvent
from domain.erasures import BARRED, Barred
from domain.errors import Rejected
from domain.tracking import Aliased, Unmerged

_PAIRS = 500  # in one event


class Cut(msgspec.Struct, frozen=True, kw_only=True):
    """Which links of a person, who asks for it, and the time from which they do not hold."""

    user_id: str
    pairs: Sequence[tuple[str, str]]
    timestamp: datetime
    done_by: str
    reason: str | None = None


async def link(log: Log, app_id: UUID, alias: Aliased, barred: Barred | None) -> Outcome:
    """Accepted, a duplicate or a conflict, with the position. What comes of it, the people's read
    model says once it is there. Raises Overloaded, and Rejected for an id that was erased.
    """
    _refuse_barred(barred, user_id=alias.user_id, alias_id=alias.previous_id)
    events = to_new_events(app_id, [alias])
    (outcome,) = outcomes(await log.append(events), events)
    return outcome


async def unmerge(log: Log, app_id: UUID, cut: Cut, now: datetime, barred: Barred | None) -> int:
    """The position of the last event that it took. All are appended together. Raises Overloaded,
    and Rejected while one of the ids is being erased.
    """
    for one, other in ((cut.user_id, None), *cut.pairs):
        _refuse_barred(barred, user_id=one, alias_id=other)
    events = [NewEvent(uuid4().bytes, app_id, event) for event in _events(cut, now)]
    return (await log.append(events))[-1].position


def _refuse_barred(barred: Barred | None, **ids: str | None) -> None:
    for field, distinct_id in ids.items():
        if barred is not None and distinct_id in barred:
            raise Rejected(field, BARRED)


def _events(cut: Cut, now: datetime) -> Iterator[Unmerged]:
    for first in range(0, len(cut.pairs), _PAIRS):
        yield Unmerged(
            user_id=cut.user_id,
            pairs=tuple(cut.pairs[first : first + _PAIRS]),
            timestamp=cut.timestamp,
            received_at=now,
            done_by=cut.done_by,
            reason=cut.reason,
        )
