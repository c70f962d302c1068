"""One round of keeping an app's live segments: who may be in others than before, who is, what
that changes, and both on the log and in the state in one transaction.

Evaluated is as of the position that the events read model has come to. What was appended before is
in the read model of segments first, so that what is compared with is what was appended.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime, timedelta
from functools import reduce
from time import monotonic
from typing import NamedTuple
from uuid import UUID, uuid4

from sqlalchemy import Connection, Engine, text

from domain.conditions.tree import Needs
from domain.errors import Overloaded
from domain.past import Past
from domain.segments import Cause
from infrastructure import checkpoints, event_projector
from infrastructure.analytics_engine import LIGHT, AnalyticsEngine
from infrastructure.reactor import state
from infrastructure.reactor.changes import Change, Round, always, append, batched, by_person, split
from infrastructure.reactor.definitions import find_live, lists_in
from infrastructure.reactor.state import Evaluated
from projections import apps, candidates, people, segments
from projections.candidates import Span
from projections.criteria import Asked, members_of_many
from projections.person_map import CHANGES, listed

MANY = 50_000  # candidates; beyond it everybody is asked about
# From one look at all persons to the next, for dates that move; of up to MANY ids the second.
EVERYBODY_SECONDS, FEW_SECONDS = 60.0, 2.0
_TOGETHER = 20  # segments in one reading, when everybody is asked about
_ERASED = timedelta(seconds=10)  # how far the clocks of two machines may differ
_LARGE = {
    "max_ast_elements": 10**7,
    "max_expanded_ast_elements": 10**8,
    "max_execution_time": 600,
}
_ERASURES = text(
    "SELECT EXISTS (SELECT FROM erasure.requests WHERE app_id = :app"
    " AND (done->>'analytics')::timestamptz > :since)"
)


class NotYet(Exception):
    """A read model has not come to where the round has to begin: try again soon."""


class Told(NamedTuple):
    """`entered` and `left` of a round, all segments together; `candidates`: None for everybody.
    `recorded_at`: of the last event that it knew.
    """

    entered: int
    left: int
    candidates: int | None
    seconds: float
    recorded_at: datetime | None


class Evaluator:
    """For one thread; others are noticed. `clock` gives now in UTC."""

    def __init__(
        self, engine: Engine, analytics: AnalyticsEngine, clock: Callable[[], datetime]
    ) -> None:
        self._engine = engine
        self._analytics = analytics
        self._clock = clock
        self._table = f"{candidates.TABLE}_{uuid4().hex}"

    def prepare(self) -> None:
        """Takes the place of whoever has worked before: its table goes."""
        stale = f"SELECT name FROM system.tables WHERE {candidates.OURS}"
        for (name,) in self._analytics.query(stale, None, LIGHT).rows:
            self._analytics.command(f"DROP TABLE IF EXISTS {name} SYNC")
        self._analytics.command(candidates.CREATE.format(table=self._table))

    def apps(self) -> list[int]:
        with self._engine.connect() as connection:
            if checkpoints.read(connection, segments.name) is None:
                return []  # the projector has not made the tables yet
            return segments.apps_with_live(connection)

    def evaluate(self, app: int) -> Told:
        """Raises NotYet, Overloaded and what the engine raises; the round has then not been."""
        started = monotonic()
        begun = self._begin(app)
        changed = {
            one for one, live in begun.live.items()
            if begun.fingerprints.get(one) != live.fingerprint
        }  # fmt: skip
        causes = self._candidates(begun, begun.live.keys() - changed)
        everybody = self._for_everybody(begun, changed, causes)
        changes = [
            *self._of_everybody(begun, everybody, causes or {}, changed),
            *self._of_candidates(begun, begun.live.keys() - everybody, causes or {}),
        ]
        self._append(begun, changes)
        return Told(
            sum(len(one.persons) for one in changes if one.entered),
            sum(len(one.persons) for one in changes if not one.entered),
            None if causes is None else len(causes),
            monotonic() - started,
            begun.reached.recorded_at,
        )

    # --- what the round is about ---------------------------------------------------------------

    def _begin(self, app: int) -> Round:
        with self._engine.connect() as connection:
            before = state.read(connection, app)
            reached = checkpoints.read(connection, event_projector.NAME)
            known = checkpoints.read(connection, segments.name)
            if reached is None or known is None:
                raise NotYet
            # An older writer's tables may be behind what was evaluated: a rebuild is going on.
            if reached.position < before.position:
                raise NotYet
            if known.position < max(before.appended_position, reached.position):
                raise NotYet
            app_id = next(one for one, n in apps.numbers(connection).items() if n == app)
            return Round(
                app,
                app_id,
                reached,
                before,
                max(before.at, self._clock()),
                find_live(connection, app, reached.position),
                state.fingerprints(connection, app),
                people.count_ids(connection, app, reached.position),
            )

    def _for_everybody(
        self, begun: Round, changed: AbstractSet[UUID], causes: Mapping[int, int] | None
    ) -> set[UUID]:
        """The segments for which all persons are asked about."""
        if causes is None or self._was_erased(begun):
            return set(begun.live)
        found = set(changed)
        if self._is_due(begun):
            found |= {one for one, live in begun.live.items() if live.moves}
        return found

    def _was_erased(self, begun: Round) -> bool:
        with self._engine.connect() as connection:
            given = {"app": begun.app_id, "since": begun.before.at - _ERASED}
            return bool(connection.execute(_ERASURES, given).scalar())

    def _candidates(self, begun: Round, wanted: AbstractSet[UUID]) -> dict[int, int] | None:
        """Person -> cause; they are in the engine's table too. None: they are too many."""
        live = [begun.live[one] for one in wanted]
        if not live:
            return {}
        with self._engine.connect() as connection:
            known = people.count_ids(connection, begun.app, begun.before.position)
            listed = self._listed(connection, begun)
        if begun.ids - known > MANY:
            return None
        span = Span(
            begun.app, begun.before.position, begun.upto, begun.before.at, begun.now, known,
            begun.ids,
        )  # fmt: skip
        needed = reduce(Needs.and_of, (one.needs for one in live))
        edges = frozenset().union(*(one.edges for one in live))

        def fill(*, is_newest: bool) -> None:
            query = candidates.fill(self._table, span, needed, edges, listed, is_newest=is_newest)
            self._analytics.command(f"TRUNCATE TABLE {self._table}", settings=LIGHT)
            self._analytics.command(query.sql, query.parameters, _LARGE)

        self._as_of(begun, fill)
        if self._count() > MANY:
            return None
        rows = self._analytics.query(f"SELECT person, cause FROM {self._table}", None, LIGHT).rows
        return {int(person): int(cause) for person, cause in rows}

    def _count(self) -> int:
        return int(
            self._analytics.query(f"SELECT count() FROM {self._table}", None, LIGHT).rows[0][0]
        )

    def _listed(self, connection: Connection, begun: Round) -> list[int]:
        return sorted(
            {
                change.person
                for one in lists_in(begun.live)
                for change in segments.find_changes(
                    connection, begun.app, one, begun.before.position
                )
                if change.position <= begun.upto
            }
        )

    def _as_of(self, begun: Round, ask: Callable[..., None]) -> None:
        """Asks with the fast map of now, and again with that of then if it was another one."""
        ask(is_newest=True)
        moved = f"SELECT max(position) FROM {CHANGES} WHERE app_number = {begun.app:d}"
        if int(self._analytics.query(moved, None, LIGHT).rows[0][0]) > begun.upto:
            ask(is_newest=False)

    # --- who is in them --------------------------------------------------------------------------

    def _of_everybody(
        self,
        begun: Round,
        wanted: AbstractSet[UUID],
        causes: Mapping[int, int],
        changed: AbstractSet[UUID],
    ) -> Iterator[Change]:
        for some in batched(sorted(wanted), _TOGETHER):
            found = self._ask(begun, some, among=None)
            for one in some:
                with self._engine.connect() as connection:
                    before = segments.current_members(connection, begun.app, one)
                if one in changed:
                    cause: Cause = "updated" if one in begun.fingerprints else "created"
                    yield from split(one, before, found[one], always(cause))
                else:
                    yield from split(one, before, found[one], by_person(causes))

    def _of_candidates(
        self, begun: Round, wanted: AbstractSet[UUID], causes: Mapping[int, int]
    ) -> Iterator[Change]:
        if not wanted or not causes:
            return
        some = sorted(wanted)
        found = self._ask(begun, some, among=f"SELECT person FROM {self._table}")
        if self._count() != len(causes):
            raise Overloaded("the engine has lost the candidates")
        with self._engine.connect() as connection:
            before = segments.memberships(connection, begun.app, causes.keys())
        for one in some:
            yield from split(one, before.get(one, set()), found[one], by_person(causes))

    def _ask(self, begun: Round, wanted: Sequence[UUID], among: str | None) -> dict[UUID, set[int]]:
        trees = {key: begun.live[one].tree for key, one in enumerate(wanted)}
        lists = self._lists(begun)
        found: dict[UUID, set[int]] = {}

        def ask(*, is_newest: bool) -> None:
            at = None if is_newest else begun.upto
            asked = Asked(
                app_number=begun.app,
                ids=begun.ids,
                now=begun.now,
                past=Past(begun.upto),
                members_of={name: listed(of, begun.app, at) for name, of in lists.items()},
                among=among,
                is_newest=is_newest,
            )
            query = members_of_many(trees, asked)
            grouped = f"SELECT key, groupArray(person) FROM ({query.sql}) GROUP BY key"
            answer = self._analytics.query(grouped, query.parameters, _LARGE)
            found.update({one: set() for one in wanted})
            found.update((wanted[key], set(persons)) for key, persons in answer.rows)

        self._as_of(begun, ask)
        return found

    def _lists(self, begun: Round) -> dict[str, list[int]]:
        """The lists that are named, each as it was at the position."""
        found = {}
        with self._engine.connect() as connection:
            for one in lists_in(begun.live):
                persons = segments.current_members(connection, begun.app, one)
                later = segments.find_changes(connection, begun.app, one, begun.upto)
                for change in reversed(later):
                    (persons.discard if change.entered else persons.add)(change.person)
                found[str(one)] = sorted(persons)
        return found

    # --- what that changes -----------------------------------------------------------------------

    def _append(self, begun: Round, changes: Sequence[Change]) -> None:
        with self._engine.begin() as connection:
            if state.hold(connection, begun.app) != begun.before:
                raise Overloaded("somebody else has evaluated the segments")
            appended = append(connection, begun, changes)
            after = Evaluated(
                position=begun.upto,
                at=begun.now,
                recorded_at=begun.reached.recorded_at,
                everybody_at=begun.now if self._is_due(begun) else begun.before.everybody_at,
                appended_position=appended or begun.before.appended_position,
            )
            state.write(connection, begun.app, after)
            given = {one: live.fingerprint for one, live in begun.live.items()}
            state.define(connection, begun.app, given, begun.fingerprints)

    def _is_due(self, begun: Round) -> bool:
        rest = EVERYBODY_SECONDS if begun.ids > MANY else min(FEW_SECONDS, EVERYBODY_SECONDS)
        return (begun.now - begun.before.everybody_at).total_seconds() >= rest
