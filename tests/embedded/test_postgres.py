"""The embedded Postgres: durable, closed to strangers, and never twice on one directory."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from infrastructure.embedded.accounts import Account, reachable
from infrastructure.embedded.ports import free_port
from infrastructure.embedded.postgres import EmbeddedPostgres
from infrastructure.embedded.processes import CannotStart, wait_until_ready

ROOT = Path(__file__).parents[2]
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs Postgres as somebody else")


@pytest.fixture
def new_server(open_directory: Path) -> Iterator[Callable[[], EmbeddedPostgres]]:
    """Another server object for the same data each time, as another supervisor would make it."""
    made = []

    def make() -> EmbeddedPostgres:
        server = EmbeddedPostgres(
            open_directory / "postgres",
            port=free_port(),
            password="pass word/@:",
            log=open_directory / "postgres.log",
        )
        made.append(server)
        return server

    yield make
    for server in made:
        server.stop()


def started(server: EmbeddedPostgres) -> EmbeddedPostgres:
    server.start()
    wait_until_ready(server, seconds=60)
    return server


def test_a_committed_row_survives_kill_9_of_the_server(new_server):
    first = started(new_server())
    with psycopg.connect(first.url()) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 7 AS number")
    os.kill(first.pid, signal.SIGKILL)
    second = started(new_server())
    with psycopg.connect(second.url()) as connection:
        assert connection.execute("SELECT number FROM kept").fetchone() == (7,)


def test_a_session_that_outlives_its_killed_server_only_delays_the_next_start(new_server):
    """It holds the shared memory until it looks up from its work."""
    first = started(new_server())
    busy = psycopg.connect(first.url(), autocommit=True)
    busy.execute("SET max_parallel_workers_per_gather = 0")
    busy.pgconn.send_query(b"SELECT count(*) FROM generate_series(1, 12000000)")
    time.sleep(0.3)
    os.kill(first.pid, signal.SIGKILL)
    second = started(new_server())
    busy.close()
    assert b"pre-existing shared memory block" in second.log.read_bytes()
    with psycopg.connect(second.url()) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_server_that_still_runs_on_the_directory_is_stopped_first(new_server):
    orphan = started(new_server())
    with psycopg.connect(orphan.url()) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 7 AS number")
    second = started(new_server())
    assert orphan.exit_code() == 0
    with psycopg.connect(second.url()) as connection:
        assert connection.execute("SELECT number FROM kept").fetchone() == (7,)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the next start stops the orphan")
def test_the_server_ends_cleanly_when_its_owner_is_killed(new_server, open_directory):
    started(new_server()).stop()  # the directory exists
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(open_directory), str(free_port())],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    with owner:
        server_pid = int(owner.stdout.readline())
        owner.kill()
    wait_for_end(server_pid)
    assert "database system is shut down" in (open_directory / "postgres.log").read_text()
    assert not (open_directory / "postgres" / "postmaster.pid").exists()


OWNER = """
import sys, time
from pathlib import Path
from infrastructure.embedded.postgres import EmbeddedPostgres
from infrastructure.embedded.processes import wait_until_ready
directory = Path(sys.argv[1])
server = EmbeddedPostgres(directory / "postgres", port=int(sys.argv[2]), password="pass word/@:",
                          log=directory / "postgres.log")
server.start()
wait_until_ready(server, seconds=60)
print(server.pid, flush=True)
time.sleep(600)
"""


def wait_for_end(pid: int) -> None:
    """The test's own time limit bounds it. Our orphans go to whoever adopts them."""
    status = Path(f"/proc/{pid}/status")
    while status.exists() and "State:\tZ" not in status.read_text():
        pass


def test_a_pid_file_that_names_somebody_elses_process_is_not_believed(new_server):
    started(new_server()).stop()
    bystander = subprocess.Popen(["sleep", "600"])
    server = new_server()
    (server.data / "postmaster.pid").write_text(f"{bystander.pid}\n{server.data}\n")
    try:
        started(server)
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_what_a_killed_first_start_left_is_made_anew(new_server):
    server = new_server()
    half = server.data.with_name("postgres.new")
    half.mkdir()
    (half / "PG_VERSION").write_text("18\n")
    started(server)
    assert not half.exists()


def test_nothing_that_makes_a_commit_durable_is_off(postgres_server):
    with psycopg.connect(postgres_server.url("postgres")) as connection:
        for name in ("fsync", "synchronous_commit", "full_page_writes", "data_checksums"):
            assert connection.execute(f"SHOW {name}").fetchone() == ("on",)


def test_a_stranger_without_the_password_is_refused(postgres_server):
    stranger = f"postgresql://appizer:wrong@127.0.0.1:{postgres_server.port}/appizer"
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(stranger)


def test_a_password_that_does_not_fit_the_directory_is_said_at_once(new_server, open_directory):
    started(new_server()).stop()
    other = EmbeddedPostgres(
        open_directory / "postgres",
        port=free_port(),
        password="another",
        log=open_directory / "postgres.log",
    )
    other.start()
    try:
        with pytest.raises(CannotStart, match=r"put back the instance\.json"):
            wait_until_ready(other, seconds=60)
    finally:
        other.stop()


@as_root
def test_a_closed_directory_on_the_way_is_named_with_the_mend_and_stays_closed(open_directory):
    closed = open_directory / "closed"
    closed.mkdir(mode=0o700)
    server = EmbeddedPostgres(
        closed / "postgres", port=free_port(), password="x", log=open_directory / "postgres.log"
    )
    with pytest.raises(CannotStart, match=f"chmod o\\+x {closed}"):
        server.start()
    assert closed.stat().st_mode & 0o777 == 0o700


@as_root
def test_programs_in_a_closed_home_are_copied_to_where_they_can_run(open_directory):
    home = open_directory / "home"
    home.mkdir(mode=0o700)
    programs = home / "package" / "installation" / "bin"
    programs.mkdir(parents=True)
    postgres = programs / "postgres"
    postgres.write_text("#!/bin/sh\necho it runs\n")
    postgres.chmod(0o700)
    (home / "package.libs").mkdir()
    nobody = Account(65534, 65534)

    usable = reachable(programs, nobody, open_directory / "copies")

    ran = subprocess.run(
        [usable / "postgres"], user=65534, group=65534, capture_output=True, check=True, cwd="/"
    )
    assert ran.stdout == b"it runs\n"
    assert (usable.parents[2] / "package.libs").is_dir()
    assert home.stat().st_mode & 0o777 == 0o700
    assert reachable(programs, nobody, open_directory / "copies") == usable
