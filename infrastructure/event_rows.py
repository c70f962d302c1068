"""Rows of the events read model: events from the log, with numbers and enrichment.

One way for both: what the projector is given event by event, and what a rebuild reads in chunks.
"""

from array import array
from collections.abc import Sequence

from sqlalchemy import Engine

from domain.erasures import PersonErased
from domain.tracking import Client, Tracked
from infrastructure import codec
from infrastructure.enrichment import Enrichment
from infrastructure.event_store.chunks import Chunk
from infrastructure.numbers import Numbers
from infrastructure.read_models import park_all
from projections.events import Block, Kept, Seen, distinct_ids, encode, kept_of, tracked
from projections.projection import Recorded

_MOST_SEEN = 50_000  # senders remembered
_EPOCH_OF_POSTGRES = 946_684_800_000_000  # 2000-01-01, in microseconds since 1970
_NOTHING = Block(b"", 0)


class Rows:
    """Pages of the log to inserts. For one thread."""

    def __init__(self, engine: Engine, enrichment: Enrichment) -> None:
        self._engine = engine
        self._numbers = Numbers(engine)
        self._seen = _Senders(enrichment)

    def prepare(self) -> None:
        """Before a long way through the log."""
        self._numbers.remember_many()

    def of(self, page: Sequence[Recorded], *, parked_as: str) -> Block:
        """What has no number is parked."""
        if any(r.event.__class__ is PersonErased for r in page):
            self._numbers.forget()
        page = tracked(page)
        kept = kept_of(page)
        apps = self._numbers.of_apps([r.app_id.int for r in page])  # type: ignore[union-attr]  # tracked have one
        pids = self._numbers.of_ids(apps, kept.distinct_ids)
        if None in pids:
            known = [r for r, pid in zip(page, pids, strict=True) if pid is not None]
            self._park([r for r, pid in zip(page, pids, strict=True) if pid is None], parked_as)
            return self.of(known, parked_as=parked_as)
        return self._encoded(kept, apps, pids)

    def of_chunk(self, chunk: Chunk) -> Block | None:
        """The same block as `of` makes of these events; None when they have to be looked at one by
        one, because one of them can't be read, is in an old shape, or has no number.
        """
        if chunk.bodies is None:
            return _NOTHING
        kept = _kept(chunk)
        if kept is None:
            return None
        apps = self._apps(chunk.app_ids or b"")
        pids = self._numbers.of_ids(apps, kept.distinct_ids)
        return None if None in pids else self._encoded(kept, apps, pids)

    def _apps(self, joined: bytes) -> list[int]:
        """`joined` are 16 bytes for each."""
        first, count = joined[:16], len(joined) // 16
        if joined == first * count:
            return self._numbers.of_apps([int.from_bytes(first)]) * count
        return self._numbers.of_apps(
            [int.from_bytes(joined[at : at + 16]) for at in range(0, len(joined), 16)]
        )

    def _encoded(self, kept: Kept, apps: Sequence[int], pids: Sequence[int | None]) -> Block:
        seen = list(map(self._seen.__getitem__, [event.client for event in kept.events]))
        self._seen.limit()
        return encode(kept, apps, pids, seen)  # type: ignore[arg-type]  # no None is left

    def _park(self, unknown: Sequence[Recorded], name: str) -> None:
        """Without a number: the people's read model could not take it either."""
        with self._engine.begin() as connection:
            park_all(connection, name, unknown, "its distinct id has no number")


def _kept(chunk: Chunk) -> Kept | None:
    if not chunk.plain:
        return None
    positions = _integers("Q", chunk.positions)
    events = codec.decode_joined(Tracked.TOPIC, chunk.bodies or b"")
    if events is None or len(events) != len(positions):
        return None
    recorded_at = [at + _EPOCH_OF_POSTGRES for at in _integers("q", chunk.recorded_at)]
    return Kept(positions, chunk.stream_ids or b"", recorded_at, events, distinct_ids(events))


def _integers(code: str, values: bytes | None) -> "array[int]":
    found = array(code, values or b"")
    found.byteswap()
    return found


class _Senders(dict[Client, Seen]):
    """What is known of a sender, worked out when it is first asked for."""

    def __init__(self, enrichment: Enrichment) -> None:
        super().__init__()
        self._enrichment = enrichment

    def __missing__(self, client: Client) -> Seen:
        seen = Seen(*(value or "" for value in self._enrichment.of(client)))
        self[client] = seen
        return seen

    def limit(self) -> None:
        if len(self) > _MOST_SEEN:
            self.clear()
