"""What was asked to be erased and how far that is, in the schema `erasure`."""

from collections.abc import Collection
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import Connection, text

from commands.erasures import Wanted
from domain.erasures import STEPS, Step, digest
from projections import apps
from projections.people import erasing

_ORDER = 4717  # the advisory lock of whoever bars ids: their order is that of commits

_LOCK = text(f"SELECT pg_advisory_xact_lock({_ORDER})")
_KEY = text("SELECT key FROM erasure.secret")
_ADD = text(
    "INSERT INTO erasure.requests (erasure_id, app_id, requested_by, reason, step)"
    " VALUES (:erasure_id, :app_id, :requested_by, :reason, :step)"
)
_BAR = text(
    "INSERT INTO erasure.ids AS ids (app_id, digest, erasure_id, distinct_id)"
    " SELECT :app_id, n.digest, :erasure_id, n.distinct_id"
    " FROM unnest(cast(:digests AS bytea[]), cast(:ids AS text[])) n(digest, distinct_id)"
    " ON CONFLICT (app_id, digest) DO UPDATE"
    " SET erasure_id = excluded.erasure_id, distinct_id = excluded.distinct_id"
    # What a younger erasure holds and has not rewritten becomes the older one's: two people who
    # were made one meanwhile would wait for each other.
    " WHERE ids.erasure_id IN (SELECT y.erasure_id FROM erasure.requests y, erasure.requests o"
    " WHERE o.erasure_id = excluded.erasure_id AND y.app_id = o.app_id AND y.receipt IS NULL"
    " AND y.finished_at IS NULL"
    " AND (y.requested_at, y.erasure_id) > (o.requested_at, o.erasure_id))"
)
_BAR_NAMES = text(
    "INSERT INTO erasure.ids (app_id, digest, erasure_id)"
    " SELECT :app_id, n.digest, :erasure_id FROM unnest(cast(:digests AS bytea[])) n(digest)"
)
_OWNER = text("SELECT erasure_id FROM erasure.ids WHERE app_id = :app_id AND digest = :digest")
_IDS = text(
    "SELECT distinct_id FROM erasure.ids"
    " WHERE erasure_id = :erasure_id AND distinct_id IS NOT NULL ORDER BY ordinal"
)
_DIGESTS = text(
    "SELECT digest FROM erasure.ids"
    " WHERE erasure_id = :erasure_id AND distinct_id IS NOT NULL ORDER BY ordinal"
)
_READ = "SELECT * FROM erasure.requests WHERE app_id = :app_id"
_FIND = text(f"{_READ} AND erasure_id = :erasure_id")
_LIST = text(f"{_READ} ORDER BY requested_at DESC, erasure_id LIMIT :limit OFFSET :offset")
_COUNT = text("SELECT count(*) FROM erasure.requests WHERE app_id = :app_id")
_UNFINISHED = text(
    "SELECT * FROM erasure.requests WHERE finished_at IS NULL ORDER BY requested_at, erasure_id"
)
_FROZEN = text(
    "UPDATE erasure.requests SET frozen_at = clock_timestamp() WHERE erasure_id = :erasure_id"
)
_FROZEN_FOR = text(
    "SELECT extract(epoch FROM clock_timestamp() - frozen_at) FROM erasure.requests"
    " WHERE erasure_id = :erasure_id"
)
_ADVANCE = text(
    "UPDATE erasure.requests SET step = :next, trouble = NULL,"
    " counts = counts || cast(:counts AS jsonb),"
    " receipt = coalesce(cast(:receipt AS bigint), receipt),"
    " done = CASE WHEN cast(:back AS bool) THEN done ELSE"
    " done || jsonb_build_object(step, to_jsonb(clock_timestamp())) END"
    " WHERE erasure_id = :erasure_id"
)
_TROUBLE = text("UPDATE erasure.requests SET trouble = :trouble WHERE erasure_id = :erasure_id")
_FORGET = text("UPDATE erasure.ids SET distinct_id = NULL WHERE erasure_id = :erasure_id")
_FORGET_PLACES = text("DELETE FROM erasure.positions WHERE erasure_id = :erasure_id")
_FINISH = text(
    "UPDATE erasure.requests SET finished_at = clock_timestamp(), trouble = NULL,"
    " done = done || jsonb_build_object(step, to_jsonb(clock_timestamp()))"
    " WHERE erasure_id = :erasure_id"
)
_MARK = text(
    "INSERT INTO erasure.positions (erasure_id, position, tracked)"
    " SELECT :erasure_id, n.position, n.tracked"
    " FROM unnest(cast(:positions AS bigint[]), cast(:tracked AS bool[])) n(position, tracked)"
    " ON CONFLICT DO NOTHING"
)
_PLACES = text(
    "SELECT position FROM erasure.positions WHERE erasure_id = :erasure_id"
    " AND (tracked OR NOT cast(:tracked AS bool)) ORDER BY position"
)


class Erasure(msgspec.Struct, frozen=True, kw_only=True):
    """`done`: step -> when it was done. `receipt`: the position of person.erased.v1 once the log is
    rewritten. `trouble`: why it does not go on; it is tried again and again.
    """

    erasure_id: UUID
    app_id: UUID
    requested_at: datetime
    requested_by: UUID
    frozen_at: datetime
    reason: str | None
    step: Step
    done: dict[str, datetime]
    counts: dict[str, int]
    receipt: int | None
    trouble: str | None
    finished_at: datetime | None


def _erasure(row: Any) -> Erasure:
    return msgspec.convert(dict(row), Erasure)


