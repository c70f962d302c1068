"""Everything is killed, again and again, while somebody writes down what they were told.

Afterwards nothing that was acknowledged is lost, nothing is there twice, and nothing that nobody
sent; and whatever was made from the log says the same as the log.
"""

import asyncio
from contextlib import ExitStack
from typing import NamedTuple

import nats
import pytest

from infrastructure.analytics_engine import AnalyticsEngine
from tests.fixtures.read_models import ALL

SEED = 20260314
KILLS = {"api": 14, "projector": 15, "relay": 13, "engine": 4, "nats": 4, "postgres": 3}


class Run(NamedTuple):
    """What a run came to. `verified`: of each read model, what its rebuild said."""

    target: object
    seed: int
    kills: dict[str, int]
    checked: object
    verified: list[dict]

    def report(self) -> str:
        lines = [f"seed {self.seed}"]
        lines += [f"{times:>8} times killed: {name}" for name, times in self.kills.items()]
        lines += [f"{count:>8} {what}" for what, count in sorted(self.checked.counts.items())]
        lines += [f"{one['name']}: {one}" for one in self.verified]
        lines += [f"{kind}: {text}" for kind, text in self.checked.problems[:100]]
        return "\n".join(lines)


@pytest.fixture(scope="module")
def run_chaos(session_directory, run_instance, open_target, sending, nemesis, two_apps):
    with ExitStack() as stack:

        def run(name, seed, kills, pause):
            directory = session_directory / name
            directory.mkdir(mode=0o711)
            running = run_instance(directory / "instance")
            target = stack.enter_context(open_target(running, directory / "ledger.jsonl"))
            killer = nemesis(target, seed)
            with sending(target, two_apps(target), seed):
                killer.run(kills, pause=pause)
            target.wait_until_whole()
            return Run(target, seed, dict(killer.kills), target.check(), target.verify())

        yield run


@pytest.fixture(scope="module")
def run(run_chaos):
    return run_chaos("chaos", SEED, KILLS, pause=1.0)


def says_all(run):
    print(run.report())  # noqa: T201  the report of the run
    assert run.checked.problems == []
    assert [(one["name"], one["equal"]) for one in run.verified] == [(name, True) for name in ALL]


@pytest.mark.timeout(1200)
def test_fifty_kills_under_load_lose_nothing_and_double_nothing(run):
    assert run.kills == KILLS, "a run with fewer faults proves nothing"
    assert sum(run.kills.values()) >= 50
    says_all(run)


def test_the_run_was_worth_something(run):
    """Of every outcome there were some: without unknown ones, the kills met no request."""
    told = run.checked.counts
    for outcome in ("accepted", "duplicate", "conflict", "rejected", "taken"):
        assert told[f"items told {outcome}"] > 0
    assert told["requests unknown"] >= 10
    assert told["messages told of"] > 2_000
    assert told["reads"] > 50


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_hundreds_of_kills_with_other_seeds(run_chaos, seed):
    result = run_chaos(f"long-{seed}", seed, {k: v * 4 for k, v in KILLS.items()}, pause=1.5)
    says_all(result)


# --- the checker itself ----------------------------------------------------------------------
# Everything below is broken at once, each at a place of its own, and must be found by its place.
# So these come last: `run` is of no use after them.

APPEND = (
    "INSERT INTO log.events SELECT gen_random_uuid(), 1, (SELECT max(notification_id) + 1"
    " FROM log.events), recorded_at, app_id, topic, state FROM log.events"
    " WHERE notification_id = {position}"
)
REWRITE = (
    "UPDATE log.events SET state = convert_to(E'\\001' || replace(convert_from(substr(state, 2),"
    " 'UTF8'), '{old}', '{new}'), 'UTF8') WHERE notification_id = {position}"
)
OTHER_APP = (
    "UPDATE log.events SET app_id = (SELECT max(app_id::text)::uuid FROM log.events e"
    " WHERE e.app_id <> log.events.app_id) WHERE notification_id = {position}"
)
IN_POSTGRES = {
    "stored twice": APPEND,
    "its app swapped": OTHER_APP,
    "its body changed": REWRITE.format(old='"event":"', new='"event":"not ', position="{position}"),
    "sent by nobody": REWRITE.format(old="{message}", new="nobody", position="{position}"),
    "deleted": "DELETE FROM log.events WHERE notification_id = {position}",
    "one too many": "UPDATE people.distinct_ids SET messages = messages + 1 WHERE (app_number,"
    " distinct_id) = (1, 'user 7')",
    "one trait": "UPDATE people.said SET traits = (SELECT jsonb_object_agg(key, 'planted')"
    " FROM jsonb_each(traits::jsonb)) WHERE ctid = (SELECT ctid FROM people.said"
    " WHERE kind = 'identify' AND traits IS NOT NULL ORDER BY timestamp DESC LIMIT 1)",
    "unlisted": "DELETE FROM failed_events.refused WHERE ctid = (SELECT min(ctid)"
    " FROM failed_events.refused)",
    "parked": "INSERT INTO projections.parked (projection, position, reason)"
    " VALUES ('people', 3, 'planted')",
}
IN_CLICKHOUSE = {
    "row doubled": "INSERT INTO events SELECT * FROM events WHERE position = {position}",
    # The heavy kind, as the product's own changes are: after a light one the row was once still read.
    "row missing": "ALTER TABLE events DELETE WHERE position = {position} SETTINGS mutations_sync = 2",
    "row changed": "INSERT INTO events (app_number, event, position, properties) SELECT"
    " app_number, 'planted', position, properties FROM events WHERE position = {position}",
}
PLACE = (
    "SELECT notification_id, convert_from(substr(state, 2), 'UTF8')::json ->> 'message_id'"
    " FROM log.events WHERE topic = 'tracked.v1' ORDER BY 1 OFFSET %s LIMIT 1"
)


