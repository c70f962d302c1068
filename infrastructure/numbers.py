"""The dense numbers of apps and distinct ids, remembered: a number never changes once given."""

from collections import defaultdict
from collections.abc import Sequence

from sqlalchemy import Engine

from projections import apps, people

_MOST_REMEMBERED = 1_000_000  # ids; some 150 MB


class Numbers:
    """For one thread. Apps are looked up by the UUID's integer, which hashes ten times faster."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._apps: dict[int, int] = {}
        self._ids: defaultdict[int, dict[str, int]] = defaultdict(dict)  # of each app
        self._remembered = 0

    def remember_many(self) -> None:
        """Before what will ask for most of them."""
        with self._engine.connect() as connection:
            found = people.find_many_numbers(connection, _MOST_REMEMBERED)
        for app, ids, numbers in found:
            self._ids[app].update(zip(ids, numbers, strict=True))
        self._remembered = sum(map(len, self._ids.values()))

    def forget(self) -> None:
        """Ids that were erased have other names from now on."""
        self._ids.clear()
        self._remembered = 0

    def of_apps(self, app_ids: Sequence[int]) -> list[int]:
        """0: no such app."""
        if not self._apps.keys() >= set(app_ids):
            with self._engine.connect() as connection:
                found = apps.numbers(connection)
            self._apps = {app_id.int: number for app_id, number in found.items()}
        return [self._apps.get(app_id, 0) for app_id in app_ids]

    def of_ids(self, app_numbers: Sequence[int], ids: Sequence[str]) -> list[int | None]:
        """The number of each id in the app beside it. None: no number."""
        numbers = self._known(app_numbers, ids)
        if None not in numbers:
            return numbers
        if self._remembered > _MOST_REMEMBERED:
            self._ids.clear()
            self._remembered = 0
        self._look_up(app_numbers, ids)
        return self._known(app_numbers, ids)

    def _known(self, app_numbers: Sequence[int], ids: Sequence[str]) -> list[int | None]:
        if app_numbers and app_numbers.count(app_numbers[0]) == len(app_numbers):
            return list(map(self._ids[app_numbers[0]].get, ids))
        pairs = zip(app_numbers, ids, strict=True)
        return [self._ids[app].get(distinct_id) for app, distinct_id in pairs]

    def _look_up(self, app_numbers: Sequence[int], ids: Sequence[str]) -> None:
        pairs = zip(app_numbers, ids, strict=True)
        unknown = list({(app, one) for app, one in pairs if one not in self._ids[app]})
        with self._engine.connect() as connection:
            found = people.find_numbers(connection, unknown)
        for (app, distinct_id), number in found.items():
            self._ids[app][distinct_id] = number
        self._remembered += len(found)
