"""Lists of persons as they are now. past_lists.py has those of a past."""

from collections.abc import Callable
from datetime import datetime
from typing import Any, Literal

import msgspec
from sqlalchemy import (
    ARRAY,
    BindParameter,
    Connection,
    Integer,
    Select,
    Text,
    bindparam,
    func,
    null,
    or_,
    select,
)
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.sql.selectable import CTE

from domain.conditions import Where
from projections.array_rows import arrays, columns, each
from projections.people import shown
from projections.people.profiles import age, read_traits
from projections.people.shown import Found, Listed, Page, Totals
from projections.people.tables import distinct_ids, persons
from projections.people.trait_conditions import all_of

Sort = Literal["created", "last_seen", "first_seen", "user_id"]
Key = datetime | str | None
_LAST = "\U0010ffff"

_d, _p = distinct_ids.c, persons.c


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """All that is given must hold. `search`: how an id begins, or the trait email in any case.
    `sort`: newest first, by the person's number or by when they were seen; `user_id` A first.
    `after`: (key, person) of the last one on the page before.
    """

    app_number: int
    where: tuple[Where, ...] = ()
    search: str | None = None
    sort: Sort = "created"
    after: tuple[Key, int] | None = None
    limit: int


def list_persons(connection: Connection, wanted: Wanted) -> Page:
    matching = _matching(wanted)
    count = connection.execute(select(func.count()).select_from(matching.subquery())).scalar_one()
    rows = connection.execute(_page(wanted, matching.cte("matching"))).all()
    told = describe(connection, wanted.app_number, [row.person for row in rows])
    return Page([Found(row.key, row.person, told[row.person]) for row in rows], count)


def describe(connection: Connection, app_number: int, numbers: list[int]) -> dict[int, Listed]:
    """Number of a person -> how the person is listed."""
    if not numbers:
        return {}
    given = columns([tuple(numbers)], "person") | {"app": app_number}
    return {
        row.person: shown.listed(
            row.user_id,
            Totals(row.ids, int(row.messages), row.first_seen, row.last_seen),
            read_traits(row.folded),
        )
        for row in connection.execute(_DESCRIBE, given)
    }


def after_prefix(prefix: str) -> str | None:
    """The first text after all that begin so; None: there is none."""
    rest = prefix.rstrip(_LAST)
    if not rest:
        return None
    following = ord(rest[-1]) + 1
    return rest[:-1] + ("\ue000" if following == 0xD800 else chr(following))  # noqa: PLR2004  no text has surrogates


def _matching(wanted: Wanted) -> Select[Any]:
    """(person)"""
    query = select(_d.person).where(_d.app_number == wanted.app_number, _d.person == _d.number)
    if wanted.where:
        traits = (_p.app_number == _d.app_number) & (_p.person == _d.number)
        query = query.outerjoin(persons, traits).where(*all_of(wanted.where, _p.traits))
    if wanted.search is not None:
        query = query.where(_d.number.in_(_searched(wanted.app_number, wanted.search)))
    return query


def _searched(app_number: int, search: str) -> Any:
    ids = select(_d.person).where(_d.app_number == app_number, *_begins(_d.distinct_id, search))
    emails = select(_p.person).where(
        _p.app_number == app_number, *_begins(_p.email, search.lower())
    )
    return ids.union(emails)


def _begins(column: ColumnElement[Any], prefix: str) -> list[ColumnElement[Any]]:
    """As a range, which an index finds whatever is asked for."""
    end = after_prefix(prefix)
    return [column >= prefix] if end is None else [column >= prefix, column < end]


def _page(wanted: Wanted, matching: CTE) -> Select[Any]:
    """(person, key)"""
    if wanted.sort == "created":
        person = matching.c.person
        query = select(person, null().label("key")).order_by(person.desc())
        if wanted.after is not None:
            query = query.where(person < wanted.after[1])
        return query.limit(wanted.limit)
    member = distinct_ids.alias("member")
    of_person = (member.c.app_number == wanted.app_number) & (member.c.person == matching.c.person)
    key = _KEYS[wanted.sort](member.c)
    keyed = (
        select(matching.c.person, key.label("key"))
        .join(member, of_person)
        .group_by(matching.c.person)
        .subquery()
    )
    query = select(keyed.c.person, keyed.c.key).limit(wanted.limit)
    if wanted.sort == "user_id":
        return _by_name(query, keyed.c, wanted.after)
    return _by_time(query, keyed.c, wanted.after)


def _by_name(query: Select[Any], of: Any, after: tuple[Key, int] | None) -> Select[Any]:
    if after is not None:
        query = query.where(of.key > after[0])
    return query.order_by(of.key)


def _by_time(query: Select[Any], of: Any, after: tuple[Key, int] | None) -> Select[Any]:
    """The newest first, and those never seen at the end."""
    if after is not None:
        key, person = after
        later = of.person < person
        if key is None:
            query = query.where(of.key.is_(None), later)
        else:
            query = query.where(or_(of.key < key, (of.key == key) & later, of.key.is_(None)))
    return query.order_by(of.key.desc().nulls_last(), of.person.desc())


def _user_id(of: Any) -> ColumnElement[Any]:
    """The first by age, of a group of ids."""
    ordered: Any = func.array_agg(aggregate_order_by(of.distinct_id, *age(of)), type_=ARRAY(Text))
    first: ColumnElement[Any] = ordered[1].collate("C")
    return first


_KEYS: dict[str, Callable[[Any], ColumnElement[Any]]] = {
    "last_seen": lambda of: func.max(of.last_seen),
    "first_seen": lambda of: func.min(of.first_seen),
    "user_id": _user_id,
}
_app: BindParameter[int] = bindparam("app", type_=Integer())
_given = arrays(person=Integer())
_FOLDED = select(_p.folded).where(_p.app_number == _app, _p.person == _given.c.person)
_DESCRIBE = each(
    _given,
    select(
        _given.c.person.label("person"),
        func.count().label("ids"),
        func.sum(_d.messages).label("messages"),
        func.min(_d.first_seen).label("first_seen"),
        func.max(_d.last_seen).label("last_seen"),
        _user_id(_d).label("user_id"),
        _FOLDED.correlate(_given).scalar_subquery().label("folded"),
    )
    .where(_d.app_number == _app, _d.person == _given.c.person)
    .group_by(_given.c.person),
)
