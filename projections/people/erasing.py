"""Erasing a person: who that is, where the log speaks of them, and what stays of them here.

Afterwards the tables are what `apply` makes of the rewritten log: ids have other names and the same
numbers, and what was said of the person is gone.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Connection, Integer, Text, bindparam, delete, or_, select, update
from sqlalchemy.types import BigInteger

from domain.junk import is_junk
from domain.traits import fold
from projections.array_rows import arrays, columns
from projections.people.said import read_said
from projections.people.tables import (
    distinct_ids,
    group_members,
    groups,
    link_history,
    persons,
    said,
)

_d, _s, _h = distinct_ids.c, said.c, link_history.c
_encode = msgspec.json.Encoder().encode


class Member(NamedTuple):
    distinct_id: str
    number: int
    messages: int


def members(connection: Connection, app_number: int, ids: Collection[str]) -> list[Member]:
    """All ids of the persons that these belong to."""
    one = distinct_ids.alias("one")
    given = columns([tuple(ids)], "distinct_id") | {"app": app_number}
    wanted = (
        select(_d.distinct_id, _d.number, _d.messages)
        .distinct()
        .join(one, (one.c.app_number == _d.app_number) & (one.c.person == _d.person))
        .join(_ids, one.c.distinct_id == _ids.c.distinct_id)
        .where(one.c.app_number == bindparam("app"))
        .order_by(_d.number)
    )
    return [Member(*row) for row in connection.execute(wanted, given)] if ids else []


def never_sent(connection: Connection, app_number: int, ids: Collection[str]) -> list[str]:
    """Those of the ids that only ever stood beside others, and that are linked with none."""
    if not ids:
        return []
    wanted = (
        select(_d.distinct_id)
        .join(_ids, _d.distinct_id == _ids.c.distinct_id)
        .where(_d.app_number == app_number, _d.messages == 0, _d.newest_link.is_(None))
    )
    found = connection.execute(wanted, columns([tuple(ids)], "distinct_id")).scalars()
    return [one for one in found if not is_junk(one)]


def spoken_at(connection: Connection, app_number: int, numbers: Collection[int]) -> set[int]:
    """Positions of what was said by these ids or of their links."""
    given = columns([tuple(numbers)], "number") | {"app": app_number}
    own = select(_s.position).join(_numbers, _s.number == _numbers.c.number)
    linked = select(_h.position).join(
        _numbers, or_(_h.low == _numbers.c.number, _h.high == _numbers.c.number)
    )
    found = connection.execute(own.where(_s.app_number == bindparam("app")), given).scalars()
    cut = connection.execute(linked.where(_h.app_number == bindparam("app")), given).scalars()
    return {*found, *cut}


def may_mention_others(connection: Connection, app_number: int) -> list[int]:
    """Positions of messages that may name an id in a field of which no table tells."""
    named = select(_s.position).where(_s.app_number == app_number, _s.kind != "identify")
    cut = select(_h.position).where(_h.app_number == app_number, _h.verb == "unlink")
    return sorted(set(connection.execute(named).scalars()) | set(connection.execute(cut).scalars()))


def erase(
    connection: Connection,
    app_number: int,
    names: Mapping[int, str],
    positions: Collection[int],
) -> None:
    """`names`: number -> pseudonym, of all ids of the person; `positions`: of what was rewritten.
    Whoever calls it holds the checkpoint.
    """
    given = columns([tuple(names)], "number") | {"app": app_number}
    of_person = {row.person for row in connection.execute(_PERSONS, given)}
    spoken_of = {tuple(row) for row in connection.execute(_GROUPS, given)}
    connection.execute(_RENAME, given | columns([tuple(names.values())], "distinct_id"))
    connection.execute(_EMPTY, given)
    if positions:
        at = columns([tuple(positions)], "position") | {"app": app_number}
        connection.execute(_NO_NOTE, at)
    if of_person:
        connection.execute(_NO_TRAITS, columns([tuple(of_person)], "person") | {"app": app_number})
    if spoken_of:
        _fold_groups(connection, app_number, spoken_of)


def _fold_groups(
    connection: Connection, app_number: int, wanted: Collection[tuple[Any, ...]]
) -> None:
    messages: dict[tuple[str, str], list[Any]] = defaultdict(list)
    given = columns(zip(*wanted, strict=True), "group_type", "group_id") | {"app": app_number}
    for row in connection.execute(_SAID_OF_GROUPS, given):
        messages[row.group_type, row.group_id].append(row)
    rows = [(*group, _folded(of_group)) for group, of_group in messages.items()]
    connection.execute(
        _REFOLD,
        columns(zip(*rows, strict=True), "group_type", "group_id", "folded") | {"app": app_number},
    )


def _folded(rows: Iterable[Any]) -> str:
    return _encode(dict(sorted(fold(map(read_said, rows)).items()))).decode()


_ids = arrays(distinct_id=Text())
_numbers = arrays(number=Integer())
_named = arrays(number=Integer(), distinct_id=Text())
_positions = arrays(position=BigInteger())
_some_persons = arrays(person=Integer())
_some_groups = arrays(group_type=Text(), group_id=Text())
_folds = arrays(group_type=Text(), group_id=Text(), folded=Text())
_app = bindparam("app", type_=Integer())

_PERSONS = (
    select(_d.person)
    .distinct()
    .join(_numbers, _d.number == _numbers.c.number)
    .where(_d.app_number == _app)
)
_GROUPS = (
    select(group_members.c.group_type, group_members.c.group_id)
    .distinct()
    .join(_numbers, group_members.c.number == _numbers.c.number)
    .where(group_members.c.app_number == _app)
)
_RENAME = (
    update(distinct_ids)
    .values(distinct_id=_named.c.distinct_id)
    .where(_d.app_number == _app, _d.number == _named.c.number)
)
_EMPTY = (
    update(said)
    .values(traits=None, operations=None)
    .where(_s.app_number == _app, _s.number == _numbers.c.number)
)
_NO_NOTE = (
    update(link_history)
    .values(note=None)
    .where(_h.app_number == _app, _h.position == _positions.c.position)
)
_NO_TRAITS = delete(persons).where(
    persons.c.app_number == _app, persons.c.person == _some_persons.c.person
)
_SAID_OF_GROUPS = (
    select(said)
    .join(
        _some_groups,
        (_s.group_type == _some_groups.c.group_type) & (_s.group_id == _some_groups.c.group_id),
    )
    .where(_s.app_number == _app)
)
_REFOLD = (
    update(groups)
    .values(folded=_folds.c.folded)
    .where(
        groups.c.app_number == _app,
        groups.c.group_type == _folds.c.group_type,
        groups.c.group_id == _folds.c.group_id,
    )
)
