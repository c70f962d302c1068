"""What criteria are asked about, and as of when."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from domain.past import NOW, Past
from projections import person_traits
from projections.events import TABLE


class Tables(NamedTuple):
    events: str = TABLE
    traits: str = person_traits.TABLE


class Asked(NamedTuple):
    """`ids`: how many distinct ids the app has (as of `past`); their numbers are 1 to that.
    `members_of`: of each segment that the criteria name, SQL whose rows are (person). `among`: only
    these persons are asked about, or SQL whose rows are (person); None: all. `is_newest`: nothing
    that is later than `past.known_at` has changed who is whom, so the engine's map of now serves.
    Names of parameters begin with `prefix`.
    """

    app_number: int
    ids: int
    now: datetime
    past: Past = NOW
    members_of: Mapping[str, str] = {}
    among: Sequence[int] | str | None = None
    tables: Tables = Tables()
    is_newest: bool = False
    prefix: str = "p"

    @property
    def map_at(self) -> int | None:
        """As of which position who is whom is asked for; None: now."""
        return None if self.is_newest else self.past.known_at
