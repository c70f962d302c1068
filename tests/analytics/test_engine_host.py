"""The ClickHouse HTTP interface as clickhouse-connect uses it, and the limits of the host."""

import signal
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from urllib.parse import quote, unquote, urlsplit
from uuid import uuid4

import clickhouse_connect
import pytest
from clickhouse_connect.driver.exceptions import DatabaseError

from domain.errors import Overloaded, TooHeavy
from infrastructure.analytics_engine import LIGHT, AnalyticsEngine, EngineFailed

SLOW = "SELECT sum(sleepEachRow(0.1)) FROM (SELECT * FROM numbers(30)) SETTINGS max_block_size = 1"


@pytest.fixture(params=[{}, {"compress": "lz4"}, {"compress": "gzip"}, {"form": True}], ids=str)
def client(engine_url, request):
    """As anybody would make one."""
    at = urlsplit(engine_url)
    made = clickhouse_connect.get_client(
        host=at.hostname,
        port=at.port,
        username=at.username,
        password=unquote(at.password),
        compress=request.param.get("compress", True),
        form_encode_query_params=request.param.get("form", False),
    )
    yield made
    made.close()


@pytest.fixture
def scratch(engine):
    name = f"scratch_{uuid4().hex}"
    engine.command(
        f"CREATE TABLE {name} (n UInt32, t LowCardinality(String), at DateTime64(6, 'UTC'), id UUID,"
        " maybe Nullable(String), list Array(String), map Map(String, UInt8))"
        " ENGINE = MergeTree ORDER BY n"
    )
    yield name
    engine.command(f"DROP TABLE {name} SYNC")


def test_an_unmodified_client_connects(client):
    assert client.ping()
    assert int(client.server_version.partition(".")[0]) >= 26
    assert str(client.server_tz) == "UTC"
    assert client.command("SELECT 1") == 1


def test_values_survive_as_parameters(client):
    values = {"a": "x'y\\\t\n\r\n--é", "b": 2**32 - 1, "c": ["q'", "\\", ""], "d": None}
    found = client.query(
        "SELECT {a:String}, {b:UInt32}, {c:Array(String)}, {d:Nullable(String)}", parameters=values
    )
    assert found.result_rows == [tuple(values.values())]


def test_rows_survive_an_insert_in_native_format(client, scratch):
    at = datetime(2026, 3, 14, 15, 9, 26, 535897, tzinfo=UTC)
    rows = [
        (1, "x", at, uuid4(), None, ["a", ""], {"k": 1}),
        (2, "y\0", at, uuid4(), "é", [], {}),
        *((n, "x" * n, at, uuid4(), None, [], {}) for n in range(3, 1000)),
    ]
    summary = client.insert(scratch, rows)
    assert summary.written_rows == len(rows)
    found = client.query(f"SELECT * FROM {scratch} ORDER BY n", column_tzs={"at": "UTC"})
    assert [(*row[:2], row[2].replace(tzinfo=UTC), *row[3:]) for row in found.result_rows] == rows


def test_raw_formats_go_in_and_out(client, scratch):
    client.raw_insert(scratch, ["n", "t"], b"5\tx\n6\ty\n", fmt="TSV")
    client.raw_insert(scratch, ["n", "t"], b'{"n": 7, "t": "FORMAT Native\\n"}', fmt="JSONEachRow")
    client.command(f"INSERT INTO {scratch} (n, t) VALUES (8, 'FORMAT TSV\n')")
    client.command(f"INSERT INTO {scratch} (n, t) SELECT 9, 'z'")
    found = client.raw_query(f"SELECT n, t FROM {scratch} ORDER BY n", fmt="CSV")
    assert found == b'5,"x"\n6,"y"\n7,"FORMAT Native\n"\n8,"FORMAT TSV\n"\n9,"z"\n'


def test_a_block_of_bytes_that_look_like_space_arrives_whole(client, scratch):
    """13, 10 and 32 in front of the rows: nothing may trim them."""
    blob = b"\r\n  " + b"\n\r\n\r"
    client.raw_insert(scratch, ["n"], blob, fmt="RowBinary")
    found = client.query(f"SELECT n FROM {scratch} ORDER BY n").result_rows
    assert found == sorted((int.from_bytes(part, "little"),) for part in (blob[:4], blob[4:]))


ERRORS = [
    ("SELECT nope FROM system.one", 47),
    ("SELEC 1", 62),
    ("SELECT * FROM missing", 60),
    ("SELECT throwIf(1)", 395),
    ("SELECT 1 SETTINGS nope = 1", 115),
    ("INSERT INTO missing (a) FORMAT TSV\n1", 60),
]


@pytest.mark.parametrize(("sql", "code"), ERRORS)
def test_errors_have_the_code_of_clickhouse(client, sql, code):
    with pytest.raises(DatabaseError) as refused:
        client.command(sql)
    assert refused.value.code == code


def test_an_insert_that_cannot_be_read_leaves_nothing_and_the_host_well(client, scratch):
    with pytest.raises(DatabaseError):
        client.raw_insert(scratch, ["n"], b"1\ntwo\n", fmt="TSV")
    assert client.query(f"SELECT count() FROM {scratch}").result_rows == [(0,)]


