"""Queries that nobody waits for end, and leave their place to others.

The engine of the tests has one place for heavy queries; each of these would hold it for minutes.
"""

import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote, unquote, urlsplit

import pytest

from domain.errors import Overloaded
from infrastructure.analytics_engine import LIGHT
from tests.fixtures.patience import until

ENDLESS = "SELECT count() FROM numbers(1000000000000) WHERE NOT ignore(sipHash64(number))"
# What is reckoned before the query itself runs, as criteria are.
IN_A_SCALAR = f"WITH ({ENDLESS}) AS n SELECT n, count() FROM numbers(1)"
LONG = {"max_execution_time": 3600}


def running(engine, mark):
    ask = "SELECT count() FROM system.processes WHERE query LIKE {mark:String} AND elapsed > 0"
    return engine.query(ask, {"mark": f"%/* {mark} */%"}, LIGHT).rows[0][0]


def begun(engine, engine_url, sql, mark):
    """A connection on which a query was sent; it runs."""
    at = urlsplit(engine_url)
    wire = socket.create_connection((at.hostname, at.port))
    login = f"user={quote(at.username)}&password={quote(unquote(at.password))}"
    marked = sql.replace("SELECT", f"SELECT /* {mark} */", 1)
    body = f"{marked} SETTINGS max_execution_time = 3600".encode()
    head = f"POST /?{login} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
    wire.sendall(head.encode() + body)
    until(lambda: running(engine, mark) > 0)
    return wire


@pytest.mark.parametrize("sql", [ENDLESS, IN_A_SCALAR], ids=["plain", "scalar"])
def test_a_connection_that_closes_gives_its_place_back(engine, engine_url, sql):
    begun(engine, engine_url, sql, "closes").close()
    assert engine.query("SELECT count() FROM numbers(5)").rows == [(5,)]  # waits for the place


def test_one_that_waits_for_a_place_is_ended_too(engine, engine_url):
    first = begun(engine, engine_url, ENDLESS, "first")
    with ThreadPoolExecutor(1) as pool:
        second = pool.submit(engine.query, ENDLESS, None, {**LONG, "query_id": "second"})
        while not second.done():
            engine.kill("second")
        with pytest.raises(Overloaded):
            second.result()
    assert running(engine, "first") > 0
    first.close()
    assert engine.query("SELECT count() FROM numbers(5)").rows == [(5,)]


def test_a_query_is_killed_by_the_id_that_its_caller_gave(engine):
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(engine.query, ENDLESS, None, {**LONG, "query_id": "mine"})
        while not asked.done():
            engine.kill("mine")
            engine.kill("another")
        with pytest.raises(Overloaded):
            asked.result()
    assert engine.query("SELECT count() FROM numbers(5)").rows == [(5,)]


def test_others_on_the_same_connections_are_not_ended(engine):
    """The mark of a read is its own, also where two ask the same."""
    slow = "SELECT sum(sleepEachRow(0.05)) FROM numbers(10) SETTINGS max_block_size = 1"
    done = threading.Event()

    def kill():
        while not done.is_set():
            engine.kill("other")

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        answer = engine.query(slow, None, {**LIGHT, "query_id": "kept"})
    finally:
        done.set()
        killer.join()
    assert answer.rows == [(0,)]


def test_what_was_read_is_told(engine, table):
    engine.command(f"CREATE TABLE {table} (n UInt64) ENGINE = MergeTree ORDER BY n")
    engine.command(f"INSERT INTO {table} SELECT number FROM numbers(1000)")
    read = engine.query(f"SELECT sum(n) FROM {table}").read
    assert (read.rows, read.bytes) == (1000, 8000)
    assert read.engine_ms > 0
