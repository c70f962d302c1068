"""The dense numbers of apps and distinct ids, remembered: a number never changes once given."""

from collections.abc import Iterable, Mapping
from uuid import UUID

from sqlalchemy import Engine

from projections import apps, people
from projections.people import Id

_MOST_REMEMBERED = 1_000_000  # ids; some 150 MB


class Numbers:
    """For one thread."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._apps: dict[UUID, int] = {}
        self._ids: dict[Id, int] = {}

    def of_apps(self, wanted: set[UUID]) -> Mapping[UUID, int]:
        if not wanted <= self._apps.keys():
            with self._engine.connect() as connection:
                self._apps = apps.numbers(connection)
        return self._apps

    def of_ids(self, wanted: Iterable[Id]) -> Mapping[Id, int]:
        """Holds all of `wanted` that have a number."""
        unknown = list({key for key in wanted if key not in self._ids})
        if unknown:
            if len(self._ids) > _MOST_REMEMBERED:
                self._ids = {}
                unknown = list(set(wanted))
            with self._engine.connect() as connection:
                self._ids.update(people.find_numbers(connection, unknown))
        return self._ids
