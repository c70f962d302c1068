"""Everything that is kept of a person, line by line: what erasing them would erase."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, TypeVar

import msgspec
from sqlalchemy import Connection, Engine

from domain.past import NOW
from domain.tracking import Refused
from infrastructure.analytics_engine import AnalyticsEngine
from infrastructure.codec import Unreadable
from infrastructure.database import open_log
from infrastructure.erasure_log import find_places
from infrastructure.event_store.reader import Entry, read_at
from infrastructure.read_models import decode
from infrastructure.settings import Settings
from projections import people
from projections.people import erasing
from projections.people.erasing import Member
from projections.people.spoken import (
    LinkPlace,
    LinksWanted,
    OperationsWanted,
    TraitPlace,
    list_links,
    list_operations,
)

T = TypeVar("T")
_PAGE = 500
_encode = msgspec.json.Encoder().encode


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """`data`: the payload as it stands on the log."""

    event_id: str
    position: int
    topic: str
    recorded_at: Any
    data: msgspec.Raw


class Export:
    """Of the person who has `distinct_id`; empty if there is none."""

    def __init__(
        self,
        settings: Settings,
        engine: Engine,
        analytics: AnalyticsEngine,
        *,
        app_number: int,
        distinct_id: str,
    ) -> None:
        self._settings = settings
        self._engine = engine
        self._analytics = analytics
        self._app = app_number
        self._id = distinct_id

    def lines(self) -> Iterator[bytes]:
        """JSON objects, each with a `type` and a line's end: a profile, ids, links, traits (every
        operation on one), events by position. A page is held in memory, and the positions.
        """
        profile = self._read(lambda c: people.find_profile(c, self._app, self._id))
        if profile is None:
            return
        yield _line("profile", profile)
        members = self._read(lambda c: erasing.members(c, self._app, [self._id]))
        yield from (_line("id", member._asdict()) for member in members)
        numbers = [member.number for member in members]
        yield from self._links(numbers)
        yield from self._traits(numbers)
        ids = {member.distinct_id for member in members}
        places = self._read(lambda c: find_places(c, self._analytics, self._app, ids))
        yield from self._events(sorted(places), members)

    def _read(self, look: Callable[[Connection], T]) -> T:
        """No connection is held while a page is on its way: whoever reads may be slow."""
        with self._engine.connect() as connection:
            return look(connection)

    def _links(self, numbers: list[int]) -> Iterator[bytes]:
        after: LinkPlace | None = None
        while True:
            wanted = LinksWanted(self._app, numbers, None, after, _PAGE)
            page = self._read(partial(list_links, wanted=wanted))
            yield from (_line("link", link) for _, link in page)
            if len(page) < _PAGE:
                return
            after = page[-1][0]

    def _traits(self, numbers: list[int]) -> Iterator[bytes]:
        after: TraitPlace | None = None
        while True:
            wanted = OperationsWanted(self._app, numbers, NOW, None, after, _PAGE)
            page = self._read(partial(list_operations, wanted=wanted))
            yield from (_line("trait", said) for _, said in page)
            if len(page) < _PAGE:
                return
            after = page[-1][0]

    def _events(self, positions: list[int], members: list[Member]) -> Iterator[bytes]:
        """Others' events that only name an id of the person are theirs."""
        ids = {member.distinct_id for member in members}
        with open_log(self._settings.database_url) as log:
            for first in range(0, len(positions), _PAGE):
                for entry in read_at(log, positions[first : first + _PAGE]):
                    if _is_of(entry, ids):
                        yield _event_line(entry)


def _is_of(entry: Entry, ids: set[str]) -> bool:
    event = decode(entry).event
    if isinstance(event, Unreadable | Refused):
        return isinstance(event, Refused)
    sender = getattr(event, "distinct_id", None) or getattr(event, "user_id", None)
    return sender in ids


def _event_line(entry: Entry) -> bytes:
    event = Event(
        event_id=f"evt_{entry.originator_id.hex}",
        position=entry.position,
        topic=entry.topic,
        recorded_at=entry.recorded_at,
        data=msgspec.Raw(entry.state[1:]),
    )
    return _line("event", event)


def _line(kind: str, what: object) -> bytes:
    return b'{"type":"%b",%b\n' % (kind.encode(), _encode(what)[1:])
