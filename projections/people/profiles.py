"""Who somebody is now."""

from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Connection, func, select

from domain.traits import Traits
from projections.people.tables import distinct_ids, persons

_decode_folded = msgspec.json.Decoder(Traits).decode


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """`traits`: name -> {value, timestamp, position}; `messages`: how many the id has sent."""

    number: int
    messages: int
    first_seen: datetime | None
    last_seen: datetime | None
    traits: dict[str, dict[str, Any]]


def find_profile(connection: Connection, app_number: int, distinct_id: str) -> Profile | None:
    d = distinct_ids.c
    of_id = select(d.person).where(d.app_number == app_number, d.distinct_id == distinct_id)
    person = connection.execute(of_id).scalar()
    if person is None:
        return None
    row = connection.execute(
        select(func.sum(d.messages), func.min(d.first_seen), func.max(d.last_seen)).where(
            d.app_number == app_number, d.person == person
        )
    ).one()
    return Profile(
        number=person,
        messages=int(row[0]),
        first_seen=row[1],
        last_seen=row[2],
        traits=_traits_of(connection, app_number, person),
    )


def _traits_of(connection: Connection, app_number: int, person: int) -> dict[str, dict[str, Any]]:
    of_person = (persons.c.app_number == app_number) & (persons.c.person == person)
    folded = connection.execute(select(persons.c.folded).where(of_person)).scalar()
    if folded is None:
        return {}
    return {
        name: {
            "value": msgspec.json.decode(trait.value),
            "timestamp": trait.timestamp,
            "position": trait.position,
        }
        for name, trait in _decode_folded(folded).items()
        if trait.is_set
    }
