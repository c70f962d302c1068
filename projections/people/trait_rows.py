"""The traits of persons at every position of the log, as rows: what a person's traits are from a
position on. Found from what was said and from who belonged to whom, so nothing is kept for it.
"""

from collections import OrderedDict, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import BigInteger, Connection, Integer, bindparam, select

from domain.traits import Said, Traits, fold, take
from projections import apps
from projections.array_rows import arrays, columns, each
from projections.people.said import Person, read_said
from projections.people.tables import person_changes, said

NONE = "{}"
_PAGE = 100_000  # positions at once
_REMEMBERED = 200_000  # traits of persons, all together
_encode = msgspec.json.Encoder().encode
_Number = tuple[int, int]  # app number, number of a distinct id


class TraitRow(NamedTuple):
    """From `position` on the person has these traits: a JSON object, `{}` for none."""

    app_number: int
    person: int
    position: int
    traits: str


class _Move(NamedTuple):
    position: int
    number: _Number
    person: Person


class _Folded(NamedTuple):
    traits: Traits
    shown: str


class TraitRows:
    """Goes along the log and remembers what it folded last. For one thread."""

    def __init__(self) -> None:
        self._remembered: OrderedDict[Person, _Folded] = OrderedDict()
        self._size = 0
        self._position = 0

    def forget(self) -> None:
        """What was said may have been rewritten."""
        self._remembered.clear()
        self._size = 0

    def between(self, connection: Connection, after: int, upto: int) -> Iterator[TraitRow]:
        """Of all apps, each where the traits change at a position in (after, upto], in the order
        of the log. The read model must have come to `upto`.
        """
        if after != self._position:
            self.forget()
        of_apps = sorted(apps.numbers(connection).values())
        while after < upto and of_apps:
            last = min(upto, after + _PAGE)
            given = columns([tuple(of_apps)], "app_number") | {"after": after, "upto": last}
            told = [_told(row) for row in connection.execute(_SAID_IN, given)]
            moves = [_move(row) for row in connection.execute(_MOVES_IN, given)]
            if told or moves:
                walk = _Walk(connection, after, self._remembered)
                yield from walk.rows(told, moves)
                self._remember(walk.folded)
            after = self._position = last
        self._position = upto

    def _remember(self, folded: dict[Person, _Folded]) -> None:
        for person, one in folded.items():
            before = self._remembered.pop(person, None)
            self._size -= 0 if before is None else 1 + len(before.traits)
            self._remembered[person] = one
            self._size += 1 + len(one.traits)
        while self._size > _REMEMBERED:
            _, oldest = self._remembered.popitem(last=False)
            self._size -= 1 + len(oldest.traits)


def trait_rows_of(
    connection: Connection, app_number: int, persons: Collection[int], upto: int
) -> Iterator[TraitRow]:
    """All rows of these persons, up to the position."""
    wanted = {(app_number, person) for person in persons}
    numbers = _ever_theirs(connection, wanted, upto)
    moves = _moves_of(connection, numbers, upto)
    told = [_told(row) for row in _said_of(connection, numbers, upto)]
    # Of others these rows would be wrong: not all that their ids said is here.
    found = _Walk(connection, 0, {}).rows(told, moves)
    return (row for row in found if row[:2] in wanted)


def persons_spoken_of(
    connection: Connection, app_number: int, positions: Collection[int]
) -> set[int]:
    """All persons that the senders of the messages at these positions have ever belonged to."""
    if not positions:
        return set()
    given = columns([tuple(positions)], "position") | {"app": app_number}
    numbers = set(connection.execute(_SENDERS, given).scalars())
    moves = _moves_of(connection, {(app_number, number) for number in numbers}, _EVER)
    return {*numbers, *(move.person[1] for move in moves)}


