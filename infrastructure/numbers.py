"""The dense numbers of apps and distinct ids, remembered: a number never changes once given."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import Engine

from projections import apps, people
from projections.people import Id

_MOST_REMEMBERED = 1_000_000  # ids; some 150 MB


class Numbers:
    """For one thread. Apps are looked up by the UUID's integer, which hashes ten times faster."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._apps: dict[int, int] = {}
        self._ids: dict[Id, int] = {}

    def of_apps(self, app_ids: Sequence[UUID]) -> list[int]:
        """0: no such app."""
        integers = [app_id.int for app_id in app_ids]
        if not self._apps.keys() >= set(integers):
            with self._engine.connect() as connection:
                found = apps.numbers(connection)
            self._apps = {app_id.int: number for app_id, number in found.items()}
        return [self._apps.get(integer, 0) for integer in integers]

    def of_ids(self, keys: Sequence[Id]) -> list[int | None]:
        """None: no number."""
        numbers = list(map(self._ids.get, keys))
        if None not in numbers:
            return numbers
        if len(self._ids) > _MOST_REMEMBERED:
            self._ids = {}
        unknown = list({key for key in keys if key not in self._ids})
        with self._engine.connect() as connection:
            self._ids.update(people.find_numbers(connection, unknown))
        return list(map(self._ids.get, keys))
