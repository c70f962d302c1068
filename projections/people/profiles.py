"""Who somebody is now."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import (
    BindParameter,
    Connection,
    Integer,
    Text,
    bindparam,
    case,
    cast,
    func,
    select,
)
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.sql.selectable import FromClause

from domain.traits import Traits
from projections.array_rows import arrays, columns, each
from projections.people import shown
from projections.people.shown import MOST_IDS, Member, Profile, Totals
from projections.people.tables import distinct_ids, group_members, persons

_decode_traits = msgspec.json.Decoder(Traits).decode
_decode_members = msgspec.json.Decoder(list[Member]).decode
_decode_groups = msgspec.json.Decoder(list[tuple[str, str, int]]).decode


# How many ids the app has, whose numbers are 1 to that.
COUNT_OF_IDS = select(func.coalesce(func.max(distinct_ids.c.number), 0).label("ids")).where(
    distinct_ids.c.app_number == bindparam("app", type_=Integer)
)


def find_profile(connection: Connection, app_number: int, distinct_id: str) -> Profile | None:
    """None: nobody has this id. All of it is as of one moment, since it is one statement."""
    found = read(connection.execute(PROFILE, {"app": app_number, "id": distinct_id}).one())
    if found is None:
        return None
    return found.profile(find_ids(connection, app_number, found.missing))


class Read(NamedTuple):
    """A profile, but for the ids that gave traits and are not among those shown: `missing`."""

    members: Sequence[Member]
    totals: Totals
    traits: Traits
    groups: list[tuple[str, str, int]]

    @property
    def missing(self) -> set[int]:
        return shown.numbers_in(self.traits) - {member.number for member in self.members}

    def profile(self, others: Mapping[int, str]) -> Profile:
        senders = {**others, **{member.number: member.distinct_id for member in self.members}}
        return shown.profile(
            self.members, self.totals, self.traits, senders=senders, groups=self.groups
        )


def read(row: Any) -> Read | None:
    """From what PROFILE gives. None: nobody has this id."""
    if row.asked is None:
        return None
    return Read(
        shown.chosen(_decode_members(row.members), row.asked),
        Totals(row.ids, int(row.messages), row.first_seen, row.last_seen),
        read_traits(row.folded),
        _decode_groups(row.groups or "[]"),
    )


def find_ids(connection: Connection, app_number: int, numbers: set[int]) -> dict[int, str]:
    """Number -> id."""
    if not numbers:
        return {}
    given = columns([tuple(numbers)], "number") | {"app": app_number}
    return {row.number: row.distinct_id for row in connection.execute(_IDS, given)}


def read_traits(folded: str | None) -> Traits:
    """From persons.folded."""
    return {} if folded is None else _decode_traits(folded)


def age(of: Any) -> list[ColumnElement[Any]]:
    """As shown.age sorts. `of`: the columns of distinct_ids."""
    return [
        of.known_since.asc().nulls_last(),
        case((of.known_since.is_(None), of.first_seen)).asc().nulls_last(),
        of.distinct_id,
    ]


_app: BindParameter[int] = bindparam("app", type_=Integer())
_given = arrays(number=Integer())
_IDS = each(
    _given,
    select(distinct_ids.c.number, distinct_ids.c.distinct_id).where(
        distinct_ids.c.app_number == _app, distinct_ids.c.number == _given.c.number
    ),
)


def _array(*values: Any) -> ColumnElement[Any]:
    return func.json_agg(func.json_build_array(*values))


def _profile() -> Any:
    d, m, p = distinct_ids.c, group_members.c, persons.c
    wanted = bindparam("id", type_=Text())
    me = select(d.number, d.person).where(d.app_number == _app, d.distinct_id == wanted).cte("me")
    person = select(me.c.person).scalar_subquery()
    ids = select(distinct_ids).where(d.app_number == _app, d.person == person).cte("ids")
    of_id = select(m.group_type, m.group_id, m.position).where(
        m.app_number == _app, m.number == ids.c.number
    )
    all_of = each(ids, of_id).subquery()
    kind, group = all_of.c.group_type, all_of.c.group_id
    groups = (
        select(kind, group, func.min(all_of.c.position).label("since"))
        .group_by(kind, group)
        .order_by(kind.collate("C"), group.collate("C"))
        .subquery()
    )
    return select(
        func.count().label("ids"),
        func.coalesce(func.sum(ids.c.messages), 0).label("messages"),
        func.min(ids.c.first_seen).label("first_seen"),
        func.max(ids.c.last_seen).label("last_seen"),
        select(me.c.number).scalar_subquery().label("asked"),
        select(cast(_array(*_columns(_some(ids, me))), Text)).scalar_subquery().label("members"),
        select(cast(_array(*groups.c), Text)).scalar_subquery().label("groups"),
        select(p.folded)
        .where(p.app_number == _app, p.person == person)
        .scalar_subquery()
        .label("folded"),
    ).select_from(ids)


def _some(ids: FromClause, me: FromClause) -> FromClause:
    """The oldest, and the one that was asked for."""
    oldest = select(ids).order_by(*age(ids.c)).limit(MOST_IDS)
    asked = select(ids).where(ids.c.number == select(me.c.number).scalar_subquery())
    return oldest.union(asked).subquery()


def _columns(of: FromClause) -> list[ColumnElement[Any]]:
    """In the order of a Member."""
    return [of.c[name] for name in Member.__struct_fields__]


PROFILE = _profile()  # app: number of the app; id: any of the person's
