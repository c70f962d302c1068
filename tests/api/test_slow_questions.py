"""A question to Postgres that takes too long is ended there, and told as one."""

from types import SimpleNamespace

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from api.errors import answer_away
from infrastructure.database import open_engine, open_log

REQUEST = SimpleNamespace(method="GET", url=SimpleNamespace(path="/v1/users"))


def test_it_is_the_question_and_not_the_store(database_url):
    engine = open_engine(database_url, query_seconds=0.1)
    with engine.connect() as connection, pytest.raises(OperationalError) as raised:
        connection.execute(text("SELECT pg_sleep(20)"))
    engine.dispose()
    answer = answer_away(REQUEST, raised.value)
    assert (answer.status_code, answer.content.code) == (422, "QUERY_TOO_HEAVY")


def test_a_store_that_is_away_is_still_that(database_url):
    engine = open_engine(database_url.rpartition("/")[0] + "/nowhere", query_seconds=0.1)
    with pytest.raises(OperationalError) as raised:
        engine.connect()
    assert answer_away(REQUEST, raised.value).status_code == 503


@pytest.mark.parametrize("path", ["/v1/users", "/v1/users/ada"])
def test_it_does_not_hold_the_api(tenant, start_api, settings_in_force, problem, path):
    tenant.sent({"event_name": "seen", "user_id": "ada"})
    api = start_api(query_seconds="1.0")
    with open_log(settings_in_force["APPIZER_DATABASE_URL"]) as held, held.transaction():
        held.execute("LOCK TABLE people.distinct_ids IN ACCESS EXCLUSIVE MODE")
        answer = api.get(path, headers=tenant.bearer(tenant.secret_key))
    problem(answer, 422, "QUERY_TOO_HEAVY")
    assert api.get(path, headers=tenant.bearer(tenant.secret_key)).status_code == 200