# --- asking --------------------------------------------------------------------------------


def secret(connection: Connection) -> bytes:
    return bytes(connection.execute(_KEY).scalar_one())


class ErasureRegister:
    """commands.erasures.Register on a connection, whose transaction is the use."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def erasure_of(self, app_id: UUID, distinct_id: str) -> UUID | None:
        key = secret(self._connection)
        wanted = {"app_id": app_id, "digest": digest(key, app_id, distinct_id)}
        return self._connection.execute(_OWNER, wanted).scalar()

    def ids_of_person(self, app_id: UUID, distinct_id: str) -> list[str]:
        app_number = apps.numbers(self._connection).get(app_id, 0)
        found = erasing.members(self._connection, app_number, [distinct_id])
        return [member.distinct_id for member in found]

    def add(self, wanted: Wanted, ids: Collection[str]) -> None:
        self._connection.execute(_LOCK)
        if self.erasure_of(wanted.app_id, wanted.distinct_id) is not None:
            return
        given = {
            "erasure_id": wanted.erasure_id,
            "app_id": wanted.app_id,
            "requested_by": wanted.asked_by,
            "reason": wanted.reason,
            "step": STEPS[0],
        }
        self._connection.execute(_ADD, given)
        added = find(self._connection, wanted.app_id, wanted.erasure_id)
        assert added is not None
        bar(self._connection, added, ids)


def bar(connection: Connection, erasure: Erasure, ids: Collection[str]) -> int:
    """How many of them were not this erasure's before."""
    key = secret(connection)
    connection.execute(_LOCK)
    given = {
        "erasure_id": erasure.erasure_id,
        "app_id": erasure.app_id,
        "digests": [digest(key, erasure.app_id, one) for one in ids],
        "ids": list(ids),
    }
    fresh = connection.execute(_BAR, given).rowcount
    if fresh:
        connection.execute(_FROZEN, {"erasure_id": erasure.erasure_id})
    return fresh


def bar_names(connection: Connection, erasure: Erasure, names: Collection[str]) -> None:
    """The pseudonyms, which are nobody's to send or to erase."""
    key = secret(connection)
    connection.execute(_LOCK)
    digests = [digest(key, erasure.app_id, name) for name in names]
    given = {"app_id": erasure.app_id, "erasure_id": erasure.erasure_id, "digests": digests}
    connection.execute(_BAR_NAMES, given)


def find(connection: Connection, app_id: UUID, erasure_id: UUID) -> Erasure | None:
    wanted = {"app_id": app_id, "erasure_id": erasure_id}
    row = connection.execute(_FIND, wanted).mappings().one_or_none()
    return None if row is None else _erasure(row)


def list_of(
    connection: Connection, app_id: UUID, *, limit: int, offset: int
) -> tuple[list[Erasure], int]:
    """Newest first, and how many there are in all."""
    given = {"app_id": app_id, "limit": limit, "offset": offset}
    rows = connection.execute(_LIST, given).mappings()
    total = connection.execute(_COUNT, {"app_id": app_id}).scalar_one()
    return [_erasure(row) for row in rows], int(total)


# --- doing ---------------------------------------------------------------------------------


def unfinished(connection: Connection) -> list[Erasure]:
    """Oldest first."""
    return [_erasure(row) for row in connection.execute(_UNFINISHED).mappings()]


def frozen_seconds(connection: Connection, erasure_id: UUID) -> float:
    """Since the last of its ids was barred."""
    return float(connection.execute(_FROZEN_FOR, {"erasure_id": erasure_id}).scalar_one())


def ids_of(connection: Connection, erasure_id: UUID) -> list[str]:
    """None of one that is finished."""
    return list(connection.execute(_IDS, {"erasure_id": erasure_id}).scalars())


def digests_of(connection: Connection, erasure_id: UUID) -> list[bytes]:
    found = connection.execute(_DIGESTS, {"erasure_id": erasure_id}).scalars()
    return [bytes(one) for one in found]


def mark(connection: Connection, erasure_id: UUID, places: dict[int, bool]) -> None:
    """Position of an event that is rewritten -> whether it is a tracked one."""
    given = {"positions": list(places), "tracked": list(places.values())}
    connection.execute(_MARK, {"erasure_id": erasure_id, **given})


def places_of(connection: Connection, erasure_id: UUID, *, tracked: bool = False) -> list[int]:
    """Positions that `mark` was given; `tracked`: only those of tracked events."""
    given = {"erasure_id": erasure_id, "tracked": tracked}
    return list(connection.execute(_PLACES, given).scalars())


def advance(
    connection: Connection,
    erasure: Erasure,
    step: Step,
    counts: dict[str, int] | None = None,
    *,
    receipt: int | None = None,
) -> None:
    """To the next step, or back to an earlier one."""
    connection.execute(
        _ADVANCE,
        {
            "erasure_id": erasure.erasure_id,
            "next": step,
            "back": STEPS.index(step) <= STEPS.index(erasure.step),
            "counts": msgspec.json.encode(counts or {}).decode(),
            "receipt": receipt,
        },
    )


def tell_trouble(connection: Connection, erasure: Erasure, trouble: str) -> None:
    connection.execute(_TROUBLE, {"erasure_id": erasure.erasure_id, "trouble": trouble})


def finish(connection: Connection, erasure: Erasure) -> None:
    """Forgets the ids and the places: what stays are digests and counts."""
    given = {"erasure_id": erasure.erasure_id}
    for statement in (_FORGET, _FORGET_PLACES, _FINISH):
        connection.execute(statement, given)