def test_settings_are_of_one_statement_only(client):
    ask = "SELECT toString(getSetting('max_threads')), toString(getSetting('max_block_size'))"
    usual = client.query(ask).result_rows
    assert client.query(ask, settings={"max_threads": 1}).result_rows == [("1", usual[0][1])]
    assert client.query(ask, settings={"max_block_size": 7}).result_rows == [(usual[0][0], "7")]
    client.command("SET max_threads = 1")
    assert client.query(ask).result_rows == usual


def test_a_large_answer_streams(client):
    with client.query_row_block_stream("SELECT number FROM numbers(300000)") as blocks:
        assert sum(len(rows) for rows in blocks) == 300_000


def test_a_wrong_password_is_refused(engine_url):
    at = urlsplit(engine_url)
    for user, password in ((at.username, "wrong"), ("default", ""), ("other", at.password)):
        with pytest.raises(DatabaseError) as refused:
            clickhouse_connect.get_client(
                host=at.hostname, port=at.port, username=user, password=password
            )
        assert refused.value.code == 516


def test_get_only_reads(engine_url):
    at = urlsplit(engine_url)
    base = f"http://{at.hostname}:{at.port}/?user={at.username}&password={at.password}&query="
    with urllib.request.urlopen(base + quote("SELECT 1 + 1")) as answer:
        assert answer.read() == b"2\n"
    with pytest.raises(urllib.error.HTTPError) as refused, refused_open(base):
        pass
    assert refused.value.headers["X-ClickHouse-Exception-Code"] == "164"
    refused.value.close()


def refused_open(base):
    return urllib.request.urlopen(base + quote("CREATE TABLE t (a UInt8) ENGINE = Memory"))


def test_many_threads_get_their_own_answers(engine):
    def ask(number):
        return engine.query("SELECT {n:UInt32}, sleep(0.01)", {"n": number}, LIGHT).rows[0][0]

    with ThreadPoolExecutor(24) as pool:
        assert list(pool.map(ask, range(200))) == list(range(200))


def test_light_queries_and_inserts_do_not_wait_for_heavy_ones(engine, scratch):
    """There is one place for heavy ones; while it is taken, all this is answered."""
    heavy = threading.Thread(target=engine.query, args=(SLOW,))
    heavy.start()
    running = "SELECT count() FROM system.processes WHERE query LIKE '%sleepEachRow%30%'"
    while engine.query(running, None, LIGHT).rows[0][0] < 2:
        time.sleep(0.01)
    engine.insert_rows(scratch, ["n"], b"1\n", format_name="TSV")
    assert engine.query(f"SELECT n FROM {scratch}", None, LIGHT).rows == [(1,)]
    assert heavy.is_alive()
    heavy.join()


def test_a_query_beyond_its_time_is_not_available(engine):
    with pytest.raises(TooHeavy):
        engine.query(SLOW, None, {"max_execution_time": 0.2})


def test_a_query_beyond_its_memory_is_not_available_and_the_host_lives(engine):
    greedy = "SELECT length(groupArray(number)) FROM numbers(100000000)"
    with pytest.raises(TooHeavy):
        engine.query(greedy, None, {"max_memory_usage": 100_000_000})
    assert engine.query("SELECT 1").rows == [(1,)]


def test_a_mistake_of_ours_is_not_passed_off_as_a_busy_engine(engine):
    with pytest.raises(EngineFailed) as failed:
        engine.query("SELECT nope")
    assert failed.value.code == 47


def test_nobody_there_is_overloaded(engine_process):
    with pytest.raises(Overloaded):
        AnalyticsEngine(engine_process.url).query("SELECT 1")


def test_it_stops_cleanly_and_finishes_what_is_running(engine_process):
    engine_process.start()
    client = AnalyticsEngine(engine_process.url)
    client.command("CREATE TABLE kept (n UInt64) ENGINE = MergeTree ORDER BY n")
    slow = "INSERT INTO kept SELECT number + sleep(1) FROM numbers(2)"
    running = threading.Thread(target=client.command, args=(slow,))
    running.start()
    ask = "SELECT count() FROM system.processes WHERE query_kind = 'Insert'"
    while not client.query(ask).rows[0][0]:
        time.sleep(0.01)
    assert engine_process.stop() == 0
    running.join()
    engine_process.start()
    assert client.query("SELECT count() FROM kept").rows == [(2,)]
    engine_process.process.send_signal(signal.SIGINT)
    assert engine_process.process.wait() == 0
    client.close()


def test_the_memory_of_the_whole_host_is_limited(engine):
    ask = (
        "SELECT toUInt64(value) FROM system.server_settings WHERE name = 'max_server_memory_usage'"
    )
    assert 0 < engine.query(ask).rows[0][0] <= (4096 + 2048) * 1024 * 1024


def test_an_answer_has_nothing_of_a_statement_that_failed_before(engine):
    """ChDB keeps what a failed statement had written, for the next answer of its connection."""
    for _ in range(20):
        with pytest.raises(EngineFailed):
            engine.query(
                "SELECT number, throwIf(number = 200000) FROM numbers(300000)",
                settings={"max_threads": 1},
            )
        answer = engine.query("SELECT toUInt64(7), toUInt8(1)", settings={"max_threads": 1})
        assert list(answer.rows) == [(7, 1)]
