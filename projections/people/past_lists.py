"""Lists of persons as they were: everything of the app is taken up and looked through.

The answers are those of lists.py, had the log ended there.
"""

from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import func, select

from domain.conditions import matches
from domain.errors import TooHeavy
from domain.limits import MAX_PAST_IDS
from domain.traits import Traits
from projections.people import shown
from projections.people.lists import Key, Wanted
from projections.people.past import Then, limited, members_of, said_by, traits_of
from projections.people.said import searched_email
from projections.people.shown import Found, Listed, Member, Page, Totals
from projections.people.tables import distinct_ids, said
from projections.people.whose import persons_then


class _Person(NamedTuple):
    number: int
    members: list[Member]
    told: list[Any]

    @property
    def traits(self) -> Traits:
        return traits_of(self.told)

    @property
    def totals(self) -> Totals:
        return shown.totals(self.members)

    @property
    def user_id(self) -> str:
        return min(self.members, key=shown.age).distinct_id

    @property
    def listed(self) -> Listed:
        return shown.listed(self.user_id, self.totals, self.traits)


def list_persons(then: Then, wanted: Wanted) -> Page:
    """Raises TooHeavy."""
    now = then.past.as_of or then.connection.execute(select(func.now())).scalar_one()
    found = [one for one in _persons(then).values() if _is_wanted(one, wanted, now)]
    keyed = sorted((_place(wanted, _key(one, wanted), one.number), one) for one in found)
    if wanted.after is not None:
        last = _place(wanted, *wanted.after)
        keyed = [(place, one) for place, one in keyed if place > last]
    page = [Found(_key(one, wanted), one.number, one.listed) for _, one in keyed[: wanted.limit]]
    return Page(page, len(found))


def _persons(then: Then) -> dict[int, _Person]:
    _check_size(then)
    told = said_by(then)
    person_of = persons_then(then.connection, then.app_number, then.known_at)
    found: dict[int, _Person] = {}
    for number, member in members_of(then, told).items():
        person = person_of.get(number, number)
        found.setdefault(person, _Person(person, [], [])).members.append(member)
    for row in told:
        found[person_of.get(row.number, row.number)].told.append(row)
    return found


def _check_size(then: Then) -> None:
    d = distinct_ids.c
    ids = select(d.number).where(d.app_number == then.app_number, d.position <= then.known_at)
    messages = limited(select(said.c.number), then)
    for query in (ids, messages):
        some = query.limit(MAX_PAST_IDS + 1).subquery()
        count = then.connection.execute(select(func.count()).select_from(some)).scalar_one()
        if count > MAX_PAST_IDS:
            raise TooHeavy(
                f"there were more than {MAX_PAST_IDS} ids, or messages about people; lists of"
                " that past are out of reach, single persons are not"
            )


def _is_wanted(one: _Person, wanted: Wanted, now: datetime) -> bool:
    if wanted.search is not None and not _is_searched(one, wanted.search):
        return False
    if not wanted.where:
        return True
    traits = shown.values(one.traits)
    return all(matches(where, traits, {}, now) for where in wanted.where)


def _is_searched(one: _Person, search: str) -> bool:
    if any(member.distinct_id.startswith(search) for member in one.members):
        return True
    values = {name: trait.value for name, trait in one.traits.items() if trait.is_set}
    email = searched_email(values)
    return email is not None and email.startswith(search.lower())


def _key(one: _Person, wanted: Wanted) -> Key:
    match wanted.sort:
        case "created":
            return None
        case "last_seen":
            return one.totals.last_seen
        case "first_seen":
            return one.totals.first_seen
        case "user_id":
            return one.user_id


def _place(wanted: Wanted, key: Key, person: int) -> tuple[Any, ...]:
    """Sorts as the database does."""
    if isinstance(key, datetime):
        return False, -key.timestamp(), -person
    return (key,) if wanted.sort == "user_id" else (True, 0.0, -person)
