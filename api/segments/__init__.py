"""Segments: their definitions, who is in them, and why."""

from api.segments import definitions, explaining, exports, lists, members

WRITES = (*definitions.WRITES, *lists.WRITES)
READS = (*definitions.READS, *members.READS, *explaining.READS, *exports.READS)
