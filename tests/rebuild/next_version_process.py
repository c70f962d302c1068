"""Run by a test as a process: the projector of a release in which two read models have changed.

People have a new column; the events table only says that it is another version.
"""

from sqlalchemy import Column, Computed, Text

from infrastructure import event_projector, settings
from projections import people

people.version += 1
people.distinct_ids.append_column(Column("shouted", Text, Computed("upper(distinct_id)")))
event_projector.VERSION += 1

from infrastructure import projector  # noqa: E402  reads VERSION when it is imported

projector.run(settings.load())
