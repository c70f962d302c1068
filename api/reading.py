"""What the routes that read people share: whom an address means, when, and where to look."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Annotated, Any, NamedTuple, TypeVar

from litestar.params import QueryParameter
from sqlalchemy import Connection

from api.paths import part_of_path
from api.time_machine import reached
from api.user_ids import is_public, user_id_of
from domain.admission import checked_id
from domain.errors import NotFound, Rejected
from domain.limits import MAX_ID_CHARS, MAX_PAGE
from domain.past import NOW, Past
from infrastructure.bootstrap import Adapters
from infrastructure.positions import Standing
from projections import people
from projections.apps import Caller
from projections.event_queries import Query
from projections.people.past import Then
from projections.people.whose import Whose, find_whose

T = TypeVar("T")
Limit = Annotated[int, QueryParameter(ge=1, le=MAX_PAGE)]
Cursor = Annotated[str | None, QueryParameter(description="`cursor` of the page before")]
EVENTS = "events"  # the read model


@contextmanager
def at_one_moment(adapters: Adapters) -> Iterator[Connection]:
    """What several statements read belongs together."""
    with adapters.engine.connect() as connection:
        yield connection.execution_options(isolation_level="REPEATABLE READ")


class Asked(NamedTuple):
    """A question that can be answered. `past` has a position unless it is NOW."""

    adapters: Adapters
    app_number: int
    past: Past
    standing: Standing

    def connected(self) -> AbstractContextManager[Connection]:
        return at_one_moment(self.adapters)

    @contextmanager
    def then(self) -> Iterator[Then]:
        with self.connected() as connection:
            yield Then(connection, self.ask, self.app_number, self.past)

    def ask(self, query: Query) -> Sequence[Sequence[Any]]:
        """Of ClickHouse."""
        return self.adapters.analytics.query(query.sql, query.parameters).rows


async def asked_of_people(
    adapters: Adapters, reader: Caller, min_position: int | None, past: Past
) -> Asked:
    """Waits until it can be answered. Raises NotCaughtUp."""
    models = (people.name,) if past == NOW else (people.name, EVENTS)
    standing = await reached(adapters, models, min_position, past)
    if past != NOW:
        past = past.at(standing.position)
    return Asked(adapters, reader.app_number or 0, past, standing.at(past.known_at))


def names_meant(given: str, field: str) -> tuple[str, ...]:
    """The ids that may be meant: of `usr_...` what it stands for, then what was given. Nobody can
    take over a person's `usr_...` by sending it as an id. Raises Rejected.
    """
    return names_of(part_of_path(given, field), field)


def names_of(given: str, field: str) -> tuple[str, ...]:
    """The same of a field of a body."""
    stands_for = _stands_for(given, field)
    if stands_for and len(given) > MAX_ID_CHARS:
        return stands_for
    return (*stands_for, checked_id(given, field))


def _stands_for(given: str, field: str) -> tuple[str, ...]:
    if not is_public(given):
        return ()
    try:
        return (checked_id(user_id_of(given, field), field),)
    except Rejected:
        return ()


def find_named(names: Sequence[str], find: Callable[[str], T | None]) -> T:
    """The first that is found. Raises NotFound."""
    for name in names:
        found = find(name)
        if found is not None:
            return found
    raise nobody()


def nobody() -> NotFound:
    return NotFound(
        "nobody with this id is known at the moment asked about; what was just sent is read with"
        " min_position"
    )


class Named(NamedTuple):
    """A distinct id; `number` None: nobody has sent it."""

    distinct_id: str
    number: int | None


def find_id(connection: Connection, app_number: int, names: Sequence[str]) -> Named:
    """The first of the names that is stored, else the first."""
    numbers = people.find_numbers(connection, [(app_number, name) for name in names])
    found = [Named(name, numbers.get((app_number, name))) for name in names]
    return next((one for one in found if one.number is not None), found[0])


def find_numbers(asked: Asked, connection: Connection, names: Sequence[str]) -> tuple[int, ...]:
    """Of all ids of the person. Raises NotFound."""

    def find(name: str) -> Whose | None:
        return find_whose(connection, asked.app_number, name, asked.past.known_at)

    return find_named(names, find).numbers
