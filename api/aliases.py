"""Which ids are the same person: linking them, and cutting links again."""

import asyncio
from collections.abc import Collection, Mapping
from typing import Any, Literal
from uuid import uuid4

import msgspec
from litestar import Request, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from api.auth import require
from api.merge_previews import (
    EXPLAINED,
    AliasBody,
    IdsAsked,
    UnmergeBody,
    Unmerging,
    ids_in,
    refused_at_once,
    stored,
    try_unmerge,
    up_to_date,
)
from api.reading import at_one_moment, find_id, names_meant
from api.shapes import check_body
from api.user_ids import public_id
from commands import aliases as commands
from commands.aliases import Cut
from domain.admission import checked_id
from domain.errors import Conflict, LinkRefused, NotCaughtUp, Rejected
from domain.identity import Reason
from domain.limits import MAX_NAME_CHARS, MAX_WAIT_SECONDS
from domain.tracking import Aliased
from infrastructure.bootstrap import Adapters
from infrastructure.database import AWAY
from projections import people
from projections.apps import Caller
from projections.people import what_if
from projections.people.what_if import Persons
from projections.people.whose import find_whose


class Linked(msgspec.Struct, frozen=True, kw_only=True):
    """`outcome` pending: it is stored, and the people's read model is behind; read it there.
    `duplicate`: the message was taken before, at `position`, and nothing was written now; then
    not_linked is for a link that does not hold any more.
    """

    user_id: str
    alias_id: str
    internal_id: str
    outcome: Literal["linked", "already_linked", "not_linked", "pending"]
    duplicate: bool
    position: int
    message: str
    success: bool = True


class Unmerged(msgspec.Struct, frozen=True, kw_only=True):
    """`cut`: the links, as pairs of ids, at most 1000; `persons`: to whom their ids belong now, at
    most 100, those with most ids first. `outcome` pending: it is stored, the people's read model is
    behind, and `persons` are those that there will be.
    """

    user_id: str
    outcome: Literal["unmerged", "pending"]
    cut: list[tuple[str, str]]
    cut_total: int
    persons: list[what_if.Person]
    persons_total: int
    position: int
    success: bool = True


@post("/v1/users/aliases", status_code=200)
async def create_alias(
    request: Request[Any, Any, Any],
    adapters: NamedDependency[Adapters],
    writer: NamedDependency[Caller],
    data: JSONBody[AliasBody],
) -> Linked:
    check_body(await request.body(), AliasBody)
    asked = ids_in(data)
    _check_force(data, writer)
    await up_to_date(adapters)
    user_id, alias_id = await asyncio.to_thread(_find_both, adapters, writer, asked)
    return await _link(adapters, writer, _alias(adapters, writer, data, user_id, alias_id))


@post("/v1/users/{user_id:str}/unmerge", status_code=200)
async def unmerge(
    request: Request[Any, Any, Any],
    adapters: NamedDependency[Adapters],
    writer: NamedDependency[Caller],
    user_id: FromPath[str],
    data: JSONBody[UnmergeBody],
) -> Unmerged:
    check_body(await request.body(), UnmergeBody)
    names = names_meant(user_id, "user_id")
    _check_reason(data.reason)
    await up_to_date(adapters)
    wanted = await asyncio.to_thread(try_unmerge, adapters, writer, names, data)
    return await _unmerge(adapters, writer, wanted, data.reason)


# --- what the body says --------------------------------------------------------------------


def _check_force(data: AliasBody, writer: Caller) -> None:
    _check_reason(data.reason)
    if data.force:
        require(writer, "merge")
        if not data.reason:
            raise Rejected("reason", "is missing; a forced merge says why")
    elif data.reason is not None:
        raise Rejected("reason", "is kept of a forced merge only; leave it out or send `force`")


def _check_reason(reason: str | None) -> None:
    if reason is not None and not (0 < len(reason) <= MAX_NAME_CHARS and reason.isprintable()):
        raise Rejected("reason", f"must be 1 to {MAX_NAME_CHARS} printable characters")


def _find_both(adapters: Adapters, writer: Caller, asked: IdsAsked) -> tuple[str, str]:
    """Raises LinkRefused for what need not be stored, NotFound when there is no such user."""
    with adapters.engine.connect() as connection:
        user, alias = (find_id(connection, writer.app_number or 0, names) for names in asked)
    refusal = refused_at_once(user, alias)
    if refusal is not None:
        raise _refused(refusal.reason, field=refusal.field)
    stored(user, "user_id")
    return user.distinct_id, alias.distinct_id


def _refused(reason: Reason, **details: object) -> LinkRefused:
    field = details.get("field", "alias_id")
    return LinkRefused(f"{field}: {EXPLAINED[reason]}", reason=reason, **details)