class Sabotaged(NamedTuple):
    """`at`: what was done -> the position and the message id that it was done to."""

    at: dict[str, tuple[int, str]]
    found: object


@pytest.fixture(scope="module")
def sabotaged(run, ask, lose_feed_message):
    at = {}
    with run.target.database() as connection:
        for number, what in enumerate([*IN_CLICKHOUSE, *IN_POSTGRES]):
            at[what] = connection.execute(PLACE, (100 + 10 * number,)).fetchone()
        for what, statement in IN_CLICKHOUSE.items():
            ask(statement.format(position=at[what][0]))
        for what, statement in IN_POSTGRES.items():
            said = statement.format(position=at[what][0], message=at[what][1])
            assert connection.execute(said).rowcount == 1
    lose_feed_message()
    forge_receipt(run.target.ledger)
    return Sabotaged(at, run.target.check())


@pytest.fixture(scope="module")
def ask(run):
    """A statement for the analytics engine, past the product."""
    engine = AnalyticsEngine(run.target.settings()["APPIZER_ANALYTICS_URL"])
    yield engine.command
    engine.close()


@pytest.fixture(scope="module")
def lose_feed_message(run):
    async def delete_one():
        client = await nats.connect(run.target.settings()["APPIZER_NATS_URL"])
        stream = client.jetstream()
        state = (await stream.stream_info("APPIZER_V1")).state
        await stream.delete_msg("APPIZER_V1", state.first_seq + 40)
        await client.close()

    return lambda: asyncio.run(delete_one())


def forge_receipt(ledger):
    """The sender's book says that it was told a position that nobody told it."""
    lines = ledger.read_text().splitlines()
    told = next(line for line in lines if '"do": "told"' in line and '"is": "accepted"' in line)
    before, _, after = told.partition('"position": ')
    _number, _, rest = after.partition("}")
    ledger.write_text("\n".join([*lines, f'{before}"position": 999999999}}{rest}']) + "\n")


def named(sabotaged, what, kind, *words):
    position, message = sabotaged.at.get(what, ("", ""))
    wanted = [word.format(position=position, message=message) for word in words]
    return sabotaged.found.naming(kind, *wanted)


@pytest.mark.parametrize(
    ("what", "kind", "words"),
    [
        ("row doubled", "analytics", ["rows at position {position}: 2, expected 1"]),
        ("row missing", "analytics", ["rows at position {position}: None, expected 1"]),
        ("row changed", "analytics", ["position {position}: event: 'planted'"]),
        ("stored twice", "doubled", ["'{message}'", "[{position}, "]),
        ("its app swapped", "lost", ["'{message}'"]),
        ("its app swapped", "analytics", ["position {position}: app_number"]),
        ("its app swapped", "feed", ["position {position} is"]),
        ("its body changed", "body", ["'{message}'", "position {position}"]),
        ("sent by nobody", "foreign", ["'nobody'", "position {position}"]),
        ("sent by nobody", "lost", ["'{message}'"]),
        ("deleted", "lost", ["'{message}'"]),
        ("deleted", "gap", ["follows"]),
        ("one too many", "people", ["number and messages of (1, 'user 7')"]),
        ("one trait", "people", ["trait ", "'planted'"]),
        ("unlisted", "failed", ["refusals are listed"]),
        ("parked", "parked", ["planted"]),
        ("a message lost", "feed", ["messages with position ", "None, expected 1"]),
        ("a receipt forged", "receipt", ["position 999999999 was told"]),
    ],
)
def test_the_checker_finds_what_was_planted(sabotaged, what, kind, words):
    assert named(sabotaged, what, kind, *words)
