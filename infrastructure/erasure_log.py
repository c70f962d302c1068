"""The one act that changes what is on the log: payloads that name an erased person are rewritten.

One transaction with the Postgres read models and the receipt: at every moment a rebuild gives what
is shown. The projector waits meanwhile; events are taken in.
"""

import secrets
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from sqlalchemy import Connection, Engine, text

from domain.erasures import (
    PSEUDONYM_BYTES,
    PersonErased,
    names_one,
    redacted,
    words_in,
)
from domain.errors import NotFound
from domain.tracking import Refused
from infrastructure import checkpoints, codec, erasures
from infrastructure.analytics_engine import AnalyticsEngine
from infrastructure.codec import Unreadable
from infrastructure.erasures import Erasure
from projections import apps, failed_events, people
from projections.catalogue import PROJECTIONS
from projections.event_queries import mentions, seen_beside
from projections.people import erasing

_PAGE = 1_000
_NOT_LOGGED = {"log_queries": 0, "max_execution_time": 0}  # its parameters are the ids

_BY_INDEX = text("SELECT set_config('enable_seqscan', 'off', true)")
_READ = text(
    "SELECT notification_id, originator_id, topic, state FROM log.events"
    " WHERE notification_id = ANY(:positions) ORDER BY notification_id"
)
_WRITE = text(
    "UPDATE log.events e SET state = n.state"
    " FROM unnest(cast(:positions AS bigint[]), cast(:states AS bytea[])) n(position, state)"
    " WHERE e.notification_id = n.position"
)
_APPEND = text(
    "SELECT head FROM log.append_events(cast(:ids AS uuid[]), cast(:apps AS uuid[]),"
    " cast(:topics AS text[]), cast(:states AS bytea[]))"
)
_PARKED = text(
    "SELECT DISTINCT p.position FROM projections.parked p JOIN apps.apps a ON a.app_id = p.app_id"
    " WHERE a.app_number = :app"
)
_UNPARK = text(
    "UPDATE projections.parked SET reason = 'erased'"
    " WHERE position = ANY(:positions) AND app_id = :app_id"
)


class Incomplete(Exception):
    """The person has ids that are not barred yet."""


class Rewritten(NamedTuple):
    events: int
    refusals: int
    receipt: int


def number_of(connection: Connection, app_id: UUID) -> int:
    number = apps.numbers(connection).get(app_id)
    if number is None:
        raise NotFound("no such app")
    return number


# --- who and where -------------------------------------------------------------------------


def all_ids(
    connection: Connection, analytics: AnalyticsEngine, app_number: int, ids: Collection[str]
) -> set[str]:
    """These ids, those of the same persons, and those that only ever stood beside them."""
    members = erasing.members(connection, app_number, ids)
    found = {*ids, *(member.distinct_id for member in members)}
    numbers = [member.number for member in members]
    beside = _ask(analytics, *seen_beside(app_number, numbers)) if numbers else []
    own = [one for one, elsewhere in beside if not elsewhere and one not in found]
    return found | set(erasing.never_sent(connection, app_number, own))


def find_places(
    connection: Connection, analytics: AnalyticsEngine, app_number: int, ids: Collection[str]
) -> dict[int, bool]:
    """Position of each event that names one of the ids -> whether it is a tracked one."""
    numbers = [member.number for member in erasing.members(connection, app_number, ids)]
    tracked = _ask(analytics, *mentions(app_number, numbers, list(ids)))
    places = {position: True for (position,) in tracked}
    spoken = erasing.spoken_at(connection, app_number, numbers)
    others = {*erasing.may_mention_others(connection, app_number), *_parked(connection, app_number)}
    spoken.update(_naming(connection, sorted(others - spoken), set(ids)))
    spoken.update(_refusals(connection, app_number, {*ids, *_addresses(connection, spoken, ids)}))
    return places | dict.fromkeys(spoken, False)


def _parked(connection: Connection, app_number: int) -> Iterable[int]:
    """What a read model could not take is in none of its tables."""
    return connection.execute(_PARKED, {"app": app_number}).scalars()


def _ask(analytics: AnalyticsEngine, sql: str, parameters: Any) -> Sequence[Sequence[Any]]:
    return analytics.query(sql, parameters, _NOT_LOGGED).rows


def _naming(connection: Connection, positions: Sequence[int], ids: set[str]) -> Iterator[int]:
    for position, _, event in _events(connection, positions):
        if names_one(event, ids):
            yield position