def _alias(
    adapters: Adapters, writer: Caller, data: AliasBody, user_id: str, alias_id: str
) -> Aliased:
    now = adapters.clock()
    message_id = data.message_id
    return Aliased(
        message_id=uuid4().hex if message_id is None else checked_id(message_id, "message_id"),
        timestamp=now,
        received_at=now,
        user_id=user_id,
        previous_id=alias_id,
        source="users",
        forced_by=str(writer.key_id) if data.force else None,
        reason=data.reason,
    )


# --- doing it ------------------------------------------------------------------------------


async def _link(adapters: Adapters, writer: Caller, alias: Aliased) -> Linked:
    assert writer.app_id is not None  # only an app's keys may write
    barred = await adapters.barred.of(writer.app_id)
    stored = await commands.link(adapters.log, writer.app_id, alias, barred)
    if stored.status == "conflict":
        raise Conflict("message_id was used before with other content", field="message_id")
    position, is_duplicate = stored.position or 0, stored.status == "duplicate"
    user_id, alias_id = alias.user_id or "", alias.previous_id
    outcome = await _outcome(adapters, writer, position)
    if is_duplicate and outcome != "pending":
        outcome = await asyncio.to_thread(_now, adapters, writer, (user_id, alias_id), outcome)
    if outcome not in _TOLD:
        raise _refused(outcome, user_id=user_id, alias_id=alias_id, position=position)  # type: ignore[arg-type]  # all others are reasons
    return Linked(
        user_id=user_id,
        alias_id=alias_id,
        internal_id=public_id(user_id),
        outcome=outcome,  # type: ignore[arg-type]  # one of those told
        duplicate=is_duplicate,
        position=position,
        message=_TOLD[outcome],
    )


_TOLD: Mapping[str, str] = {
    "linked": "either id now means this person, also in what was sent before; a question asked"
    " with this position as min_position knows of it",
    "already_linked": "they were the same person before",
    "not_linked": "this message was taken before, and the link was cut since; another message_id"
    " links them again",
    "pending": "stored; the read model is behind and will say what comes of it",
}


async def _outcome(adapters: Adapters, writer: Caller, position: int) -> str:
    if not await _is_applied(adapters, position):
        return "pending"
    try:
        return await asyncio.to_thread(_read_outcome, adapters, writer, position)
    except AWAY:
        return "pending"


async def _is_applied(adapters: Adapters, position: int) -> bool:
    """Waits for it. What is on the log is done, so a slow read model must not hide the answer."""
    try:
        await adapters.following.reached(people.name, position, seconds=MAX_WAIT_SECONDS)
    except NotCaughtUp:
        return False
    return True


def _read_outcome(adapters: Adapters, writer: Caller, position: int) -> str:
    with adapters.engine.connect() as connection:
        found = people.find_outcome(connection, writer.app_number or 0, position)
    return found or "pending"  # None: the read model could not take it, and keeps it parked


def _now(adapters: Adapters, writer: Caller, ids: tuple[str, str], then: str) -> str:
    """What a link that was recorded before, and came to `then`, is worth now."""
    with adapters.engine.connect() as connection:
        whose = find_whose(connection, writer.app_number or 0, ids[0])
        numbers = people.find_numbers(connection, [(writer.app_number or 0, ids[1])])
    if whose is not None and set(numbers.values()) & set(whose.numbers):
        return then if then in _TOLD else "linked"
    return "not_linked" if then in _TOLD else then


async def _unmerge(
    adapters: Adapters, writer: Caller, wanted: Unmerging, reason: str | None
) -> Unmerged:
    assert writer.app_id is not None  # only an app's keys may write
    cut = Cut(
        user_id=wanted.user_id,
        pairs=wanted.tried.pairs,
        timestamp=wanted.at,
        done_by=str(writer.key_id),
        reason=reason,
    )
    barred = await adapters.barred.of(writer.app_id)
    position = await commands.unmerge(adapters.log, writer.app_id, cut, adapters.clock(), barred)
    is_applied = await _is_applied(adapters, position)
    persons = wanted.tried.after
    if is_applied:
        try:
            numbers = wanted.tried.numbers
            persons = await asyncio.to_thread(_read_persons, adapters, writer, numbers)
        except AWAY:  # it is on the log, which an error would hide
            is_applied = False
    return Unmerged(
        user_id=cut.user_id,
        outcome="unmerged" if is_applied else "pending",
        cut=wanted.tried.pairs[: what_if.MOST_PAIRS],
        cut_total=len(wanted.tried.pairs),
        persons=persons.shown,
        persons_total=persons.total,
        position=position,
    )


def _read_persons(adapters: Adapters, writer: Caller, numbers: Collection[int]) -> Persons:
    with at_one_moment(adapters) as connection:
        return what_if.persons_now(connection, writer.app_number or 0, numbers)


WRITES = (create_alias, unmerge)
