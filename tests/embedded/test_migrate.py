"""Migrations: each once, whole or not at all, never changed."""

import threading

import psycopg
import pytest

from infrastructure.migrate import MigrationChanged, migrate, pending


@pytest.fixture
def empty_url(postgres_server, request):
    """A database without a schema."""
    with psycopg.connect(postgres_server.url("postgres"), autocommit=True) as connection:
        connection.execute("CREATE DATABASE empty")
        yield postgres_server.url("empty")
        connection.execute("DROP DATABASE empty WITH (FORCE)")


@pytest.fixture
def files(tmp_path):
    (tmp_path / "0001_a.sql").write_text("CREATE TABLE a (x int); INSERT INTO a VALUES (1);")
    (tmp_path / "0002_b.sql").write_text("ALTER TABLE a ADD y int;")
    return tmp_path


def rows(url, query):
    with psycopg.connect(url) as connection:
        return connection.execute(query).fetchall()


def test_everything_missing_is_applied_in_order_and_the_second_time_nothing(empty_url, files):
    assert pending(empty_url, files) == ["0001_a.sql", "0002_b.sql"]
    assert migrate(empty_url, files) == ["0001_a.sql", "0002_b.sql"]
    assert pending(empty_url, files) == []
    assert migrate(empty_url, files) == []
    assert rows(empty_url, "SELECT x, y FROM a") == [(1, None)]


def test_the_projects_own_migrations_apply_once(database_url):
    assert migrate(database_url) == []


def test_a_file_that_was_changed_after_it_was_applied_is_refused(empty_url, files):
    migrate(empty_url, files)
    (files / "0001_a.sql").write_text("CREATE TABLE a (x bigint);")
    with pytest.raises(MigrationChanged, match=r"0001_a\.sql was changed"):
        migrate(empty_url, files)
    with pytest.raises(MigrationChanged):
        pending(empty_url, files)


def test_a_database_of_a_newer_version_is_refused(empty_url, files):
    migrate(empty_url, files)
    (files / "0002_b.sql").unlink()
    with pytest.raises(MigrationChanged, match=r"0002_b\.sql were applied by a newer version"):
        migrate(empty_url, files)


def test_a_file_that_fails_leaves_nothing_and_keeps_those_before_it(empty_url, files):
    (files / "0003_c.sql").write_text("CREATE TABLE c (x int); SELECT 1 / 0;")
    with pytest.raises(psycopg.errors.DivisionByZero):
        migrate(empty_url, files)
    assert rows(empty_url, "SELECT to_regclass('c')") == [(None,)]
    assert pending(empty_url, files) == ["0003_c.sql"]


def test_several_at_once_apply_each_file_once(empty_url, files):
    applied = []
    threads = [
        threading.Thread(target=lambda: applied.extend(migrate(empty_url, files))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert applied == ["0001_a.sql", "0002_b.sql"]
