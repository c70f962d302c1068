"""The reactor and what it needs are killed while people do things: afterwards the members are those
of a plain count, and who entered and left balances with it.
"""

import contextlib
import json
import random
from collections import Counter, defaultdict

import httpx
import pytest

from domain.segments import SegmentEntered, SegmentLeft
from infrastructure import codec
from tests.fixtures.patience import asked_again

PEOPLE = 40
PLAN = {"reactor": 4, "projector": 1, "engine": 1}
CRITERIA = {
    "often": ("did buy at least 3 times", lambda did: did["buy"] >= 3),
    "never": ("did view and not did buy", lambda did: did["view"] and not did["buy"]),
    "some": ("did view at most 5 times and did buy", lambda did: did["view"] <= 5 and did["buy"]),
}


class Shop:
    """The first app of the instance. What it was sent is counted here too."""

    def __init__(self, target) -> None:
        keys = json.loads((target.data / "quickstart.json").read_text())
        self.http = httpx.Client(base_url=target.url, timeout=30)
        self.http.headers["Authorization"] = f"Bearer {keys['secret_key']}"
        self.did = defaultdict(Counter)
        self.position = 0
        self._random = random.Random(3)
        self.segments = {}
        for name, (text, _) in CRITERIA.items():
            made = self.http.post("/v1/segments", json={"name": name, "criteria": text})
            self.segments[name] = made.raise_for_status().json()["segment"]["segment_id"]

    def send(self, count: int) -> None:
        for n in range(count):
            who, what = f"u{self._random.randrange(PEOPLE)}", self._random.choice(["view", "buy"])
            event = {"user_id": who, "event_name": what, "message_id": f"m{self.position}-{n}"}
            answer = asked_again(lambda event=event: self.http.post("/v1/events", json=event))
            self.position = answer.raise_for_status().json()["position"]
            self.did[who][what] += 1

    def expected(self) -> dict[str, set[str]]:
        return {
            name: {who for who, did in self.did.items() if holds(did)}
            for name, (_, holds) in CRITERIA.items()
        }

    def members(self) -> dict[str, set[str]]:
        found = {}
        for name, one in self.segments.items():
            answer = self.http.get(f"/v1/segments/{one}/members", params={"limit": 100})
            rows = answer.raise_for_status().json()["members"]
            found[name] = {row["user_id"] for row in rows}
        return found


def balance(target) -> dict[str, int]:
    """Segment -> how many are in it, of those who entered and left on the log."""
    inside = defaultdict(set)
    with target.database() as connection:
        rows = connection.execute(
            "SELECT topic, state FROM log.events WHERE topic IN (%s, %s) ORDER BY notification_id",
            (SegmentEntered.TOPIC, SegmentLeft.TOPIC),
        ).fetchall()
    for topic, state in rows:
        event = codec.decode(topic, state)
        persons = set(event.persons)
        if topic == SegmentEntered.TOPIC:
            assert not inside[event.segment_id] & persons
            inside[event.segment_id] |= persons
        else:
            assert inside[event.segment_id] >= persons
            inside[event.segment_id] -= persons
    return {str(one): len(persons) for one, persons in inside.items()}


@pytest.mark.timeout(300)
def test_segments_survive_whatever_is_killed(
    open_directory, run_instance, open_target, nemesis, waiting
):
    running = run_instance(open_directory / "instance")
    with contextlib.ExitStack() as stack:
        target = stack.enter_context(open_target(running, open_directory / "ledger.jsonl"))
        shop = Shop(target)
        stack.callback(shop.http.close)
        killer = nemesis(target, 5)
        for name, times in PLAN.items():
            for _ in range(times):
                shop.send(20)
                killer.run({name: 1}, pause=0.5)
        shop.send(20)
        assert killer.kills == PLAN
        waiting(lambda: shop.members() == shop.expected(), 90)
        assert balance(target) == {
            shop.segments[name]: len(members) for name, members in shop.expected().items()
        }
