"""Everything is killed, again and again, while somebody writes down what they were told.

Afterwards nothing that was acknowledged is lost, nothing is there twice, and nothing that nobody
sent; and whatever was made from the log says the same as the log.
"""

from contextlib import ExitStack
from typing import NamedTuple

import pytest

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
    assert [(one["name"], one["equal"]) for one in run.verified] == [
        ("apps", True),
        ("people", True),
        ("failed_events", True),
        ("events", True),
    ]


@pytest.mark.timeout(400)
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
    result = run_chaos(f"long-{seed}", seed, {k: v * 4 for k, v in KILLS.items()}, pause=3.0)
    says_all(result)


# --- the checker itself ----------------------------------------------------------------------
# Each breaks one thing on the healed instance, and stays: what was found before is told apart by
# the place that it names. So these come last, and `run` is of no use after them.


@pytest.fixture
def database(run):
    with run.target.database() as connection:
        yield connection


@pytest.fixture
def some_event(database):
    """Position and message id of a tracked event that nobody has broken yet."""

    def pick(offset):
        return database.execute(
            "SELECT notification_id, convert_from(substr(state, 2), 'UTF8')::json ->> 'message_id'"
            " FROM log.events WHERE topic = 'tracked.v1' ORDER BY 1 OFFSET %s LIMIT 1",
            (offset,),
        ).fetchone()

    return pick


@pytest.fixture
def ask(run):
    """A statement for the analytics engine, past the product."""
    from infrastructure.analytics_engine import AnalyticsEngine

    engine = AnalyticsEngine(run.target.settings()["APPIZER_ANALYTICS_URL"])
    yield engine.command
    engine.close()


def test_it_finds_a_row_doubled_in_the_analytics_table(run, some_event, ask):
    position, _ = some_event(100)
    ask(f"INSERT INTO events SELECT * FROM events WHERE position = {position}")
    assert run.target.check().naming("analytics", f"rows at position {position}: 2, expected 1")


def test_it_finds_a_row_missing_from_the_analytics_table(run, some_event, ask):
    position, _ = some_event(110)
    ask(f"DELETE FROM events WHERE position = {position}")
    assert run.target.check().naming("analytics", f"rows at position {position}: None, expected 1")


def test_it_finds_a_property_that_changed_in_the_analytics_table(run, some_event, ask):
    position, _ = some_event(120)
    ask(
        "INSERT INTO events (app_number, event, pid0, ts, position) SELECT app_number, 'other',"
        f" pid0, ts, position FROM events WHERE position = {position}"
    )
    assert run.target.check().naming("analytics", f"position {position}: event: 'other'")


def test_it_finds_two_events_whose_apps_were_swapped(run, some_event, database):
    position, message = some_event(130)
    swap = (
        "UPDATE log.events SET app_id = (SELECT max(app_id::text)::uuid FROM log.events e"
        " WHERE e.app_id <> log.events.app_id) WHERE notification_id = %s"
    )
    database.execute(swap, (position,))
    found = run.target.check()
    assert found.naming("lost", f"'{message}'") or found.naming("body", f"'{message}'")
    assert found.naming("analytics", f"position {position}: app_number")
    assert found.naming("feed", f"position {position} is")


def test_it_finds_a_body_that_changed_on_the_log(run, some_event, database):
    position, message = some_event(140)
    database.execute(
        "UPDATE log.events SET state = convert_to(E'\\001' || replace(convert_from(substr(state, 2),"
        " 'UTF8'), '\"event\":\"', '\"event\":\"not '), 'UTF8') WHERE notification_id = %s",
        (position,),
    )
    assert run.target.check().naming("body", f"'{message}'", f"position {position}")


def test_it_finds_a_message_stored_twice(run, some_event, database):
    position, message = some_event(150)
    database.execute(
        "INSERT INTO log.events SELECT gen_random_uuid(), 1, (SELECT max(notification_id) + 1"
        " FROM log.events), recorded_at, app_id, topic, state FROM log.events"
        " WHERE notification_id = %s",
        (position,),
    )
    assert run.target.check().naming("doubled", f"'{message}'")


def test_it_finds_a_message_that_nobody_sent(run, some_event, database):
    position, message = some_event(160)
    database.execute(
        "UPDATE log.events SET state = convert_to(E'\\001' || replace(convert_from(substr(state, 2),"
        " 'UTF8'), %s, 'nobody'), 'UTF8') WHERE notification_id = %s",
        (message, position),
    )
    found = run.target.check()
    assert found.naming("foreign", "'nobody'")
    assert found.naming("lost", f"'{message}'")


def test_it_finds_a_row_deleted_from_the_log_and_the_gap_that_it_leaves(run, some_event, database):
    position, message = some_event(170)
    database.execute("DELETE FROM log.events WHERE notification_id = %s", (position,))
    found = run.target.check()
    assert found.naming("lost", f"'{message}'")
    assert found.naming("gap", f"position {position + 1} follows {position - 1}")


def test_it_finds_a_person_who_was_counted_once_too_often(run, database):
    database.execute("UPDATE people.distinct_ids SET messages = messages + 1 WHERE number = 7")
    assert len(run.target.check().naming("people", "number and messages of (1, ")) >= 1


def test_it_finds_a_trait_that_changed(run, database):
    row = database.execute(
        "UPDATE people.traits SET value = '\"other\"' WHERE ctid = (SELECT min(ctid) FROM"
        " people.traits) RETURNING trait"
    ).fetchone()
    assert run.target.check().naming("people", "trait ", row[0], "'other'")


def test_it_finds_a_refusal_that_is_not_listed(run, database):
    database.execute(
        "DELETE FROM failed_events.refused WHERE ctid = (SELECT min(ctid) FROM failed_events.refused)"
    )
    assert run.target.check().naming("failed", "refusals are listed")


def test_it_finds_a_parked_event(run, database):
    database.execute(
        "INSERT INTO projections.parked (projection, position, reason) VALUES ('people', 3, 'why')"
    )
    assert run.target.check().naming("parked", "why")


def test_it_finds_a_message_missing_from_the_feed(run):
    import asyncio

    import nats

    async def delete_one():
        client = await nats.connect(run.target.settings()["APPIZER_NATS_URL"])
        stream = client.jetstream()
        state = (await stream.stream_info("APPIZER_V1")).state
        await stream.delete_msg("APPIZER_V1", state.first_seq + 40)
        await client.close()

    asyncio.run(delete_one())
    assert run.target.check().naming("feed", "messages with position ", "None, expected 1")


def test_it_finds_a_receipt_that_is_not_kept(run):
    """The ledger's sabotage: it says that something was acknowledged that was not."""
    lines = run.target.ledger.read_text().splitlines()
    told = next(line for line in lines if '"do": "told"' in line and '"is": "accepted"' in line)
    before, _, after = told.partition('"position": ')
    number, _, rest = after.partition("}")
    wrong = f'{before}"position": {int(number) + 1}}}{rest}'
    run.target.ledger.write_text("\n".join([*lines, wrong]) + "\n")
    assert run.target.check().naming("receipt", f"position {int(number) + 1} was told")