def _addresses(
    connection: Connection, spoken: Collection[int], ids: Collection[str]
) -> Iterator[str]:
    """E-mail addresses among what was said of them: a body that was refused for want of an id may
    have one.
    """
    for _, _, event in _events(connection, sorted(spoken)):
        if getattr(event, "distinct_id", None) in ids and hasattr(event, "traits"):
            yield from (word for word in words_in(bytes(event.traits)) if "@" in word)


def _refusals(connection: Connection, app_number: int, words: set[str]) -> Iterator[int]:
    after = 0
    while page := failed_events.bodies(connection, app_number, after, _PAGE):
        for position, body in page:
            if any(word in words for word in words_in(body)):
                yield position
        after = page[-1][0]


def _events(
    connection: Connection, positions: Sequence[int]
) -> Iterator[tuple[int, bytes, msgspec.Struct]]:
    """(position, stream id, event) of those that can be read."""
    for first in range(0, len(positions), _PAGE):
        given = {"positions": list(positions[first : first + _PAGE])}
        for row in connection.execute(_READ, given).all():
            event = codec.read(row.topic, bytes(row.state))
            if not isinstance(event, Unreadable):
                yield row.notification_id, row.originator_id.bytes, event


# --- the transaction -----------------------------------------------------------------------


def rewrite(engine: Engine, erasure: Erasure, places: dict[int, bool], now: datetime) -> Rewritten:
    """Raises Incomplete. Moves the erasure to its next step."""
    with engine.begin() as connection:
        checkpoints.lock(connection, [projection.name for projection in PROJECTIONS])
        connection.execute(_BY_INDEX)
        app_number = number_of(connection, erasure.app_id)
        ids = erasures.ids_of(connection, erasure.erasure_id)
        names = _named(connection, app_number, ids)
        positions = sorted(places)
        refusals = _rewrite_all(connection, positions, names)
        numbers = people.find_numbers(connection, [(app_number, one) for one in names])
        renamed = {number: names[one] for (_, one), number in numbers.items()}
        erasing.erase(connection, app_number, renamed, positions)
        failed_events.erase(connection, app_number, refusals)
        connection.execute(_UNPARK, {"positions": positions, "app_id": erasure.app_id})
        erasures.mark(connection, erasure.erasure_id, places)
        erasures.bar_names(connection, erasure, names.values())
        done = Rewritten(len(positions) - len(refusals), len(refusals), 0)
        done = done._replace(receipt=_append_receipt(connection, erasure, done, now))
        counts = {"ids": len(ids), "events": done.events, "refusals": done.refusals}
        erasures.advance(connection, erasure, "analytics", counts, receipt=done.receipt)
    return done


def _named(connection: Connection, app_number: int, ids: Collection[str]) -> dict[str, str]:
    members = {member.distinct_id for member in erasing.members(connection, app_number, ids)}
    if not members <= set(ids):
        raise Incomplete
    return {one: f"erased-{secrets.token_hex(PSEUDONYM_BYTES)}" for one in ids}


def _rewrite_all(
    connection: Connection, positions: Sequence[int], names: dict[str, str]
) -> list[int]:
    """The positions of refusals among them."""
    refusals = []
    for first in range(0, len(positions), _PAGE):
        page = positions[first : first + _PAGE]
        rewritten = {}
        for position, stream_id, event in _events(connection, page):
            rewritten[position] = codec.encode(redacted(event, stream_id, names))
            if isinstance(event, Refused):
                refusals.append(position)
        given = {"positions": list(rewritten), "states": list(rewritten.values())}
        connection.execute(_WRITE, given)
    return refusals


def _append_receipt(
    connection: Connection, erasure: Erasure, done: Rewritten, now: datetime
) -> int:
    """Last, since from here to the commit nobody else appends."""
    digests = erasures.digests_of(connection, erasure.erasure_id)
    receipt = PersonErased(
        erasure_id=str(erasure.erasure_id),
        digests=tuple(one.hex() for one in digests),
        events=done.events,
        refusals=done.refusals,
        requested_at=erasure.requested_at,
        erased_at=now,
        done_by=str(erasure.requested_by),
    )
    given = {
        "ids": [secrets.token_bytes(16).hex()],
        "apps": [erasure.app_id],
        "topics": [receipt.TOPIC],
        "states": [codec.encode(receipt)],
    }
    return int(connection.execute(_APPEND, given).scalar_one()) + 1
