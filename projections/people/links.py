"""Links between ids: what messages say of them, what comes of it, and who belongs to whom."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from operator import itemgetter
from typing import Any, NamedTuple

from sqlalchemy import BindParameter, Connection, Integer, bindparam, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.types import DateTime

from domain.identity import (
    Id,
    Key,
    Network,
    Outcome,
    Pair,
    Register,
    pair_of,
)
from domain.junk import is_junk
from domain.tracking import Aliased, Identified, Message, Unmerged
from projections.array_rows import arrays, columns, each, insert_rows, insert_statement
from projections.people.tables import distinct_ids, link_history, links, person_changes
from projections.projection import Recorded

_TIME = DateTime(timezone=True)
_NEVER = datetime.min.replace(tzinfo=UTC)
NOT_TAKEN = ("junk_id", "cycle")  # outcomes of what never reaches the register


class Step(NamedTuple):
    """`numbers`: of the ids that it is about, and `pairs` of them; `event` is what says so, an
    Unmerged or something that links the one pair. `known`: no link, but the time since which the
    one id is a user id.
    """

    position: int
    rank: int  # at one position: first known, then linked
    numbers: tuple[int, ...]
    pairs: tuple[Pair, ...] = ()
    known: datetime | None = None
    event: Any = None
    key: Key = (_NEVER, b"")
    is_junk: bool = False


class Written(NamedTuple):
    """A row of link_history."""

    app_number: int
    position: int
    low: int
    high: int
    timestamp: datetime
    event_id: bytes
    verb: str
    outcome: str
    key_id: str | None
    note: str | None


def step_of(recorded: Recorded, number: Callable[[str], int]) -> Step | None:
    """None where it is about no links. `number`: that of an id."""
    linked = linked_ids(recorded.event)
    if not linked:
        return None
    ids = linked[0] if len(linked) == 1 else [one for pair in linked for one in pair]
    numbers = tuple(map(number, ids))
    return Step(
        recorded.position,
        1,
        numbers,
        tuple(map(pair_of, numbers[::2], numbers[1::2])),
        None,
        recorded.event,
        _key_of(recorded),
        any(map(is_junk, ids)),
    )


def linked_ids(event: Any) -> tuple[tuple[str, str], ...]:
    """The pairs of ids that it links or cuts."""
    match event:
        case Aliased():
            return ((event.distinct_id, event.previous_id),)
        case Identified() if event.user_id and event.anonymous_id:
            return ((event.user_id, event.anonymous_id),)
        case Unmerged():
            return event.pairs
        case _:
            return ()


class DbSource:
    """domain/identity.Source over the tables. `pending`: history that is not written yet."""

    def __init__(self, connection: Connection, app_number: int, pending: list[Written]) -> None:
        self._connection = connection
        self._app = app_number
        self._pending = pending

    def persons_of(self, numbers: Collection[int]) -> Iterable[Id]:
        given = columns([tuple(numbers)], "number") | {"app": self._app}
        rows = self._connection.execute(_PERSONS_OF, given).all()
        return [Id(row.number, row.person, row.known_since, row.newest_link) for row in rows]

    def registers(self, pairs: Collection[Pair]) -> Mapping[Pair, Register]:
        given = columns(zip(*pairs, strict=True), "low", "high")
        return _registers(self._connection.execute(_REGISTERS, given | {"app": self._app}).all())

    def registers_around(self, numbers: Collection[int]) -> Mapping[Pair, Register]:
        given = columns([tuple(numbers)], "number") | {"app": self._app}
        low = _registers(self._connection.execute(_AROUND_LOW, given).all())
        return low | _registers(self._connection.execute(_AROUND_HIGH, given).all())

    def links_after(
        self, pairs: Collection[Pair], key: Key
    ) -> Mapping[Pair, Sequence[tuple[Key, bool]]]:
        given = columns(zip(*pairs, strict=True), "low", "high") | {"app": self._app}
        stored = self._connection.execute(_LINKS_SINCE, given | {"since": key[0]})
        found: dict[Pair, list[tuple[Key, bool]]] = defaultdict(list)
        for one in (*stored, *self._pending):
            at = (one.timestamp, one.event_id)
            if one.verb == "link" and one.outcome not in NOT_TAKEN and at > key:
                found[one.low, one.high].append((at, one.key_id is not None))
        return found


def _registers(rows: Sequence[Any]) -> dict[Pair, Register]:
    """Of rows with the columns of _REGISTER."""
    return {
        (low, high): Register(
            _key(linked_at, linked_event),
            _key(forced_at, forced_event),
            _key(unlinked_at, unlinked_event),
            linked_reason,
            forced_reason,
        )
        for (
            low,
            high,
            linked_at,
            linked_event,
            forced_at,
            forced_event,
            unlinked_at,
            unlinked_event,
            linked_reason,
            forced_reason,
        ) in rows
    }


def _key(at: datetime | None, event: bytes | None) -> Key | None:
    return None if at is None or event is None else (at, event)


class Known(NamedTuple):
    """Of the ids on a page, all of one app. `before`: the time since which they were known as user
    ids before the steps that make them known; `fresh`: those not stored yet; `persons`: of others.
    """

    before: dict[int, datetime | None]
    fresh: set[int]
    persons: dict[int, int]


class Linking(NamedTuple):
    """What is said of links on a page, of one app, and what it needs."""

    app_number: int
    steps: Sequence[Step]
    known: Known
    network: Network
    written: list[Written]


def begin(connection: Connection, app_number: int, steps: Sequence[Step], known: Known) -> Linking:
    """Reads what the steps will need, in most cases all of it."""
    written: list[Written] = []
    source = DbSource(connection, app_number, written)
    network = Network(source, known.before, fresh=known.fresh, persons=known.persons)
    network.load_registers({pair for step in steps for pair in step.pairs})
    network.load({number for step in steps if _needs(network, step) for number in step.numbers})
    return Linking(app_number, steps, known, network, written)


def take(connection: Connection, linking: Linking) -> Network:
    """Takes the steps in their order and stores what comes of them, but for what belongs to the
    rows of ids that are fresh.
    """
    app_number, steps, known, network, written = linking
    for step in sorted(steps, key=_order):
        if step.known is not None:
            network.become_known(step.position, step.numbers[0], step.known)
        else:
            written += _taken(network, app_number, step)
    _flush(connection, app_number, network, known.fresh)
    insert_rows(connection, _HISTORY, written)
    return network


_order = itemgetter(0, 1)


def _needs(network: Network, step: Step) -> bool:
    """Whether it may change more than the history: most links are said again and again."""
    if step.known is not None or step.event.__class__ is Unmerged:
        return True
    register = network.register(step.pairs[0])
    before = register.forced if _forced_by(step.event) else register.linked
    return before is None or step.key < before


def _forced_by(event: Any) -> str | None:
    return event.forced_by if event.__class__ is Aliased else None


def _taken(network: Network, app_number: int, step: Step) -> list[Written]:
    position, _, numbers, said_of, _, event, key, is_junk = step
    if event.__class__ is Unmerged:
        pairs = sorted(set(said_of))
        network.unlink(position, key, pairs)
        by = (event.done_by, event.reason)
        return [
            Written(app_number, position, *cut, *key, "unlink", "unlinked", *by) for cut in pairs
        ]
    forced_by = _forced_by(event)
    outcome: Outcome = "junk_id"
    if not is_junk:
        outcome = network.link(position, key, *numbers, forced=forced_by is not None)
    note = event.reason if event.__class__ is Aliased else None
    return [Written(app_number, position, *said_of[0], *key, "link", outcome, forced_by, note)]


def _key_of(recorded: Recorded) -> Key:
    """In the order of the log, where that is what orders it."""
    event: Any = recorded.event
    if event.__class__ is Unmerged and event.timestamp <= recorded.recorded_at:
        return recorded.recorded_at, recorded.position.to_bytes(16)
    if isinstance(event, Message):
        at = event.ordered_at(recorded.recorded_at)
        if at is not event.timestamp:
            return at, recorded.position.to_bytes(16)
    return event.timestamp, recorded.stream_id.bytes


def _flush(
    connection: Connection, app_number: int, network: Network, fresh: Collection[int]
) -> None:
    moved = [
        (app_number, number, network.person(number), network.newest_link(number))
        for number in sorted(network.touched.difference(fresh))
    ]
    if moved:
        connection.execute(_MOVE, columns(zip(*moved, strict=True), *_MOVED))
    registers = (
        (app_number, *pair, *_register_row(network.register(pair)))
        for pair in sorted(network.rewritten)
    )
    insert_rows(connection, _UPSERT_LINK, registers)
    changes = (
        (app_number, number, position, person)
        for (position, number), person in network.changes.items()
    )
    insert_rows(connection, _CHANGES, changes)


def _register_row(register: Register) -> tuple[Any, ...]:
    keys = (register.linked, register.forced, register.unlinked)
    times = (part for key in keys for part in (key or (None, None)))
    return (*times, register.linked_reason, register.forced_reason)


def find_outcome(connection: Connection, app_number: int, position: int) -> str | None:
    """What came of the link that the event at this position made."""
    h = link_history.c
    query = select(h.outcome).where(h.app_number == app_number, h.position == position)
    return connection.execute(query.limit(1)).scalar()


CHANGE = tuple(column.name for column in person_changes.columns)


def find_changes(
    connection: Connection, *, after: int, upto: int
) -> Iterator[tuple[int, int, int, int]]:
    """Of all apps, as CHANGE names them, in the order of the log."""
    c = person_changes.c
    query = select(*c).where(c.position > after, c.position <= upto).order_by(c.position, c.number)
    rows = connection.execute(query, execution_options={"yield_per": 10_000})
    yield from rows


_app: BindParameter[int] = bindparam("app")
_numbers = arrays(number=Integer())
_asked = (  # each person once, however many of its ids are asked for
    each(
        _numbers,
        select(distinct_ids.c.person).where(
            distinct_ids.c.app_number == _app, distinct_ids.c.number == _numbers.c.number
        ),
    )
    .distinct()
    .cte("asked")
    .prefix_with("MATERIALIZED")
)
_PERSONS_OF = each(
    _asked,
    select(
        distinct_ids.c.number,
        distinct_ids.c.person,
        distinct_ids.c.known_since,
        distinct_ids.c.newest_link,
    ).where(distinct_ids.c.app_number == _app, distinct_ids.c.person == _asked.c.person),
)
_pair_of_ids = arrays(low=Integer(), high=Integer())
_REGISTER = list(links.columns)[1:]
_REGISTERS = each(
    _pair_of_ids,
    select(*_REGISTER).where(
        links.c.app_number == _app,
        links.c.low == _pair_of_ids.c.low,
        links.c.high == _pair_of_ids.c.high,
    ),
)
_AROUND_LOW = each(
    _numbers,
    select(*_REGISTER).where(links.c.app_number == _app, links.c.low == _numbers.c.number),
)
_AROUND_HIGH = each(
    _numbers,
    select(*_REGISTER).where(links.c.app_number == _app, links.c.high == _numbers.c.number),
)
_LINKS_SINCE = each(
    _pair_of_ids,
    select(link_history).where(
        link_history.c.app_number == _app,
        link_history.c.low == _pair_of_ids.c.low,
        link_history.c.high == _pair_of_ids.c.high,
        link_history.c.timestamp >= bindparam("since"),
    ),
)
_MOVED = ("app_number", "number", "person", "newest_link")
_moved = arrays(app_number=Integer(), number=Integer(), person=Integer(), newest_link=_TIME)
_MOVE = (
    update(distinct_ids)
    .values(person=_moved.c.person, newest_link=_moved.c.newest_link)
    .where(
        distinct_ids.c.app_number == _moved.c.app_number,
        distinct_ids.c.number == _moved.c.number,
    )
)
_HISTORY = insert_statement(link_history)
_CHANGES = insert_statement(person_changes)
_LINK_COLUMNS = [column.name for column in links.columns]
_given = arrays(**{column.name: column.type for column in links.columns})
_link = insert(links).from_select(_LINK_COLUMNS, select(*(_given.c[n] for n in _LINK_COLUMNS)))
_UPSERT_LINK = _link.on_conflict_do_update(
    index_elements=["app_number", "low", "high"],
    set_={name: _link.excluded[name] for name in _LINK_COLUMNS[3:]},
)
