"""Segments: their definitions, who is in them, and why."""

from api.segments import definitions, explaining, members

WRITES = (*definitions.WRITES, *members.WRITES)
READS = (*definitions.READS, *members.READS, *explaining.READS)
