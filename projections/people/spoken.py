"""The histories of a person: what was said of links, and every operation on a trait."""

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import (
    ARRAY,
    Connection,
    Integer,
    Select,
    Subquery,
    any_,
    bindparam,
    or_,
    select,
    tuple_,
)

from domain.past import Past
from domain.traits import operations_in
from projections.array_rows import arrays, columns, each
from projections.people.said import read_said
from projections.people.tables import distinct_ids, link_history, said

_CHUNK = 1000  # messages read at once
_h, _s = link_history.c, said.c


class LinkSaid(msgspec.Struct, frozen=True, kw_only=True):
    """Something that was said of a pair of `ids`, and what came of it when it was recorded
    (`outcome`: domain/identity.Outcome; of an unlink: unlinked). `together`: whether the two are
    one person at the moment that was asked about, which what is said of them and of others
    meanwhile may have changed. `key_id`, `note`: who forced or cut it, and why.
    """

    position: int
    timestamp: datetime
    verb: str
    ids: tuple[str, str]
    outcome: str
    together: bool
    key_id: str | None
    note: str | None


class TraitSaid(msgspec.Struct, frozen=True, kw_only=True):
    """`value` is null for unset."""

    trait: str
    operation: str
    value: Any
    timestamp: datetime
    position: int
    distinct_id: str


class LinkPlace(NamedTuple):
    """Where in the history of links a page ends."""

    position: int
    low: int
    high: int


class TraitPlace(NamedTuple):
    """Where in the history of traits a page ends: within a message, by its operations."""

    timestamp: datetime
    event_id: bytes
    ordinal: int


class LinksWanted(NamedTuple):
    """Of these ids, which are all of a person. `after`: the last one on the page before. Times of
    events count for nothing.
    """

    app_number: int
    numbers: Sequence[int]
    known_at: int | None
    after: LinkPlace | None
    limit: int


class OperationsWanted(NamedTuple):
    """Of these ids; of one trait, or of all. `after`: the last one on the page before."""

    app_number: int
    numbers: Sequence[int]
    past: Past
    trait: str | None
    after: TraitPlace | None
    limit: int


def list_links(connection: Connection, wanted: LinksWanted) -> list[tuple[LinkPlace, LinkSaid]]:
    """The newest first."""
    links = _links(wanted).subquery()
    low, high = distinct_ids.alias("low_id"), distinct_ids.alias("high_id")
    query = (
        select(links, low.c.distinct_id.label("one"), high.c.distinct_id.label("other"))
        .join(low, (low.c.app_number == links.c.app_number) & (low.c.number == links.c.low))
        .join(high, (high.c.app_number == links.c.app_number) & (high.c.number == links.c.high))
        .order_by(links.c.position.desc(), links.c.low.desc(), links.c.high.desc())
    )
    rows = connection.execute(query, {"numbers": list(wanted.numbers)})
    numbers = frozenset(wanted.numbers)
    return [(LinkPlace(row.position, row.low, row.high), _link(row, numbers)) for row in rows]


def _links(wanted: LinksWanted) -> Select[Any]:
    """Of a page. By an array: of a person with many ids one id has nearly all links, from which the
    planner would take it that every id has, and read the whole table for each.
    """
    place = (_h.position, _h.low, _h.high)
    numbers = bindparam("numbers", type_=ARRAY(Integer()))
    query = (
        select(link_history)
        .where(
            _h.app_number == wanted.app_number,
            or_(_h.low == any_(numbers), _h.high == any_(numbers)),
        )
        .order_by(*(one.desc() for one in place))
        .limit(wanted.limit)
    )
    if wanted.known_at is not None:
        query = query.where(_h.position <= wanted.known_at)
    return query if wanted.after is None else query.where(tuple_(*place) < tuple_(*wanted.after))


def _link(row: Any, numbers: Collection[int]) -> LinkSaid:
    return LinkSaid(
        position=row.position,
        timestamp=row.timestamp,
        verb=row.verb,
        ids=(row.one, row.other),
        outcome=row.outcome,
        together=row.low in numbers and row.high in numbers,
        key_id=row.key_id,
        note=row.note,
    )


def list_operations(
    connection: Connection, wanted: OperationsWanted
) -> list[tuple[TraitPlace, TraitSaid]]:
    """The newest first: the later of two decides what a trait is."""
    found: list[tuple[TraitPlace, TraitSaid]] = []
    messages, after = _messages(wanted), wanted.after
    given = columns([tuple(wanted.numbers)], "number")
    while len(found) < wanted.limit:
        rows = connection.execute(_from(messages, after), given).all()
        for place, one in _operations(rows):
            if wanted.trait in {None, one.trait} and (after is None or place < after):
                found.append((place, one))
        if len(rows) < _CHUNK:
            break
        after = TraitPlace(rows[-1].timestamp, bytes(rows[-1].event_id), 0)
    return found[: wanted.limit]


def _messages(wanted: OperationsWanted) -> Subquery:
    d, past = distinct_ids.c, wanted.past
    query = (
        select(said, d.distinct_id)
        .join(distinct_ids, (d.app_number == _s.app_number) & (d.number == _s.number))
        .where(
            _s.app_number == wanted.app_number,
            _s.number == _given.c.number,
            _s.kind == "identify",
            or_(_s.traits.is_not(None), _s.operations.is_not(None)),
        )
    )
    if past.known_at is not None:
        query = query.where(_s.position <= past.known_at)
    if past.as_of is not None:
        query = query.where(_s.timestamp <= past.as_of)
    return each(_given, query).subquery()


def _from(messages: Subquery, after: TraitPlace | None) -> Select[Any]:
    place = (messages.c.timestamp, messages.c.event_id)
    query = select(messages).order_by(*(one.desc() for one in place)).limit(_CHUNK)
    return query if after is None else query.where(tuple_(*place) <= tuple_(*after[:2]))


def _operations(rows: Sequence[Any]) -> Iterator[tuple[TraitPlace, TraitSaid]]:
    for row in rows:
        told = list(enumerate(operations_in(read_said(row))))
        for ordinal, (operation, trait, value) in reversed(told):
            yield (
                TraitPlace(row.timestamp, bytes(row.event_id), ordinal),
                TraitSaid(
                    trait=trait,
                    operation=operation,
                    value=None if value is None else msgspec.json.decode(value),
                    timestamp=row.timestamp,
                    position=row.position,
                    distinct_id=row.distinct_id,
                ),
            )


_given = arrays(number=Integer())
