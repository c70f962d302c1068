"""Single statements from the event loop."""

import asyncio

import psycopg
import pytest
from sqlalchemy import Text, bindparam, select, text
from sqlalchemy.exc import OperationalError

from infrastructure.reads import Reads

ECHO = select(bindparam("given", type_=Text()).label("said"))
WHO = text("SELECT pg_backend_pid() AS pid")
SLOW = text("SELECT pg_backend_pid() AS pid FROM pg_sleep(0.1)")


def run(database_url, ask):
    async def open_and_ask():
        reads = Reads(database_url, 30.0)
        try:
            return await ask(reads)
        finally:
            await reads.close()

    return asyncio.run(open_and_ask())


def test_everybody_who_asks_at_once_gets_an_answer_of_their_own(database_url):
    async def ask(reads):
        return await asyncio.gather(*(reads.all(ECHO, {"given": str(n)}) for n in range(200)))

    assert [rows[0].said for rows in run(database_url, ask)] == [str(n) for n in range(200)]


def test_connections_that_were_lost_are_replaced_and_the_question_asked_again(database_url):
    async def ask(reads):
        slow = await asyncio.gather(*(reads.all(SLOW, {}) for _ in range(8)))
        before = {rows[0].pid for rows in slow}
        with psycopg.connect(database_url, autocommit=True) as connection:
            for pid in before:
                connection.execute("SELECT pg_terminate_backend(%s)", (pid,))
        after = await asyncio.gather(*(reads.all(WHO, {}) for _ in range(20)))
        return before, {rows[0].pid for rows in after}

    before, after = run(database_url, ask)
    assert len(before) > 1
    assert before.isdisjoint(after)


def test_a_database_that_is_away_is_told_as_such():
    async def ask(reads):
        with pytest.raises(OperationalError):
            await reads.all(WHO, {})

    run("postgresql://nobody@127.0.0.1:1/none", ask)
