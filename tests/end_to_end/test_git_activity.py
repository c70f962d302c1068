"""A real file of 156,881 rows: what is on the log equals what plain counting of the file says."""

import csv
import gzip
import json
from collections import Counter, defaultdict
from pathlib import Path

import pytest

FILE = Path(__file__).parents[3] / "shared" / "data" / "git-activity.csv.gz"
ROWS = 156_881

pytestmark = pytest.mark.skipif(not FILE.exists(), reason="the data set is not beside the project")


def counted_from_the_file():
    """(project, month) -> rows and users, with nothing of the project's own code."""
    rows = Counter()
    users = defaultdict(set)
    with gzip.open(FILE, "rt", encoding="utf-8", newline="") as text:
        for row in csv.DictReader(text):
            key = (row["project"], row["timestamp"][:7])
            rows[key] += 1
            users[key].add(row["user"])
    return {key: (rows[key], len(users[key])) for key in rows}


COUNTED_ON_THE_LOG = """
    WITH opened AS MATERIALIZED (
        SELECT convert_from(substr(state, 2), 'UTF8')::jsonb AS message
        FROM log.events WHERE topic = 'tracked.v1'
    )
    SELECT message -> 'properties' ->> 'project', substr(message ->> 'timestamp', 1, 7),
           count(*), count(DISTINCT message ->> 'user_id')
    FROM opened GROUP BY 1, 2
"""


def test_the_log_holds_the_file_and_importing_it_again_adds_nothing(appizer, query):
    first = json.loads(appizer("import", "csv", FILE, "--no-wait", "--json").out)
    assert (first["accepted"], first["rejected"]) == (ROWS, 0)
    found = {(project, month): (n, users) for project, month, n, users in query(COUNTED_ON_THE_LOG)}
    assert sum(n for n, _ in found.values()) == ROWS
    assert found == counted_from_the_file()

    again = json.loads(appizer("import", "csv", FILE, "--no-wait", "--json").out)
    assert (again["accepted"], again["duplicates"]) == (0, ROWS)
    assert query("SELECT count(*) FROM log.events WHERE topic = 'tracked.v1'") == [(ROWS,)]
