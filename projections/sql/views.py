"""What a caller's SQL can read: views that hold one app's rows and nothing inside.

The fence is in PREWHERE, not WHERE: the engine puts a caller's conditions in front of a WHERE where
it thinks them cheaper, and a function that fails on a value (`toUInt8(distinct_id)`) would then
tell of rows of other apps in the same granule. Rows that PREWHERE leaves out are never seen by what
comes after it. For the same reason no column is LowCardinality: a function on such a one is
computed for the whole dictionary, and dictionaries are shared by all rows of a part.
"""

from collections.abc import Mapping
from typing import Literal, NamedTuple, assert_never, get_args
from uuid import UUID

from domain.past import Past
from projections import memberships, person_traits
from projections.event_queries import up_to
from projections.events import TABLE
from projections.person_map import CHANGES, NOW, person, scalars

# Name -> the expression on the table.
EVENTS = {
    "event": "CAST(event AS String)",
    "timestamp": "ts",
    "day": "day",
    "person_id": "{person}",
    "distinct_id": "distinct_id",
    "user_id": "user_id",
    "anonymous_id": "anonymous_id",
    "properties": "properties",
    "context": "context",
    "position": "position",
    "message_id": "message_id",
    "received_at": "received_at",
    "kind": "CAST(kind AS String)",
    "source": "CAST(source AS String)",
    "country": "CAST(country AS String)",
    "browser": "CAST(browser AS String)",
    "os": "CAST(os AS String)",
    "device": "CAST(device AS String)",
}
# Name -> the expression on the view of events. `traits` stands beside them.
PEOPLE = {
    "person_id": "person_id",
    "first_seen": "min(timestamp)",
    "last_seen": "max(timestamp)",
    "events": "count()",
    "distinct_ids": "arraySort(groupUniqArray(distinct_id))",
}
# Name -> the expression on who is in what.
SEGMENTS = {
    "segment_id": "toString(segment_id)",
    "segment": (
        "transform(toString(segment_id), {{{ids}:Array(String)}}, {{{names}:Array(String)}}, '')"
    ),
    "person_id": "person",
    "entered_at": "min(since)",
}
View = Literal["events", "people", "segments"]
NAMES: tuple[View, ...] = get_args(View)
_IDS, _SEGMENTS = "segment_ids", "segment_names"  # parameters of ours; a caller's are p0, p1, ...

# No name in a caller's SQL may be one of these, whatever it would mean there.
INNER = frozenset(
    {
        *("app_number", "pid0", "moved", "moved_since", "belongs"),
        *(TABLE, CHANGES, NOW, person_traits.TABLE, memberships.TABLE),
        *("system", "information_schema", "default", "currentdatabase"),
    }
) - set(NAMES)


class Fence(NamedTuple):
    """Whose rows, and those of which past. `has_traits`: people have them, which costs a join.
    `segments`: the name of each that there was then.
    """

    app_number: int
    past: Past
    has_traits: bool = True
    segments: Mapping[UUID, str] = {}

    def view(self, name: View) -> str:
        """A subquery that has the columns of the view."""
        match name:
            case "people":
                return self._people()
            case "segments":
                return self._segments()
            case "events":
                return self._events()
            case _:
                assert_never(name)

    def parameters(self) -> dict[str, object]:
        """Of the view of segments."""
        return {
            _IDS: [str(one) for one in self.segments],
            _SEGMENTS: list(self.segments.values()),
        }

    def filters(self) -> dict[str, str]:
        """For the engine to put on every read of these tables, whatever the query says."""
        mine = f"app_number = {self.app_number:d}"
        return dict.fromkeys((TABLE, CHANGES, NOW, person_traits.TABLE, memberships.TABLE), mine)

    def _events(self) -> str:
        app_number, known_at = self.app_number, self.past.known_at
        of_person = person(app_number, known_at)
        columns = ", ".join(
            f"{sql.format(person=of_person)} AS `{name}`" for name, sql in EVENTS.items()
        )
        conditions = [f"{TABLE}.app_number = {app_number:d}", *up_to(self.past)]
        return (
            f"(WITH {scalars(app_number, known_at)} SELECT {columns} FROM {TABLE}"
            f" PREWHERE {' AND '.join(conditions)})"
        )

    def _people(self) -> str:
        columns = ", ".join(f"{sql} AS `{name}`" for name, sql in PEOPLE.items())
        people = f"SELECT {columns} FROM {self._events()} GROUP BY person_id"
        if not self.has_traits:
            return f"({people})"
        names = ", ".join(f"seen.`{name}` AS `{name}`" for name in PEOPLE)
        return (
            f"(SELECT {names}, if(told.told = '', '{{}}', told.told) AS `traits` FROM ({people})"
            f" AS seen LEFT JOIN ({self._traits()}) AS told ON seen.person_id = told.person)"
        )

    def _segments(self) -> str:
        """Persons and not numbers: two of them may have become one since they entered."""
        app_number, known_at = self.app_number, self.past.known_at
        columns = ", ".join(
            f"{sql.format(ids=_IDS, names=_SEGMENTS)} AS `{name}`" for name, sql in SEGMENTS.items()
        )
        inside = memberships.latest(app_number, self.past, sorted(self.segments))
        return (
            f"(WITH {scalars(app_number, known_at)} SELECT {columns} FROM"
            f" (SELECT segment_id, {person(app_number, known_at)} AS person, since FROM ({inside}))"
            " GROUP BY segment_id, person)"
        )

    def _traits(self) -> str:
        """Rows (person, told), as projections/person_traits.py has them."""
        conditions = [f"{person_traits.TABLE}.app_number = {self.app_number:d}"]
        if self.past.known_at is not None:
            conditions.append(f"position <= {self.past.known_at:d}")
        return (
            f"SELECT person, argMax(traits, position) AS told FROM {person_traits.TABLE}"
            f" PREWHERE {' AND '.join(conditions)} GROUP BY person"
        )
