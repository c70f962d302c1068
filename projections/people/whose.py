"""Which ids are one person's, now or at a position of the log."""

from typing import Any, NamedTuple

from sqlalchemy import BindParameter, Connection, Integer, Text, bindparam, func, select
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.types import BigInteger

from projections.people.tables import distinct_ids, person_changes

_d, _c = distinct_ids.c, person_changes.c


class Whose(NamedTuple):
    """`number`: of the id that was asked for; `person`: that of the person; `numbers`: of all ids
    of the person, ascending.
    """

    number: int
    person: int
    numbers: tuple[int, ...]


def find_whose(
    connection: Connection, app_number: int, distinct_id: str, known_at: int | None = None
) -> Whose | None:
    """None: there is no such id. `known_at`: a position, None: now."""
    given = {"app": app_number, "id": distinct_id, "known_at": known_at}
    query = _NOW if known_at is None else _THEN
    rows = connection.execute(query, given).all()
    return Whose(rows[0].asked, rows[0].person, tuple(row.number for row in rows)) if rows else None


def persons_then(connection: Connection, app_number: int, known_at: int) -> dict[int, int]:
    """Number -> person, of those that belonged to another number's person at the position."""
    rows = connection.execute(_PERSONS_THEN, {"app": app_number, "known_at": known_at})
    return {row.number: row.person for row in rows}


_app: BindParameter[int] = bindparam("app", type_=Integer())
_known_at: BindParameter[int] = bindparam("known_at", type_=BigInteger())
_me = (
    select(_d.number, _d.person, _d.position)
    .where(_d.app_number == _app, _d.distinct_id == bindparam("id", type_=Text()))
    .cte("me")
)
_NOW = (
    select(_me.c.number.label("asked"), _me.c.person, _d.number)
    .join(distinct_ids, (_d.app_number == _app) & (_d.person == _me.c.person))
    .order_by(_d.number)
)


def _person_of(number: Any) -> Any:
    """At the position: that of the last change until then, else the number itself."""
    last = (
        select(_c.person)
        .where(_c.app_number == _app, _c.number == number, _c.position <= _known_at)
        .order_by(_c.position.desc())
        .limit(1)
        .scalar_subquery()
    )
    return func.coalesce(last, number)


def _then() -> Any:
    me = (
        select(_me.c.number, _person_of(_me.c.number).label("person"))
        .where(_me.c.position <= _known_at)
        .cte("then")
    )
    once = (
        select(_c.number)
        .join(me, _c.person == me.c.person)
        .where(_c.app_number == _app, _c.position <= _known_at)
    )
    maybe = once.union(select(me.c.person)).subquery()
    return (
        select(me.c.number.label("asked"), me.c.person, maybe.c.number)
        .where(_person_of(maybe.c.number) == me.c.person)
        .order_by(maybe.c.number)
    )


_THEN = _then()
_PERSONS_THEN = (
    select(_c.number, _c.person)
    .ext(distinct_on(_c.number))
    .where(_c.app_number == _app, _c.position <= _known_at)
    .order_by(_c.number, _c.position.desc())
)
