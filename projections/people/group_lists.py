"""Groups and who is in them, as they are now. past_groups.py has those of a past."""

from typing import Any, NamedTuple

import msgspec
from sqlalchemy import (
    BindParameter,
    Connection,
    Integer,
    Select,
    Text,
    bindparam,
    func,
    select,
    tuple_,
)

from domain.traits import Traits
from projections.array_rows import arrays, columns, each
from projections.people import shown
from projections.people.lists import describe
from projections.people.profiles import find_ids, read_traits
from projections.people.shown import GroupShown, MemberShown
from projections.people.tables import distinct_ids, group_members, groups

_d, _m, _g = distinct_ids.c, group_members.c, groups.c
Group = tuple[str, str]  # type, id


class GroupsWanted(msgspec.Struct, frozen=True, kw_only=True):
    """Of one type, or of all; sorted by type and id. `after`: the last one on the page before."""

    app_number: int
    group_type: str | None = None
    after: Group | None = None
    limit: int


class MembersWanted(msgspec.Struct, frozen=True, kw_only=True):
    """Sorted by the person's number. `after`: that of the last one on the page before."""

    app_number: int
    group: Group
    after: int = 0
    limit: int


class GroupsPage(NamedTuple):
    """`total`: of all that match, on whatever page."""

    groups: list[GroupShown]
    total: int


class MembersPage(NamedTuple):
    """`last`: the number of the last person on it."""

    members: list[MemberShown]
    last: int
    total: int


def list_groups(connection: Connection, wanted: GroupsWanted) -> GroupsPage:
    of_app = select(groups).where(_g.app_number == wanted.app_number)
    if wanted.group_type is not None:
        of_app = of_app.where(_g.group_type == wanted.group_type)
    count = connection.execute(select(func.count()).select_from(of_app.subquery())).scalar_one()
    place = (_g.group_type.collate("C"), _g.group_id.collate("C"))
    query = of_app.order_by(*place).limit(wanted.limit)
    if wanted.after is not None:
        query = query.where(tuple_(*place) > tuple_(*wanted.after))
    return GroupsPage(_shown(connection, wanted.app_number, connection.execute(query).all()), count)


def find_group(connection: Connection, app_number: int, group: Group) -> GroupShown | None:
    query = select(groups).where(
        _g.app_number == app_number, _g.group_type == group[0], _g.group_id == group[1]
    )
    found = _shown(connection, app_number, connection.execute(query).all())
    return found[0] if found else None


def list_members(connection: Connection, wanted: MembersWanted) -> MembersPage:
    members = _members(wanted).subquery()
    count = connection.execute(select(func.count()).select_from(members)).scalar_one()
    query = select(members).where(members.c.person > wanted.after).order_by(members.c.person)
    rows = connection.execute(query.limit(wanted.limit)).all()
    told = describe(connection, wanted.app_number, [row.person for row in rows])
    page = [shown.of_group(told[row.person], row.since) for row in rows]
    return MembersPage(page, rows[-1].person if rows else 0, count)


def _members(wanted: MembersWanted) -> Select[Any]:
    """(person, since)"""
    group_type, group_id = wanted.group
    return (
        select(_d.person, func.min(_m.position).label("since"))
        .join(group_members, (_m.app_number == _d.app_number) & (_m.number == _d.number))
        .where(
            _m.app_number == wanted.app_number,
            _m.group_type == group_type,
            _m.group_id == group_id,
        )
        .group_by(_d.person)
    )


def _shown(connection: Connection, app_number: int, rows: Any) -> list[GroupShown]:
    if not rows:
        return []
    of_group: dict[Group, Traits] = {
        (row.group_type, row.group_id): read_traits(row.folded) for row in rows
    }
    given = columns(zip(*of_group, strict=True), "group_type", "group_id") | {"app": app_number}
    members = {
        (row.group_type, row.group_id): row.members
        for row in connection.execute(_COUNT_MEMBERS, given)
    }
    numbers = {n for traits in of_group.values() for n in shown.numbers_in(traits)}
    senders = find_ids(connection, app_number, numbers)
    return [
        GroupShown(
            group_type=row.group_type,
            group_id=row.group_id,
            traits=shown.values(of_group[row.group_type, row.group_id]),
            trait_sources=shown.sources(of_group[row.group_type, row.group_id], senders),
            members=members[row.group_type, row.group_id],
            first_seen=row.first_seen,
            last_seen=row.last_seen,
        )
        for row in rows
    ]


_app: BindParameter[int] = bindparam("app", type_=Integer())
_given = arrays(group_type=Text(), group_id=Text())
_COUNT_MEMBERS = each(
    _given,
    select(
        _given.c.group_type.label("group_type"),
        _given.c.group_id.label("group_id"),
        func.count(_d.person.distinct()).label("members"),
    )
    .join(group_members, (_m.app_number == _d.app_number) & (_m.number == _d.number))
    .where(
        _m.app_number == _app,
        _m.group_type == _given.c.group_type,
        _m.group_id == _given.c.group_id,
    )
    .group_by(_given.c.group_type, _given.c.group_id),
)
