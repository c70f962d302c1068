"""Generated events with every edge that time and identity have, and a table to ask them of."""

import functools
import itertools
import random
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
from hypothesis import HealthCheck, Phase, settings

from domain.conditions import Where, lookup, matches
from domain.past import NOW, Past
from domain.tracking import Tracked
from infrastructure.analytics_engine import AnalyticsEngine
from infrastructure.person_writer import PersonWriter
from projections import events
from projections.events import COLUMNS, Seen, create_table
from projections.person_map import CHANGES
from projections.person_map import NOW as PERSON_NOW
from projections.projection import Recorded

APP = UUID(int=7)
# To shrink a case would ask the engine for minutes.
SAMPLE = settings(
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
TICK = timedelta(microseconds=1)
# A change of the clocks in each direction.
CHANGES_OF_CLOCKS = {
    "Europe/Berlin": ("2026-03-29T01:00", "2026-10-25T01:00"),
    "America/New_York": ("2026-03-08T07:00", "2026-11-01T06:00"),
    "Australia/Lord_Howe": ("2026-04-04T15:00", "2026-10-03T15:30"),
    "America/Santiago": ("2026-04-05T03:00", "2026-09-06T04:00"),
    "UTC": ("2026-03-01T00:00", "2026-11-01T00:00"),
}
NAMES = ("open", "read", "buy", "tag ö'\\")
VALUES = ("py", "rs", "ü", 5, 5.0, "5", True, None, [], 0.5)


class Event(NamedTuple):
    position: int
    at: datetime
    name: str
    user: int
    properties: dict[str, Any]

    def holds(self, conditions: Sequence[Where]) -> bool:
        return all(matches(where, self.properties, {"$event": self.name}) for where in conditions)

    def value(self, name: str) -> str | None:
        """What differs where values do, by their type too, while 5 and 5.0 are one."""
        return told(lookup(name, self.properties, {"$event": self.name}))


def told(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value and f'"{value}'
    whole = isinstance(value, float) and value.is_integer()
    return msgspec.json.encode(int(value) if whole else value).decode()


class Case(NamedTuple):
    """`changes`: (position, number, person). `anchor`: when the clocks of the zone change."""

    zone: ZoneInfo
    anchor: datetime
    events: list[Event]
    changes: list[tuple[int, int, int]]

    def seen(self, past: Past = NOW) -> list[Event]:
        """In the order of time, then of position."""
        known_at, as_of = past
        found = [
            e
            for e in self.events
            if (known_at is None or e.position <= known_at) and (as_of is None or e.at <= as_of)
        ]
        return sorted(found, key=lambda e: (e.at, e.position))

    def people(self, past: Past = NOW) -> Callable[[int], int]:
        """The person of a number."""
        belongs = {
            number: person
            for position, number, person in sorted(self.changes)
            if past.known_at is None or position <= past.known_at
        }
        return lambda number: belongs.get(number, number)

    def by_person(self, past: Past = NOW) -> dict[int, list[Event]]:
        person, found = self.people(past), {}
        for event in self.seen(past):
            found.setdefault(person(event.user), []).append(event)
        return found


def generate(dice: random.Random, *, days: int = 30, gaps: Sequence[timedelta] = ()) -> Case:
    name = dice.choice(sorted(CHANGES_OF_CLOCKS))
    zone = ZoneInfo(name)
    anchor = datetime.fromisoformat(dice.choice(CHANGES_OF_CLOCKS[name])).replace(tzinfo=UTC)
    times: list[datetime] = []
    for _ in range(dice.choice([0, 1, 5, *[dice.randint(20, 200)] * 12])):
        times.append(_time(dice, anchor, zone, days=days, before=times, gaps=gaps))
    positions = [3 * (n + 1) for n in range(len(times))]
    if dice.random() < 0.7:
        dice.shuffle(positions)
    users = dice.randint(1, 12)
    happened = [
        Event(
            position,
            at,
            dice.choice((*NAMES, *NAMES[:2])),
            dice.randint(1, users),
            _properties(dice),
        )
        for position, at in zip(positions, times, strict=True)
    ]
    return Case(zone, anchor, happened, _changes(dice, users, len(times)))


def _time(
    dice: random.Random,
    anchor: datetime,
    zone: ZoneInfo,
    *,
    days: int,
    before: Sequence[datetime],
    gaps: Sequence[timedelta],
) -> datetime:
    match dice.randint(0, 5):
        case 0 | 1 if before:  # at the instant of another, or a gap from it
            gap = dice.choice([timedelta(), timedelta(), *gaps])
            return dice.choice(before) + gap + dice.choice([-1, 0, 0, 1]) * TICK
        case 2:
            day = anchor.astimezone(zone).date() + timedelta(days=dice.randint(-days, days))
            return midnight(day, zone) + dice.choice([-1, 0, 1]) * TICK
        case 3:
            return anchor + timedelta(minutes=dice.randint(-240, 240))
        case _:
            return anchor + timedelta(seconds=dice.randint(-days * 86400, days * 86400))


def _properties(dice: random.Random) -> dict[str, Any]:
    return {"p": dice.choice(VALUES)} if dice.random() < 0.8 else {}


def _changes(dice: random.Random, users: int, count: int) -> list[tuple[int, int, int]]:
    """Merges, and some of them taken back later. Who is somebody's person belongs to nobody else:
    a person has the lowest of its numbers.
    """
    made = []
    for _ in range(dice.choice([0, 0, 1, 3, 8])):
        number, person = dice.randint(1, users), dice.randint(1, users)
        position = 3 * dice.randint(0, count) + 1
        is_free = not any(number == p or person == n for _, n, p in made)
        if person < number and is_free:
            made.append((position, number, person))
            if dice.random() < 0.3:
                made.append((position + 3, number, number))
    return sorted({(n, p): (p, n, who) for p, n, who in made}.values())


def cut(happened: Sequence[Event], gap: timedelta) -> list[list[Event]]:
    """One person's events, in their order, as sessions."""
    sessions: list[list[Event]] = []
    for event in happened:
        if sessions and event.at - sessions[-1][-1].at <= gap:
            sessions[-1].append(event)
        else:
            sessions.append([event])
    return sessions


def past_of(dice: random.Random, case: Case) -> Past:
    known_at = 3 * dice.randint(0, len(case.events)) + 1 if dice.random() < 0.25 else None
    as_of = None
    if case.events and dice.random() < 0.25:
        as_of = dice.choice(case.events).at + dice.choice([-1, 0]) * TICK
    return Past(known_at, as_of)


def range_of(dice: random.Random, case: Case, *, days: int) -> tuple[str, str]:
    """Days of the zone, or instants at events: `from` and `to`."""
    first = case.anchor - timedelta(days=dice.randint(0, days))
    last = first + timedelta(days=dice.randint(0, 2 * days))
    start, end = (at.astimezone(case.zone).date().isoformat() for at in (first, last))
    times = [e.at for e in case.events]
    if dice.random() < 0.3 and (found := [at for at in times if at < last - timedelta(days=1)]):
        start = (dice.choice(found) + dice.choice([0, 0, 1]) * TICK).isoformat()
    if dice.random() < 0.3 and (found := [at for at in times if at > last]):
        end = dice.choice(found).isoformat()
    return start, end


@functools.cache
def midnight(day: date, zone: ZoneInfo) -> datetime:
    """The day's first instant, found by looking at the clock."""
    at = datetime(day.year, day.month, day.day, tzinfo=UTC) - timedelta(hours=15)
    while at.astimezone(zone).date() < day:
        at += timedelta(minutes=30)
    return at


def unit_of(at: datetime, zone: ZoneInfo, interval: str) -> date:
    """The first day of the calendar unit."""
    day = at.astimezone(zone).date()
    match interval:
        case "week":
            return day - timedelta(days=day.weekday())
        case "month":
            return day.replace(day=1)
        case _:
            return day


def next_unit(day: date, interval: str) -> date:
    return unit_of(
        datetime.combine(day, datetime.min.time(), UTC)
        + timedelta(days={"day": 1, "week": 7, "month": 31}[interval]),
        ZoneInfo("UTC"),
        interval,
    )


class Table:
    """Each case is an app of its own in one table, so that filling costs an insert."""

    def __init__(self, engine: AnalyticsEngine, name: str) -> None:
        self.engine, self.name = engine, name
        self._apps = itertools.count(7_000_000)
        PersonWriter(engine).recover(UUID(int=1))
        engine.command(create_table(name, generation="test"))

    def fill(self, case: Case) -> int:
        """The app's number."""
        app = next(self._apps)
        page = [_recorded(event) for event in case.events]
        numbers = {(app, f"u{event.user}"): event.user for event in case.events}
        made = events.rows(page, numbers, {APP: app}, lambda _: Seen())
        if made.rows:
            self.engine.insert_rows(self.name, COLUMNS, made.data)
        if case.changes:
            self._tell(CHANGES, "app_number, number, position, person", case, app)
            self._tell(PERSON_NOW, "app_number, number, person", case, app)
        return app

    def _tell(self, table: str, columns: str, case: Case, app: int) -> None:
        rows = [
            {"app_number": app, "number": number, "position": position, "person": person}
            for position, number, person in sorted(case.changes)
        ]
        names = columns.split(", ")
        text = "\n".join("\t".join(str(row[name]) for name in names) for row in rows) + "\n"
        self.engine.insert_rows(table, names, text.encode(), format_name="TSV")

    def ask(
        self, sql: str, parameters: Mapping[str, object], settings: Mapping[str, object]
    ) -> Sequence[Sequence[Any]]:
        return self.engine.query(sql, parameters, settings).rows

    def drop(self) -> None:
        for table in (CHANGES, PERSON_NOW):
            self.engine.command(f"TRUNCATE TABLE {table}")
        self.engine.command(f"DROP TABLE IF EXISTS {self.name} SYNC")


def _recorded(event: Event) -> Recorded:
    return Recorded(
        position=event.position,
        stream_id=UUID(int=event.position),
        app_id=APP,
        topic=Tracked.TOPIC,
        recorded_at=event.at,
        event=Tracked(
            message_id=f"message {event.position}",
            timestamp=event.at,
            received_at=event.at,
            user_id=f"u{event.user}",
            event=event.name,
            properties=msgspec.Raw(msgspec.json.encode(event.properties)),
        ),
    )


def first_values(sizes, limit):
    """Values of a breakdown, those of most first: those that are told, None among them, and the
    others.
    """
    order = sorted((v for v in sizes if v is not None), key=lambda v: (-sizes[v], v.encode()))
    first = [v for v in sizes if v is None or v in order[:limit]]
    first.sort(key=lambda v: (-sizes[v], v is None, (v or "").encode()))
    return first, order[limit:]
