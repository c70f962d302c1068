"""Small made-up stores for comparing queries with a plain evaluation: each an app of its own."""

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from domain.tracking import Tracked
from infrastructure.analytics_engine import AnalyticsEngine
from projections import events
from projections.events import COLUMNS, Seen
from projections.person_map import CHANGES, NOW
from projections.projection import Recorded

START = datetime(2026, 3, 14, 12, tzinfo=UTC)
_apps = itertools.count(1000)
_APP = UUID(int=7)


def reads_rollup(engine: AnalyticsEngine, made: Any, table: str = "") -> bool:
    """Whether the engine reads the rollup that the plan prefers, and no rows of the table: of a half
    of the range in which nothing happened it says that it reads the table.
    """
    lines = engine.query(f"EXPLAIN {made.sql}", made.parameters, made.settings).rows
    read = set(re.findall(r"ReadFrom\w* \((?:\w+\.)?(\w+)\)", "\n".join(row[0] for row in lines)))
    return made.settings["preferred_optimize_projection_name"] in read and table not in read


class Happened(NamedTuple):
    """`micros`: since START; `user`: the number of a distinct id. Positions are those in the list,
    from 1 on.
    """

    user: int
    micros: int
    name: str
    properties: Mapping[str, Any] = MappingProxyType({})

    @property
    def at(self) -> datetime:
        return START + timedelta(microseconds=self.micros)


class Merge(NamedTuple):
    """From `position` on the number belongs to this person."""

    position: int
    number: int
    person: int


class Store(NamedTuple):
    """What the engine has under `app_number`, and how a plain evaluation sees it."""

    app_number: int
    events: Sequence[Happened]
    merges: Sequence[Merge]

    def seen(
        self, known_at: int | None = None, as_of: datetime | None = None
    ) -> list[tuple[int, int, Happened]]:
        """(person, position, event) of all that counts then."""
        until = math.inf if known_at is None else known_at
        persons: dict[int, int] = {}
        for merge in sorted(self.merges):
            if merge.position <= until:
                persons[merge.number] = merge.person
        return [
            (persons.get(event.user, event.user), position, event)
            for position, event in enumerate(self.events, 1)
            if position <= until and (as_of is None or event.at <= as_of)
        ]


def fill(
    engine: AnalyticsEngine, table: str, happened: Sequence[Happened], merges: Sequence[Merge] = ()
) -> Store:
    app = next(_apps)
    page = [_recorded(position, event) for position, event in enumerate(happened, 1)]
    numbers = {(app, f"u{event.user}"): event.user for event in happened}
    if page:
        block = events.rows(page, numbers, {_APP: app}, _seen)
        engine.insert_rows(table, COLUMNS, block.data)
    if merges:
        changes = "".join(f"{app}\t{m.number}\t{m.position}\t{m.person}\n" for m in merges)
        engine.insert_rows(
            CHANGES,
            ("app_number", "number", "position", "person"),
            changes.encode(),
            format_name="TSV",
        )
        last = {m.number: m.person for m in sorted(merges)}
        now = "".join(f"{app}\t{number}\t{person}\n" for number, person in last.items())
        engine.insert_rows(NOW, ("app_number", "number", "person"), now.encode(), format_name="TSV")
    return Store(app, happened, merges)


def _recorded(position: int, event: Happened) -> Recorded:
    return Recorded(
        position=position,
        stream_id=UUID(int=position),
        app_id=_APP,
        topic=Tracked.TOPIC,
        recorded_at=event.at,
        event=Tracked(
            message_id=f"m{position}",
            timestamp=event.at,
            received_at=event.at,
            user_id=f"u{event.user}",
            event=event.name,
            properties=msgspec.Raw(msgspec.json.encode(dict(event.properties))),
        ),
    )


def _seen(event: Tracked) -> Seen:
    """The plan stands for the country too, where it is text."""
    plan = msgspec.json.decode(event.properties).get("plan")
    return Seen(country=plan if isinstance(plan, str) else "")
