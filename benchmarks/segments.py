"""Live segments under load: from recorded to evaluated, and one segment's answer beside S.

    python -m benchmarks.segments [--segments 200] [--rate 5000] [--seconds 30] [--persons 20000]

Loader, projector and reactor share the machine: events are appended to the log at the rate, taken by
the read models and evaluated, in threads of this process.
"""

import json
import random
import threading
import time
from datetime import UTC, datetime
from uuid import uuid4

import click
import msgspec

from benchmarks.machine import loop_seconds
from benchmarks.postgres import running_postgres
from benchmarks.trends import running_engine