class _Walk:
    """From the state at `after` on, through what was said and moved since."""

    def __init__(
        self, connection: Connection, after: int, remembered: Mapping[Person, _Folded]
    ) -> None:
        self._connection = connection
        self._after = after
        self._remembered = remembered
        self._owner: dict[_Number, Person] = {}
        self._members: dict[Person, set[_Number]] = defaultdict(set)
        self._said: dict[_Number, list[Said]] = defaultdict(list)
        self._read: set[Person] = set()  # all that was said of them before is in `_said`
        self.folded: dict[Person, _Folded] = {}

    def rows(self, told: Sequence[tuple[int, Said]], moves: Sequence[_Move]) -> Iterator[TraitRow]:
        self._prepare(told, moves)
        for position, step in groupby(_merged(told, moves), key=itemgetter(0)):
            fresh: dict[Person, list[Said]] = defaultdict(list)
            moved: set[Person] = set()
            for _, app, one in step:
                if isinstance(one, _Move):
                    moved |= self._take_move(one)
                else:
                    number = app, one.number
                    self._said[number].append(one)
                    fresh[self._owner.get(number, number)].append(one)
            for person in sorted(fresh.keys() | moved):
                if row := self._step(person, position, None if person in moved else fresh[person]):
                    yield row

    def _prepare(self, told: Sequence[tuple[int, Said]], moves: Sequence[_Move]) -> None:
        numbers = {(app, one.number) for app, one in told} | {move.number for move in moves}
        if self._after:
            self._owner = self._owners(numbers)
        owners = {number: self._owner.get(number, number) for number in numbers}
        shaken = {move.person for move in moves} | {owners[move.number] for move in moves}
        spoken = {owners[app, one.number] for app, one in told}
        for person in spoken - shaken:
            if (known := self._remembered.get(person)) is not None:
                self.folded[person] = known._replace(traits=dict(known.traits))
        for number, person in owners.items():
            self._members[person].add(number)
        anew = (shaken | spoken) - self.folded.keys()
        self._read_all(anew)
        for person in anew:
            if not self._after:
                self._members[person].add(person)
            traits = self._fold(person)
            self.folded[person] = _Folded(traits, shown(traits))

    def _owners(self, numbers: Iterable[_Number]) -> dict[_Number, Person]:
        found: dict[_Number, Person] = {}
        for move in _moves_of(self._connection, set(numbers), self._after):
            found[move.number] = move.person
        return found

    def _read_all(self, persons: set[Person]) -> None:
        """Who they were at `after`, and what they had said by then."""
        persons -= self._read
        self._read |= persons
        if not self._after or not persons:
            return
        maybe = _ever_theirs(self._connection, persons, self._after)
        owners = self._owners(maybe)
        theirs = {number for number in maybe if owners.get(number, number) in persons}
        for number in theirs:
            self._owner.setdefault(number, owners.get(number, number))
            self._members[self._owner[number]].add(number)
        for row in _said_of(self._connection, theirs, self._after):
            app, one = _told(row)
            self._said[app, one.number].append(one)

    def _take_move(self, move: _Move) -> set[Person]:
        before = self._owner.get(move.number, move.number)
        self._members[before].discard(move.number)
        self._members[move.person].add(move.number)
        self._owner[move.number] = move.person
        return {before, move.person}

    def _step(self, person: Person, position: int, fresh: list[Said] | None) -> TraitRow | None:
        """`fresh`: all that is new of the person; None: its ids are others."""
        before = self.folded.get(person, _NOTHING)
        traits = dict(before.traits) if before is _NOTHING else before.traits
        if fresh is None or not all(take(traits, one) for one in fresh):
            traits = self._late(person) if fresh is not None else self._fold(person)
        text = shown(traits)
        self.folded[person] = _Folded(traits, text)
        return None if text == before.shown else TraitRow(*person, position, text)

    def _late(self, person: Person) -> Traits:
        self._read_all({person})
        return self._fold(person)

    def _fold(self, person: Person) -> Traits:
        ids = self._members[person]
        return fold(one for number in ids for one in self._said.get(number, ()))


_NOTHING = _Folded({}, NONE)


def shown(traits: Traits) -> str:
    """Name -> value, as JSON."""
    if not traits:
        return NONE
    values = {name: trait.value for name, trait in sorted(traits.items()) if trait.is_set}
    return _encode(values).decode()


def _merged(told: Sequence[tuple[int, Said]], moves: Sequence[_Move]) -> list[tuple[int, int, Any]]:
    """(position, app number, which) in the order of the log; moves first."""
    steps: list[tuple[int, int, Any]] = [(m.position, m.number[0], m) for m in moves]
    steps += [(one.position, app, one) for app, one in told]
    return sorted(steps, key=itemgetter(0))


def _told(row: Any) -> tuple[int, Said]:
    return row.app_number, read_said(row)


def _move(row: Any) -> _Move:
    app = row.app_number
    return _Move(row.position, (app, row.number), (app, row.person))


def _moves_of(connection: Connection, numbers: Collection[_Number], upto: int) -> list[_Move]:
    """Every change of theirs, in the order of the log."""
    if not numbers:
        return []
    given = columns(zip(*numbers, strict=True), "app_number", "number") | {"upto": upto}
    return sorted(map(_move, connection.execute(_MOVES_OF, given)))


def _ever_theirs(connection: Connection, persons: Collection[Person], upto: int) -> set[_Number]:
    if not persons:
        return set()
    given = columns(zip(*persons, strict=True), "app_number", "number") | {"upto": upto}
    rows = connection.execute(_EVER_THEIRS, given)
    return {*persons, *((row.app_number, row.number) for row in rows)}


def _said_of(connection: Connection, numbers: Collection[_Number], upto: int) -> Sequence[Any]:
    if not numbers:
        return ()
    given = columns(zip(*numbers, strict=True), "app_number", "number") | {"upto": upto}
    return connection.execute(_SAID_OF, given).all()


_EVER = 2**62
_s, _c = said.c, person_changes.c
_upto = bindparam("upto", type_=BigInteger())
_after = bindparam("after", type_=BigInteger())
_apps = arrays(app_number=Integer())
_numbers = arrays(app_number=Integer(), number=Integer())
_positions = arrays(position=BigInteger())
_SENDERS = each(
    _positions,
    select(_s.number).where(
        _s.app_number == bindparam("app"), _s.position == _positions.c.position
    ),
)
_SPOKEN = (
    _s.kind == "identify",
    _s.traits.is_not(None) | _s.operations.is_not(None),
    _s.position <= _upto,
)
_COLUMNS = (
    _s.app_number, _s.timestamp, _s.event_id, _s.position, _s.number, _s.traits, _s.operations,
)  # fmt: skip
_SAID_IN = each(
    _apps,
    select(*_COLUMNS).where(_s.app_number == _apps.c.app_number, _s.position > _after, *_SPOKEN),
)
_SAID_OF = each(
    _numbers,
    select(*_COLUMNS).where(
        _s.app_number == _numbers.c.app_number, _s.number == _numbers.c.number, *_SPOKEN
    ),
)
_MOVES_IN = select(*_c).where(_c.position > _after, _c.position <= _upto)
_MOVES_OF = each(
    _numbers,
    select(*_c).where(
        _c.app_number == _numbers.c.app_number, _c.number == _numbers.c.number, _c.position <= _upto
    ),
)
_EVER_THEIRS = each(
    _numbers,
    select(_c.app_number, _c.number).where(
        _c.app_number == _numbers.c.app_number, _c.person == _numbers.c.number, _c.position <= _upto
    ),
)
