"""Erasing a person: asking for it, and how far it is."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID, uuid4

import msgspec
from litestar import Request, delete, get
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter

from api.apps import Limit, Offset, Pagination
from api.auth import require
from api.reading import find_named, names_meant
from api.waiting import MinPosition, caught_up
from commands.erasures import Wanted, request
from domain.erasures import STEPS, Step
from domain.errors import NotFound, Rejected
from domain.limits import MAX_REASON_CHARS
from infrastructure import erasures
from infrastructure.bootstrap import Adapters
from infrastructure.erasures import Erasure, ErasureRegister
from projections import people
from projections.apps import Caller

Reason = Annotated[
    str | None,
    QueryParameter(
        max_length=MAX_REASON_CHARS,
        description="why; it is kept, so it must not name the person",
    ),
]

_DOES: dict[Step, str] = {
    "freeze": "events with these ids are refused from now on; what was on its way arrives, which"
    " takes 15 seconds at least",
    "log": "payloads on the log and the read models in Postgres are rewritten, in one transaction",
    "analytics": "the rows in ClickHouse are rewritten",
    "feed": "messages on NATS that hold the old payloads are removed and overwritten",
    "clean": "Postgres gives up the old rows",
    "files": "ClickHouse removes the files that hold the old rows, within ten minutes",
}


class StepShown(msgspec.Struct, frozen=True, kw_only=True):
    """`done_at` null: not done yet."""

    step: Step
    what: str
    done_at: datetime | None


class ErasureShown(msgspec.Struct, frozen=True, kw_only=True):
    """`step`: what is being done now. `counts`: ids, events, refusals, rows, messages, as far as
    they are known. `receipt`: the position of person.erased.v1. `trouble`: why it does not go on;
    it is tried again.
    """

    erasure_id: UUID
    status: str
    step: Step
    steps: list[StepShown]
    counts: dict[str, int]
    receipt: int | None
    reason: str | None
    requested_at: datetime
    requested_by: UUID
    finished_at: datetime | None
    trouble: str | None


class ErasureAnswer(msgspec.Struct, frozen=True, kw_only=True):
    erasure: ErasureShown
    success: bool = True


class Erasures(msgspec.Struct, frozen=True, kw_only=True):
    erasures: list[ErasureShown]
    pagination: Pagination
    success: bool = True


@delete("/v1/users/{user_id:str}", status_code=202)
async def erase_user(
    request: Request[Any, Any, Any],
    adapters: NamedDependency[Adapters],
    writer: NamedDependency[Caller],
    user_id: FromPath[str],
    reason: Reason = None,
    min_position: MinPosition = None,
) -> ErasureAnswer:
    require(writer, "erase")
    if await request.body() not in {b"", b"{}"}:
        raise Rejected("body", "is not read here; the reason stands in the address: ?reason=...")
    assert writer.app_id is not None  # an admin key is an app's
    names = names_meant(user_id, "user_id")
    await caught_up(adapters, people.name, min_position)
    wanted = Wanted(writer.app_id, names[0], reason, writer.key_id, uuid4())
    return ErasureAnswer(erasure=await asyncio.to_thread(_requested, adapters, wanted, names))


def _requested(adapters: Adapters, wanted: Wanted, names: Sequence[str]) -> ErasureShown:
    with adapters.engine.begin() as connection:
        register = ErasureRegister(connection)
        erasure_id = find_named(names, lambda name: _asked(register, wanted, name))
        found = erasures.find(connection, wanted.app_id, erasure_id)
    assert found is not None
    return _shown(found)


def _asked(register: ErasureRegister, wanted: Wanted, name: str) -> UUID | None:
    """None: nobody has this id."""
    with suppress(NotFound):
        return request(register, wanted._replace(distinct_id=name))
    return None


@get("/v1/erasures/{erasure_id:uuid}")
async def show_erasure(
    adapters: NamedDependency[Adapters],
    reader: NamedDependency[Caller],
    erasure_id: FromPath[UUID],
) -> ErasureAnswer:
    assert reader.app_id is not None  # a secret key is an app's
    return ErasureAnswer(
        erasure=await asyncio.to_thread(_found, adapters, reader.app_id, erasure_id)
    )


def _found(adapters: Adapters, app_id: UUID, erasure_id: UUID) -> ErasureShown:
    with adapters.engine.connect() as connection:
        found = erasures.find(connection, app_id, erasure_id)
    if found is None:
        raise NotFound("no such erasure")
    return _shown(found)


@get("/v1/erasures")
async def list_erasures(
    adapters: NamedDependency[Adapters],
    reader: NamedDependency[Caller],
    limit: Limit = 50,
    offset: Offset = 0,
) -> Erasures:
    assert reader.app_id is not None  # a secret key is an app's
    return await asyncio.to_thread(_listed, adapters, reader.app_id, limit, offset)


def _listed(adapters: Adapters, app_id: UUID, limit: int, offset: int) -> Erasures:
    with adapters.engine.connect() as connection:
        found, total = erasures.list_of(connection, app_id, limit=limit, offset=offset)
    more = offset + len(found) < total
    page = Pagination(limit=limit, offset=offset, total=total, has_more=more)
    return Erasures(erasures=[_shown(one) for one in found], pagination=page)


def _shown(found: Erasure) -> ErasureShown:
    return ErasureShown(
        erasure_id=found.erasure_id,
        status="finished" if found.finished_at else "running",
        step=found.step,
        steps=[
            StepShown(step=step, what=_DOES[step], done_at=found.done.get(step)) for step in STEPS
        ],
        counts=found.counts,
        receipt=found.receipt,
        reason=found.reason,
        requested_at=found.requested_at,
        requested_by=found.requested_by,
        finished_at=found.finished_at,
        trouble=found.trouble,
    )


WRITES = (erase_user,)
READS = (show_erasure, list_erasures)
