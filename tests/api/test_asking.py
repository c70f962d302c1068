"""A question has a place among its app's, and keeps it until the engine is done, whoever waits."""

import asyncio
import socket
import threading
import time
from types import SimpleNamespace
from urllib.parse import urlsplit

import msgspec
import pytest

from api.analytics.asking import in_place
from api.errors import headers_of, status_of
from domain.errors import Overloaded, TooManyQueries
from infrastructure.analytics_engine import LIGHT, AnalyticsEngine
from infrastructure.places import Places
from tests.fixtures.patience import until

APP, OTHER = 1, 2


class Engine:
    """Answers a question once it is told to, or when its query is killed."""

    def __init__(self):
        self.asked, self.over = threading.Event(), threading.Event()
        self.killed = []

    def ask(self, query_id):
        self.query_id = query_id
        self.asked.set()
        self.over.wait()
        if self.killed:
            raise Overloaded("the analytics engine is busy")
        return "answer"

    def kill(self, query_id):
        self.killed.append(query_id)
        if len(self.killed) > 1:  # the first time it was not running yet
            self.over.set()


class Asker:
    """A request whose connection the test closes."""

    def __init__(self):
        self.closed = asyncio.Event()
        self._told = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive(self):
        if self._told:
            return self._told.pop()
        await self.closed.wait()
        return {"type": "http.disconnect"}


def adapters(places, engine):
    return SimpleNamespace(places=places, analytics=engine)


def test_an_asker_who_goes_ends_the_query_and_leaves_the_place():
    async def run():
        places, engine, asker = Places(1, wait_seconds=0.01), Engine(), Asker()
        asking = asyncio.create_task(in_place(asker, adapters(places, engine), APP, engine.ask))
        await asyncio.to_thread(engine.asked.wait)
        with pytest.raises(TooManyQueries):
            await in_place(Asker(), adapters(places, engine), APP, lambda _: "no")
        assert await in_place(Asker(), adapters(places, engine), OTHER, lambda _: "yes") == "yes"
        asker.closed.set()
        with pytest.raises(Overloaded):
            await asking
        assert set(engine.killed) == {engine.query_id}
        assert await in_place(Asker(), adapters(places, engine), APP, lambda _: "yes") == "yes"

    asyncio.run(run())


def test_an_asker_who_stays_is_answered():
    async def run():
        places, engine = Places(1), Engine()
        asking = asyncio.create_task(in_place(Asker(), adapters(places, engine), APP, engine.ask))
        await asyncio.to_thread(engine.asked.wait)
        waiting = asyncio.create_task(
            in_place(Asker(), adapters(places, engine), APP, lambda _: "next")
        )
        engine.over.set()
        assert [await asking, await waiting] == ["answer", "next"]
        assert engine.killed == []

    asyncio.run(run())


def test_the_refusal_says_when_to_ask_again():
    refused = TooManyQueries("full")
    assert (status_of(refused), headers_of(refused)) == (429, {"retry-after": "1"})


HEAVY = "SELECT sum(arrayJoin(range(1000000)) + arrayJoin(range(1000001))) AS endless_question"


def test_a_closed_connection_ends_the_query_of_a_whole_api(
    tenant, start_api, settings_in_force, tmp_path
):
    tenant.ask("/v1/events", min_position=tenant.sent({"event_name": "seen", "user_id": "ada"}))
    api = start_api(app_queries="1")
    engine = AnalyticsEngine(settings_in_force["APPIZER_ANALYTICS_URL"])
    body = msgspec.json.encode({"query": HEAVY})
    head = (
        "POST /v1/analytics/query HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {tenant.secret_key}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    at = urlsplit(str(api.base_url))
    ask = (
        "SELECT count() FROM system.processes"
        " WHERE query LIKE '%endless%' AND query NOT LIKE '%processes%'"
    )

    def begins():
        """False where others have all places of the engine for so long."""
        with socket.create_connection((at.hostname, at.port)) as wire:
            wire.sendall(head.encode() + body)
            end = time.monotonic() + 10
            while time.monotonic() < end:
                if engine.query(ask, None, LIGHT).rows[0][0]:
                    return True
                time.sleep(0.02)
        return False

    until(begins)
    until(lambda: any("asker is gone" in log.read_text() for log in tmp_path.glob("api-*.log")))
    headers = tenant.bearer(tenant.secret_key)

    def answer():
        question = {"query": "SELECT count() AS n FROM events"}
        return api.post("/v1/analytics/query", headers=headers, json=question)

    until(lambda: answer().status_code == 200)
    engine.close()
