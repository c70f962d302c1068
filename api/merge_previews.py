"""What a merge or an un-merge would come to, before it is done; nothing is written."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
from litestar import Request, post
from litestar.di import NamedDependency
from litestar.params import JSONBody

from api.reading import EVENTS, Named, at_one_moment, find_id, names_of
from api.segments.previewing import SegmentTouched, segments_touched
from api.shapes import check_body
from api.user_ids import user_id_of
from domain.erasures import BARRED
from domain.errors import NotFound, Rejected
from domain.identity import Reason
from domain.junk import is_junk
from domain.limits import MAX_NUMBER, MAX_WAIT_SECONDS
from infrastructure.analytics_engine import LIGHT
from infrastructure.bootstrap import Adapters
from projections import people, person_map, segments
from projections.apps import Caller
from projections.people import what_if
from projections.people.what_if import Ids, Tried

EXPLAINED: dict[str, str] = {
    "junk_id": "is a placeholder that many senders use, so it says nothing about who this is",
    "cycle": "is the id itself",
    "two_known_users": "belongs to another known user; an admin key may force it, with `force`",
    "too_many_ids": "would give the person more ids than one may have",
    "unmerged_later": "was un-merged at a later time than this link has",
}


class AliasBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`user_id`, or `primary_user_id` that POST /v1/users answered, and the other id."""

    user_id: str | None = None
    primary_user_id: str | None = None
    alias_id: str | None = None
    previous_id: str | None = msgspec.field(name="previousId", default=None)
    message_id: str | None = None
    force: bool = False
    reason: str | None = None


class UnmergeBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One of: `alias_id`, or `since`, a position after which all links of the person are cut."""

    alias_id: str | None = None
    since: int | None = None
    reason: str | None = None


class UnmergePreviewBody(UnmergeBody, frozen=True, kw_only=True, forbid_unknown_fields=True):
    user_id: str


class MetricTouched(msgspec.Struct, frozen=True, kw_only=True):
    """An event whose unique counts change: how many of it are counted for another person."""

    event_name: str
    events: int


class Preview(msgspec.Struct, frozen=True, kw_only=True):
    """What would come of it; nothing is written. `before`, `after`: the persons, those with most
    ids first, at most 100 of each; `cut`: links, at most 1000. `events_moving`: events that would
    count for another person than now, by name in `metrics` (the 100 most frequent). `segments`:
    those in which any of the persons told of is or would be; null: too many events to judge.
    """

    outcome: str
    before: list[what_if.Person]
    before_total: int
    after: list[what_if.Person]
    after_total: int
    events_moving: int
    metrics: list[MetricTouched]
    segments: list[SegmentTouched] | None
    cut: list[tuple[str, str]]
    cut_total: int
    position: int
    message: str
    success: bool = True


@post("/v1/users/merge-preview", status_code=200)
async def preview_merge(
    request: Request[Any, Any, Any],
    adapters: NamedDependency[Adapters],
    reader: NamedDependency[Caller],
    data: JSONBody[AliasBody],
) -> Preview:
    check_body(await request.body(), AliasBody)
    asked = ids_in(data)
    await _refuse_erased(adapters, reader, asked)
    position = await _up_to_date_all(adapters)
    tried = await asyncio.to_thread(_try_merge, adapters, reader, asked, force=data.force)
    return await asyncio.to_thread(_preview, adapters, reader, tried, position)


@post("/v1/users/unmerge-preview", status_code=200)
async def preview_unmerge(
    request: Request[Any, Any, Any],
    adapters: NamedDependency[Adapters],
    reader: NamedDependency[Caller],
    data: JSONBody[UnmergePreviewBody],
) -> Preview:
    check_body(await request.body(), UnmergePreviewBody)
    names = names_of(data.user_id, "user_id")
    position = await _up_to_date_all(adapters)
    wanted = await asyncio.to_thread(try_unmerge, adapters, reader, names, data)
    return await asyncio.to_thread(_preview, adapters, reader, wanted.tried, position)


class IdsAsked(NamedTuple):
    """The ids that each of the two may mean."""

    user: tuple[str, ...]
    alias: tuple[str, ...]


def ids_in(data: AliasBody) -> IdsAsked:
    user_id, alias_id = data.user_id, data.alias_id
    if data.primary_user_id is not None:
        if user_id is not None:
            raise Rejected("primary_user_id", "stands for `user_id`; send one of the two")
        user_id_of(data.primary_user_id, "primary_user_id")
        user_id = data.primary_user_id
    if data.previous_id is not None:
        if alias_id not in {None, data.previous_id}:
            raise Rejected("previousId", "differs from `alias_id`; send one of the two")
        alias_id = data.previous_id
    if user_id is None:
        raise Rejected("user_id", "is missing")
    if alias_id is None:
        raise Rejected("alias_id", "is missing")
    return IdsAsked(names_of(user_id, "user_id"), names_of(alias_id, "alias_id"))


async def _refuse_erased(adapters: Adapters, reader: Caller, asked: IdsAsked) -> None:
    """As the link would be."""
    assert reader.app_id is not None  # a secret key is an app's
    barred = await adapters.barred.of(reader.app_id)
    for field, names in (("user_id", asked.user), ("alias_id", asked.alias)):
        if barred is not None and any(name in barred for name in names):
            raise Rejected(field, BARRED)


async def up_to_date(adapters: Adapters) -> int:
    """What was stored before this request counts; returns the position that is included."""
    standing = await asyncio.to_thread(adapters.positions.of, people.name)
    reached = await adapters.following.reached(people.name, standing.head, seconds=MAX_WAIT_SECONDS)
    return reached.position


async def _up_to_date_all(adapters: Adapters) -> int:
    """The same of all that a preview tells of."""
    position = await up_to_date(adapters)
    for name in (EVENTS, segments.name):
        await adapters.following.reached(name, position, seconds=MAX_WAIT_SECONDS)
    return position


def _try_merge(adapters: Adapters, reader: Caller, asked: IdsAsked, *, force: bool) -> Tried:
    app = reader.app_number or 0
    with at_one_moment(adapters) as connection:
        user, alias = (find_id(connection, app, names) for names in asked)
        refusal = refused_at_once(user, alias)
        if refusal is not None:
            return what_if.refused(refusal.reason)
        return what_if.try_merge(
            connection,
            app,
            Ids(stored(user, "user_id"), alias.number),
            names=(user.distinct_id, alias.distinct_id),
            forced=force,
            now=adapters.clock(),
        )


class Refusal(NamedTuple):
    field: str
    reason: Reason


def refused_at_once(user: Named, alias: Named) -> Refusal | None:
    """What no other link and no force could change."""
    for field, one in (("user_id", user), ("alias_id", alias)):
        if is_junk(one.distinct_id):
            return Refusal(field, "junk_id")
    return Refusal("alias_id", "cycle") if user.distinct_id == alias.distinct_id else None


def stored(one: Named, field: str) -> int:
    """Its number. Raises NotFound."""
    if one.number is None:
        raise NotFound(f"{field}: nobody with this id has sent anything", field=field)
    return one.number


class Unmerging(NamedTuple):
    """`at`: the time that the un-merge has to have."""

    user_id: str
    tried: Tried
    at: datetime


def try_unmerge(
    adapters: Adapters, caller: Caller, names: Sequence[str], data: UnmergeBody
) -> Unmerging:
    """Raises NotFound when there is nothing to cut."""
    if (data.alias_id is None) == (data.since is None):
        raise Rejected("alias_id", "is one of two: send either `alias_id` or `since`")
    if data.since is not None and not 0 <= data.since <= MAX_NUMBER:
        raise Rejected("since", "must be a position that a write answered")
    app = caller.app_number or 0
    with at_one_moment(adapters) as connection:
        user = find_id(connection, app, names)
        number, now = stored(user, "user_id"), adapters.clock()
        if data.since is not None:
            found = what_if.try_unmerge_since(connection, app, number, since=data.since, now=now)
            nothing = "no link that joins this person was made after that position"
        else:
            alias = find_id(connection, app, names_of(data.alias_id or "", "alias_id"))
            if alias.distinct_id == user.distinct_id:
                raise Rejected("alias_id", "is the id itself; name another one of the person's")
            other = stored(alias, "alias_id")
            found = what_if.try_unmerge(connection, app, (number, other), now)
            nothing = "alias_id is not linked to this user"
    if not found[0].pairs:
        raise NotFound(nothing, outcome="not_linked")
    return Unmerging(user.distinct_id, *found)


def _preview(adapters: Adapters, reader: Caller, tried: Tried, position: int) -> Preview:
    query = person_map.counts_of(reader.app_number or 0, tried.moving)
    rows = adapters.analytics.query(query.sql, query.parameters, LIGHT).rows if tried.moving else []
    return Preview(
        outcome=tried.outcome,
        before=tried.before.shown,
        before_total=tried.before.total,
        after=tried.after.shown,
        after_total=tried.after.total,
        events_moving=sum(row[1] for row in rows),
        metrics=[MetricTouched(event_name=name, events=count) for name, count in rows[:100]],
        segments=segments_touched(adapters, reader.app_number or 0, tried),
        cut=tried.pairs[: what_if.MOST_PAIRS],
        cut_total=len(tried.pairs),
        position=position,
        message=EXPLAINED.get(tried.outcome, "nothing was written"),
    )


ROUTES = (preview_merge, preview_unmerge)
