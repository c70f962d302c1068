"""A real file of 156,881 rows, from the command line to the answer of a query."""

import csv
import gzip
import json
import os
import subprocess
import sys
from bisect import bisect_left
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import httpx
import psycopg
import pytest

from tests.fixtures.patience import asked_again

ROOT = Path(__file__).parents[2]
FILE = ROOT.parent / "shared" / "data" / "git-activity.csv.gz"
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


@pytest.fixture(scope="module")
def imported(session_directory, run_instance):
    """An instance that has nothing but the file (the log of the others' stays short, which they
    rebuild), and what the command line said of the first and the second import.
    """
    with run_instance(session_directory / "git-activity") as instance:
        yield instance, run_import(instance), run_import(instance)


def run_import(instance):
    command = ["import", "csv", str(FILE), "--data", str(instance.data)]
    done = subprocess.run(
        [sys.executable, "-m", "api.cli.main", *command, "--json"],
        capture_output=True,
        check=False,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def ask(instance, kind, /, **question):
    headers = {"Authorization": f"Bearer {instance.keys['secret_key']}"}
    url = f"{instance.url}/v1/analytics/{kind}"
    answer = asked_again(lambda: httpx.post(url, headers=headers, json=question, timeout=60))
    assert answer.status_code == 200, answer.text
    return answer.json()


def ask_trends(instance, **question):
    return ask(instance, "trends", **question)


def test_importing_it_again_adds_nothing(imported):
    instance, first, again = imported
    settings = json.loads((instance.data / "instance.json").read_text())
    assert (first["accepted"], first["duplicates"], first["rejected"]) == (ROWS, 0, 0)
    assert (again["accepted"], again["duplicates"], again["rejected"]) == (0, ROWS, 0)
    with psycopg.connect(settings["APPIZER_DATABASE_URL"]) as connection:
        query = "SELECT count(*) FROM log.events WHERE topic = 'tracked.v1'"
        assert connection.execute(query).fetchone() == (ROWS,)


@pytest.mark.parametrize(("measure", "place"), [("total", 0), ("unique", 1)])
def test_totals_and_unique_users_per_project_and_month_equal_those_of_the_file(
    imported, measure, place
):
    instance, first, _ = imported
    answer = ask_trends(
        instance,
        **{"from": "2005-01-01", "to": "2026-12-31"},
        measure=measure,
        interval="month",
        breakdown={"property": "project"},
        min_position=first["position"],
    )
    found = {
        (series["label"], value["start"][:7]): value["value"]
        for series in answer["data"]["series"]
        for value in series["values"]
        if value["value"]
    }
    assert found == {key: counts[place] for key, counts in counted_from_the_file().items()}
    assert answer["exact"] is True


def test_a_rollup_says_the_same_as_the_rows(imported):
    instance, first, _ = imported
    question = {"from": "2005-01-01", "to": "2026-12-31", "interval": "month", "event": "commit"}
    rollup = ask_trends(instance, **question, measure="unique", min_position=first["position"])
    rows = ask_trends(
        instance,
        **question,
        measure="unique",
        where=[{"property": "project", "operator": "is_set"}],
    )
    assert (rollup["source"], rows["source"]) == ("day", "rows")
    assert rollup["data"] == rows["data"]


@pytest.fixture(scope="module")
def happened():
    """User -> [(when, event)] by time, with nothing of the project's own code."""
    users = defaultdict(list)
    with gzip.open(FILE, "rt", encoding="utf-8", newline="") as text:
        for row in csv.DictReader(text):
            users[row["user"]].append((datetime.fromisoformat(row["timestamp"]), row["event"]))
    return {user: sorted(events) for user, events in users.items()}


def test_monthly_active_users_of_each_day_equal_those_of_the_file(imported, happened):
    instance, first, _ = imported
    answer = ask_trends(
        instance,
        **{"from": "2023-01-01", "to": "2023-12-31"},
        measure="monthly_active",
        min_position=first["position"],
    )
    seen = defaultdict(set)
    for user, events in happened.items():
        for when, _ in events:
            seen[when.date()].add(user)
    days = [date(2023, 1, 1) + timedelta(days=n) for n in range(365)]
    expected = {
        str(day): len(set().union(*(seen[day - timedelta(days=n)] for n in range(30))))
        for day in days
    }
    (series,) = answer["data"]["series"]
    assert {value["start"][:10]: value["value"] for value in series["values"]} == expected
    assert len(set(expected.values())) > 20


FUNNEL = ("commit", "file_added", "file_deleted")


def furthest(events, start, end, window):
    """How many of the steps the best attempt of one user came to."""
    times = [[when for when, event in events if event == step] for step in FUNNEL]
    level = 0
    for entered in [when for when in times[0] if start <= when < end]:
        at, reached = entered, 1
        for later in times[1:]:
            place = bisect_left(later, at)
            if place == len(later) or later[place] > entered + window:
                break
            at, reached = later[place], reached + 1
        level = max(level, reached)
    return level


@pytest.mark.parametrize("days", [1, 30])
def test_a_funnel_of_three_steps_equals_a_search_in_the_file(imported, happened, days):
    instance, first, _ = imported
    answer = ask(
        instance,
        "funnels",
        **{"from": "2021-01-01", "to": "2022-12-31"},
        steps=[{"event": event} for event in FUNNEL],
        window=f"{days} days",
        min_position=first["position"],
    )
    start, end = datetime(2021, 1, 1, tzinfo=UTC), datetime(2023, 1, 1, tzinfo=UTC)
    levels = [furthest(e, start, end, timedelta(days=days)) for e in happened.values()]
    expected = [sum(level >= n for level in levels) for n in (1, 2, 3)]
    (series,) = answer["data"]["series"]
    assert [step["persons"] for step in series["steps"]] == expected
    assert expected[0] > expected[1] > expected[2] > 0


WEEKS = [date(2022, 1, 3) + timedelta(weeks=n) for n in range(44)]


def weeks_of(events, wanted=None):
    """The Mondays of the weeks in which any, or one, of the events happened."""
    days = [when.date() for when, event in events if wanted in {None, event}]
    return {day - timedelta(days=day.weekday()) for day in days}


def cohorts(answer):
    (series,) = answer["data"]["series"]
    return [
        (cohort["size"], [value["count"] for value in cohort["values"]])
        for cohort in series["cohorts"]
    ]


def test_weekly_retention_by_activity_equals_that_of_the_file(imported, happened):
    instance, first, _ = imported
    answer = ask(
        instance,
        "retention",
        **{"from": str(WEEKS[0]), "to": str(WEEKS[-1] + timedelta(days=6))},
        kind="recurring",
        period_zero="cohort",
        periods=8,
        min_position=first["position"],
    )
    active = [weeks_of(events) for events in happened.values()]
    assert answer["source"] == "day"
    assert cohorts(answer) == [
        (
            sum(week in mine for mine in active),
            [sum({week, week + timedelta(weeks=n)} <= mine for mine in active) for n in range(9)],
        )
        for week in WEEKS
    ]


def test_weekly_retention_of_first_commits_equals_that_of_the_file(imported, happened):
    """They return with a file that they add."""
    instance, first, _ = imported
    answer = ask(
        instance,
        "retention",
        **{"from": str(WEEKS[0]), "to": str(WEEKS[-1] + timedelta(days=6))},
        start_event="commit",
        return_event="file_added",
        periods=8,
        min_position=first["position"],
    )
    expected = {week: (0, [0] * 9) for week in WEEKS}
    for events in happened.values():
        began = next((when for when, event in events if event == "commit"), None)
        week = began and began.date() - timedelta(days=began.weekday())
        if week not in expected:
            continue
        size, counts = expected[week]
        returned = weeks_of(
            [(when, event) for when, event in events if when >= began], "file_added"
        )
        back = [week + timedelta(weeks=n) in returned for n in range(9)]
        expected[week] = (size + 1, [n + one for n, one in zip(counts, back, strict=True)])
    assert cohorts(answer) == list(expected.values())
    assert sum(size for size, _ in expected.values()) > 50


class Linked:
    """Whom the pairs make one person: a union-find with nothing of the project's own code."""

    def __init__(self, pairs):
        self.parent = {}
        for one, other in pairs:
            self.parent[self.of(one)] = self.of(other)

    def of(self, user):
        self.parent.setdefault(user, user)
        while self.parent[user] != user:
            user = self.parent[user]
        return user


def pairs_and_months():
    """Every user with every committer of theirs, and the users of each month."""
    pairs, months = set(), defaultdict(set)
    with gzip.open(FILE, "rt", encoding="utf-8", newline="") as text:
        for row in csv.DictReader(text):
            months[row["timestamp"][:7]].add(row["user"])
            if row["committer"] and row["committer"] != row["user"]:
                pairs.add((row["user"], row["committer"]))
    return sorted(pairs), months


def uniques_by_month(instance, **more):
    question = {"from": "2005-01-01", "to": "2026-12-31", "interval": "month", **more}
    (series,) = ask_trends(instance, **question, measure="unique")["data"]["series"]
    return {value["start"][:7]: value["value"] for value in series["values"] if value["value"]}


@pytest.fixture(scope="module")
def post(imported):
    """Posts with an admin's key, which may join two known users."""
    instance = imported[0]
    organisation = {"Authorization": f"Bearer {instance.keys['org_key']}"}
    url = f"{instance.url}/v1/apps/{instance.keys['app_id']}/keys"
    made = httpx.post(url, headers=organisation, json={"kind": "admin"}, timeout=60)
    headers = {"Authorization": f"Bearer {made.json()['key']}"}
    with httpx.Client(base_url=instance.url, headers=headers, timeout=60) as http:

        def posted(path, body):
            answer = http.post(path, json=body)
            assert answer.status_code == 200, answer.text
            return answer.json()

        yield posted


def test_users_linked_with_their_committers_and_unlinked_again_count_as_the_file_says(
    imported, post
):
    instance, first, _ = imported
    pairs, months = pairs_and_months()
    apart = {month: len(users) for month, users in months.items()}
    assert uniques_by_month(instance, min_position=first["position"]) == apart

    def link(pair):
        body = {"user_id": pair[0], "alias_id": pair[1], "force": True, "reason": "committed it"}
        return post("/v1/users/aliases", body)

    with ThreadPoolExecutor(24) as several:
        answers = list(several.map(link, pairs))
    assert {answer["outcome"] for answer in answers} <= {"linked", "already_linked"}
    before, after = min(a["position"] for a in answers) - 1, max(a["position"] for a in answers)
    linked = Linked(pairs)
    joined = {month: len({linked.of(user) for user in users}) for month, users in months.items()}
    assert sum(joined.values()) < sum(apart.values())
    assert uniques_by_month(instance, min_position=after) == joined

    some_of_each = {linked.of(user): user for user, _ in pairs}
    for user in some_of_each.values():
        last = post(f"/v1/users/{user}/unmerge", {"since": before})["position"]
    assert uniques_by_month(instance, min_position=last) == apart
    assert uniques_by_month(instance, known_at=after) == joined
    assert uniques_by_month(instance, known_at=before) == apart
