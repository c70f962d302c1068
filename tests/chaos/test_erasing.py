"""Parts are killed while people are erased: nothing of them stays, and everything is counted."""

import contextlib
import itertools
import json

import httpx
import pytest

from tests.fixtures.patience import asked_again

SEED = 11
PEOPLE = 6
PLAN = {"projector": 5, "engine": 2, "nats": 2, "relay": 1, "api": 1}


class App:
    """The first app of the instance, asked with an admin's key."""

    def __init__(self, target) -> None:
        keys = json.loads((target.data / "quickstart.json").read_text())
        self.http = httpx.Client(base_url=target.url, timeout=30)
        address = f"/v1/apps/{keys['app_id']}/keys"
        made = self.http.post(address, json={"kind": "admin"}, headers=_bearer(keys["org_key"]))
        self.http.headers.update(_bearer(made.raise_for_status().json()["key"]))

    def close(self) -> None:
        self.http.close()

    def write(self) -> int:
        """Of all people and of twice as many others; the last position."""
        senders = [f"secret-{n}@example.com" for n in range(PEOPLE)] + [f"u{n}" for n in range(12)]
        for first in range(0, 4000, 400):
            batch = [
                {"event_name": "bought", "user_id": one, "properties": {"n": n, "who": one},
                 "timestamp": f"2026-03-0{1 + n % 9}T12:00:00Z"}
                for n, one in zip(range(first, first + 400), itertools.cycle(senders), strict=False)
            ]  # fmt: skip
            answer = self.http.post("/v1/events/batch", json={"events": batch})
            position = answer.raise_for_status().json()["results"][-1]["position"]
        return position

    def erase(self, position: int) -> list[str]:
        return [self.erase_one(n, position) for n in range(PEOPLE)]

    def erase_one(self, n: int, position: int) -> str:
        url = f"/v1/users/secret-{n}@example.com?min_position={position}"
        answer = asked_again(lambda: self.http.delete(url)).raise_for_status()
        return answer.json()["erasure"]["erasure_id"]

    def steps(self) -> set[str]:
        found = self.http.get("/v1/erasures").raise_for_status().json()["erasures"]
        return {one["status"] if one["finished_at"] else one["step"] for one in found}

    def totals(self) -> object:
        question = {"from": "2026-03-01", "to": "2026-04-01", "interval": "day"}
        asked = [{**question, "measure": measure} for measure in ("total", "unique")]
        return [self.http.post("/v1/analytics/trends", json=one).json()["data"] for one in asked]


def _bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


@pytest.mark.timeout(600)
def test_an_erasure_survives_whatever_is_killed(
    open_directory, run_instance, open_target, nemesis, waiting
):
    running = run_instance(open_directory / "instance")
    with contextlib.ExitStack() as stack:
        target = stack.enter_context(open_target(running, open_directory / "ledger.jsonl"))
        app = stack.enter_context(contextlib.closing(App(target)))
        position = app.write()
        target.wait_until_whole()
        before = app.totals()
        app.erase(position)
        killer = nemesis(target, SEED)
        killer.run(PLAN, pause=2.0)
        waiting(lambda: app.steps() <= {"files", "finished"}, 300)
        target.wait_until_whole()
        assert app.totals() == before
        assert all(one["equal"] for one in target.verify())
        with target.database() as connection:
            left = connection.execute(
                "SELECT count(*) FROM log.events WHERE position('secret-'::bytea in state) > 0"
            ).fetchone()
            receipts = connection.execute(
                "SELECT count(*) FROM log.events WHERE topic = 'person.erased.v1'"
            ).fetchone()
        assert (left, receipts) == ((0,), (PEOPLE,))
        waiting(lambda: app.steps() == {"finished"}, 300)
