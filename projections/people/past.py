"""Who somebody was: at a position of the log, and of what had happened up to a time.

Who belongs to whom follows the position alone. What was sent is counted in ClickHouse, what was
said of people in the table of it; both keep everything with its position and its own time.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import Connection, Integer, Select, select

from domain.past import Past
from domain.traits import Said, Traits, fold
from projections import event_queries
from projections.array_rows import arrays, columns, each
from projections.event_queries import Query
from projections.people import shown
from projections.people.said import read_said
from projections.people.shown import Member, Profile
from projections.people.tables import distinct_ids, said
from projections.people.whose import Whose, find_whose

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Ask = Callable[[Query], Sequence[Sequence[Any]]]  # of ClickHouse: the rows


class Then(NamedTuple):
    """A past of one app's people, and where to read it. `past.known_at` is there."""

    connection: Connection
    ask: Ask
    app_number: int
    past: Past

    @property
    def known_at(self) -> int:
        assert self.past.known_at is not None
        return self.past.known_at


class Sent(NamedTuple):
    """What was sent with an id, of one kind or the other."""

    messages: int
    first: datetime
    last: datetime
    known_since: datetime | None


def find_profile(then: Then, distinct_id: str) -> Profile | None:
    """None: nobody had this id."""
    whose = find_whose(then.connection, then.app_number, distinct_id, then.known_at)
    return None if whose is None else _profile(then, whose)


def _profile(then: Then, whose: Whose) -> Profile:
    told = said_by(then, whose.numbers)
    members = members_of(then, told, whose.numbers)
    traits = traits_of(told)
    return shown.profile(
        shown.chosen(members.values(), whose.number),
        shown.totals(members.values()),
        traits,
        senders={number: member.distinct_id for number, member in members.items()},
        groups=_groups_of(told),
    )


def said_by(then: Then, numbers: Collection[int] | None = None) -> Sequence[Any]:
    """Rows of what they said, or all; see `limited`."""
    if numbers is None:
        return then.connection.execute(limited(select(said), then)).all()
    query = each(_given, limited(select(said).where(said.c.number == _given.c.number), then))
    return then.connection.execute(query, columns([tuple(numbers)], "number")).all()


def limited(query: Select[Any], then: Then) -> Select[Any]:
    """What of the table `said` there was then."""
    query = query.where(said.c.app_number == then.app_number, said.c.position <= then.known_at)
    until = then.past.as_of
    return query if until is None else query.where(said.c.timestamp <= until)


def traits_of(told: Iterable[Any]) -> Traits:
    """Of rows of `said`."""
    return fold(spoken(told))


def spoken(told: Iterable[Any]) -> list[Said]:
    return [
        read_said(row)
        for row in told
        if row.kind == "identify" and (row.traits is not None or row.operations is not None)
    ]


def members_of(
    then: Then, told: Iterable[Any], numbers: Collection[int] | None = None
) -> dict[int, Member]:
    """Number -> its id with what it had sent. `told`: what these ids, or all, had said."""
    d = distinct_ids.c
    query = select(d.number, d.distinct_id).where(
        d.app_number == then.app_number, d.position <= then.known_at
    )
    given = {}
    if numbers is not None:
        query = each(_given, query.where(d.number == _given.c.number))
        given = columns([tuple(numbers)], "number")
    sent = _sent(then, told, numbers)
    return {
        row.number: _member(row.number, row.distinct_id, sent.get(row.number, ()))
        for row in then.connection.execute(query, given)
    }


def _sent(
    then: Then, told: Iterable[Any], numbers: Collection[int] | None
) -> Mapping[int, Sequence[Sent]]:
    found: dict[int, list[Sent]] = defaultdict(list)
    for row in told:
        found[row.number].append(Sent(1, row.timestamp, row.timestamp, row.known_since))
    query = event_queries.sent(then.app_number, numbers, then.past)
    for number, messages, first, last, known in then.ask(query):
        since = None if known is None else _time(known)
        found[number].append(Sent(messages, _time(first), _time(last), since))
    return found


def _time(micros: int) -> datetime:
    return _EPOCH + timedelta(microseconds=micros)


def _member(number: int, distinct_id: str, sent: Sequence[Sent]) -> Member:
    if not sent:
        return Member(number, distinct_id)
    return Member(
        number,
        distinct_id,
        sum(one.messages for one in sent),
        min(one.first for one in sent),
        max(one.last for one in sent),
        min((one.known_since for one in sent if one.known_since), default=None),
    )


def _groups_of(told: Iterable[Any]) -> list[tuple[str, str, int]]:
    since: dict[tuple[str, str], int] = {}
    for row in told:
        if row.kind == "group":
            key = (row.group_type, row.group_id)
            since[key] = min(since.get(key, row.position), row.position)
    return [(*key, since[key]) for key in sorted(since)]


_given = arrays(number=Integer())


def listed(
    then: Then, persons: Iterable[int], person_of: Mapping[int, int]
) -> dict[int, shown.Listed]:
    """Number of a person then -> how the person was listed. `person_of`: whose.persons_then."""
    wanted = set(persons)
    numbers = wanted | {number for number, person in person_of.items() if person in wanted}
    numbers = {number for number in numbers if person_of.get(number, number) in wanted}
    if not numbers:
        return {}
    told = said_by(then, numbers)
    of_person: dict[int, list[Any]] = defaultdict(list)
    for row in told:
        of_person[person_of.get(row.number, row.number)].append(row)
    members: dict[int, list[Any]] = defaultdict(list)
    for number, member in members_of(then, told, numbers).items():
        members[person_of.get(number, number)].append(member)
    return {
        person: shown.listed(
            min(ids, key=shown.age).distinct_id,
            shown.totals(ids),
            traits_of(of_person[person]),
        )
        for person, ids in members.items()
    }
