"""The Postgres read models, in the order in which they are applied: later ones read earlier ones.

The ClickHouse read model of events is projections/events.py; infrastructure/event_writer.py
keeps it, since it can't share a transaction with these.
"""

from projections import apps, failed_events, metrics, people, releases, segments
from projections.projection import Projection

PROJECTIONS: tuple[Projection, ...] = (apps, people, failed_events, metrics, releases, segments)
