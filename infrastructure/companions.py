"""All tables that stand beside the events in ClickHouse, together."""

from uuid import UUID

from sqlalchemy import Connection, Engine

from infrastructure.analytics_engine import AnalyticsEngine
from infrastructure.companion_tables import Companion
from infrastructure.membership_writer import MembershipWriter
from infrastructure.person_writer import LOOKED_UP, PersonWriter, reload_dictionaries
from infrastructure.trait_writer import TraitWriter

_KINDS = (PersonWriter, TraitWriter, MembershipWriter)
_SHADOW = "_rebuild"


class Companions:
    """For one thread; one writer at a time, as of the events."""

    def __init__(self, analytics: AnalyticsEngine) -> None:
        self._traits = TraitWriter(analytics)
        self._all: tuple[Companion, ...] = (
            PersonWriter(analytics),
            self._traits,
            MembershipWriter(analytics),
        )

    def recover(self, log_id: UUID) -> None:
        for one in self._all:
            one.recover(log_id)

    def write(self, connection: Connection, upto: int) -> None:
        for one in self._all:
            one.write(connection, upto)

    def are_behind(self, position: int) -> bool:
        return any(one.position < position for one in self._all)

    def forget(self) -> None:
        """Somebody was erased: what was said of persons is not what it was."""
        self._traits.forget()


def refill(analytics: AnalyticsEngine, engine: Engine, log_id: UUID, upto: int) -> None:
    """All tables anew, from the Postgres read models; readers see the old ones until then."""
    for kind in _KINDS:
        shadow = _filled(kind, analytics, engine, log_id, upto)
        live = kind(analytics)
        live.recover(log_id)
        for old, new in zip(live.tables, shadow.tables, strict=True):
            analytics.command(f"EXCHANGE TABLES {old} AND {new}", settings=LOOKED_UP)
        reload_dictionaries(analytics)
        shadow.drop()


def differing(
    analytics: AnalyticsEngine, engine: Engine, log_id: UUID, upto: int
) -> tuple[str, ...]:
    """Apps whose rows up to `upto` are not those of the Postgres read models."""
    found: list[str] = []
    for kind in _KINDS:
        shadow = _filled(kind, analytics, engine, log_id, upto)
        live = _digest(analytics, kind.digest, kind.table, upto)
        built = _digest(analytics, kind.digest, kind.table + _SHADOW, upto)
        shadow.drop()
        apps = sorted(live.keys() | built.keys())
        found += [f"{kind.table}, app {app}" for app in apps if live.get(app) != built.get(app)]
    return tuple(found)


def _filled(
    kind: type[PersonWriter] | type[TraitWriter] | type[MembershipWriter],
    analytics: AnalyticsEngine,
    engine: Engine,
    log_id: UUID,
    upto: int,
) -> Companion:
    shadow: Companion = kind(analytics, suffix=_SHADOW)
    shadow.drop()
    shadow.recover(log_id)
    with engine.connect() as connection:
        shadow.write(connection, upto)
    return shadow


def _digest(
    analytics: AnalyticsEngine, digest: str, table: str, upto: int
) -> dict[int, tuple[int, str]]:
    answer = analytics.query(digest.format(table=table), {"upto": upto}, {"max_execution_time": 0})
    return {app: (rows, value) for app, rows, value in answer.rows}
