"""Following the feed: the subscriber of the README, and `appizer events`."""

import json
import re
import select
import subprocess
import sys
from pathlib import Path
from uuid import UUID

import pytest
from click.testing import CliRunner

from api.cli.events import FEED_CATEGORIES, command
from infrastructure.database import open_engine, open_log
from infrastructure.event_store.reader import read_page
from infrastructure.provisioning import provision
from infrastructure.read_models import ReadModels, decode

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "subscribe.py"


@pytest.fixture
def events(settings):
    """`appizer events …`, configured by its environment."""

    def invoke(*arguments: str):
        return CliRunner().invoke(
            command,
            list(arguments),
            env={
                "APPIZER_DATABASE_URL": settings.database_url,
                "APPIZER_NATS_URL": settings.nats_url,
            },
        )

    return invoke


def positions(result):
    assert result.exit_code == 0, result.output
    return [int(json.loads(line)["position"]) for line in result.stdout.splitlines()]


def test_the_example_prints_new_events(log, relays, nats, until_relayed):
    with relays.start_here():
        until_relayed(log.append(1))
        subscriber = subprocess.Popen(
            [sys.executable, str(EXAMPLE), nats.url], stdout=subprocess.PIPE, text=True
        )
        try:
            # It says nothing when it has subscribed, so events are sent until it prints one.
            while not select.select([subscriber.stdout], [], [], 0.1)[0]:
                log.append(1, apps=1, body=b'{"event":"Signed up"}')
            line = subscriber.stdout.readline()
        finally:
            subscriber.kill()
            subscriber.wait()
            subscriber.stdout.close()
    assert line == f'tracked.v1 appizer.v1.{log.apps[0]}.tracked {{"event": "Signed up"}}\n'


def test_the_example_has_fifteen_lines_of_code():
    lines = [line for line in EXAMPLE.read_text().splitlines() if line.strip()]
    assert len(lines) <= 15


def test_tail_begins_at_a_position(events, log, relays, until_relayed):
    with relays.start_here():
        for _ in range(40):
            head = log.append(5, apps=1)
            until_relayed(head)
    assert positions(events("tail", "--from-position", "123", "--count", "5", "--json")) == [
        *range(123, 128)
    ]
    assert positions(events("tail", "--from-position", "1", "--count", "2", "--json")) == [1, 2]


def test_tail_begins_at_a_time(events, log, relays, until_relayed):
    with relays.start_here():
        until_relayed(log.append(3, apps=1))
    assert positions(events("tail", "--since", "5m", "--count", "3", "--json")) == [1, 2, 3]
    assert positions(events("tail", "--since", "2020-01-01", "--count", "1", "--json")) == [1]


def test_tail_shows_one_app_or_one_category(events, settings, log, relays, until_relayed):
    made = provision(settings)  # positions 1 to 5, of which 2, 4 and 5 are the app's
    log.append(3, apps=2)
    log.append_states([b"\x01{}"], [UUID(made.app_id)], "identified.v1")
    with relays.start_here():
        until_relayed(9)
    of_app = events("tail", "--from-position", "1", "--app", made.app_id, "--count", "4", "--json")
    assert positions(of_app) == [2, 4, 5, 9]
    system = events("tail", "--from-position", "1", "--app", "system", "--count", "2", "--json")
    assert positions(system) == [1, 3]
    people = events("tail", "--since", "5m", "--category", "people", "--count", "1", "--json")
    assert positions(people) == [9]


def test_tail_prints_json_as_it_was_published(events, log, relays, until_relayed):
    with relays.start_here():
        until_relayed(log.append(1, body=b'{"n": 1.0}'))
    line = events("tail", "--since", "5m", "--count", "1", "--json").stdout
    assert '"data":{"n": 1.0}' in line
    assert '"specversion":"1.0"' in line


def test_tail_prints_lines_that_cannot_rewrite_the_terminal(events, log, relays, until_relayed):
    with relays.start_here():
        until_relayed(log.append(1, body='{"n":"é\x7f\u202e"}'.encode()))
    line = events("tail", "--since", "5m", "--count", "1").stdout
    assert line.endswith("tracked.v1     " + str(log.apps[0]) + ' {"n":"é\\x7f\\u202e"}\n')


@pytest.mark.parametrize(
    "arguments",
    [
        ("--since", "yesterday"),
        ("--since", "5m", "--from-position", "1"),
        ("--app", "a.b"),
        ("--category", ">"),
        ("--category", "nonsense"),
        ("--app", "nosuch"),
        ("--app", "00000000-0000-4000-8000-000000000000"),
        ("--count", "0"),
        ("--from-position", "999999"),
    ],
)
def test_tail_refuses_what_makes_no_sense(events, arguments):
    assert events("tail", *arguments).exit_code == 2


def test_tail_names_the_apps_that_there_are(events, settings, database_url):
    made = provision(settings)
    engine = open_engine(database_url)
    models = ReadModels(engine)
    models.prepare()
    with open_log(database_url) as reader:
        models.apply([decode(entry) for entry in read_page(reader, 0, 100)])
    engine.dispose()
    refused = events("tail", "--app", "nosuch").stderr
    assert f"--app nosuch: no such app; there are {made.app_id}, system" in refused


def test_the_categories_are_those_that_are_documented():
    page = (EXAMPLE.parents[1] / "events.md").read_text()
    table = page.partition("| category | topics |")[2].partition("\n\n")[0]
    assert set(re.findall(r"^\| `(\w+)`", table, re.MULTILINE)) == set(FEED_CATEGORIES)


def test_refill_publishes_the_log_again(events, log, relays, until_relayed, expect_exact_copy):
    with relays.start_here():
        until_relayed(log.append(50))
        assert events("refill").exit_code == 0
        until_relayed(log.append(1))
    expect_exact_copy()


def test_refill_beyond_the_log_is_refused_and_empties_nothing(
    events, log, relays, until_relayed, expect_exact_copy
):
    with relays.start_here():
        until_relayed(log.append(50))
        refused = events("refill", "--from", "51")
        assert refused.exit_code == 1
        assert str(refused.exception) == "--from: 51 is beyond the end of the log, position 50"
        until_relayed(log.append(1))
    expect_exact_copy()


def test_refill_without_nats_says_so(events, nats):
    nats.kill()
    result = events("refill")
    assert result.exit_code == 1
    assert "NATS" in result.output
