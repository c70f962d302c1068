"""The events of one person, from which criteria are judged in memory."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from domain.conditions import BUILT_IN
from domain.conditions.judging import Event
from domain.conditions.tree import Needs
from domain.limits import MAX_EXPLAINED_EVENTS
from domain.past import Past
from projections.conditions import Parameters
from projections.event_queries import Query, up_to
from projections.events import TABLE

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FACTS = tuple(name.removeprefix("$") for name in BUILT_IN)
_decode: Any = msgspec.json.Decoder(dict[str, Any]).decode


def events_of(app_number: int, numbers: Sequence[int], needed: Needs, past: Past) -> Query:
    """Rows for `read_event`, with the number of the sender behind: those that the criteria may look
    at, one more than MAX_EXPLAINED_EVENTS at most.
    """
    parameters = Parameters()
    whose = ", ".join(f"{number:d}" for number in numbers)
    conditions = [f"app_number = {app_number:d}", f"pid0 IN ({whose})", *up_to(past)]
    if not needed.any_event:
        names = ", ".join(parameters.text(name) for name in sorted(needed.events))
        conditions.append(f"event IN ({names})")
    facts = ", ".join(f"toString({name})" for name in _FACTS)
    sql = (
        f"SELECT toUnixTimestamp64Micro(ts), event, properties, position,"
        f" concat('evt_', lower(hex(event_id))), [{facts}], pid0 FROM {TABLE}"
        f" WHERE {' AND '.join(conditions)}"
        f" ORDER BY ts, position LIMIT {MAX_EXPLAINED_EVENTS + 1}"
    )
    return Query(sql, parameters)


def read_event(row: Sequence[Any]) -> Event:
    micros, name, properties, position, event_id, facts, _ = row
    known: Mapping[str, str] = dict(zip(BUILT_IN, facts, strict=True))
    at = _EPOCH + timedelta(microseconds=micros)
    return Event(at, name, _decode(properties or "{}"), known, position, event_id)
