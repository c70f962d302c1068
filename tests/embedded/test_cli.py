"""The command line's frame: help is fast, errors are one line, exit codes are honest."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from api.cli.exits import Exit
from api.cli.main import SUBCOMMANDS
from api.cli.run import ROLES, entry_point

ROOT = Path(__file__).parents[2]


@pytest.fixture
def appizer():
    """Runs the command line; surroundings say nothing about an instance."""
    outer = {k: v for k, v in os.environ.items() if not k.startswith("APPIZER_")}
    outer.pop("DATABASE_URL", None)

    def run(*arguments, **environment):
        return subprocess.run(
            [sys.executable, "-P", "-m", "api.cli.main", *arguments],
            env={**outer, "PYTHONPATH": str(ROOT), **environment},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def test_help_names_every_command(appizer):
    answer = appizer("--help")
    assert answer.returncode == Exit.OK
    assert all(f"  {name} " in answer.stdout for name in SUBCOMMANDS)


def test_every_command_that_help_names_exists():
    """In one process: what a command imports takes longer than its help."""
    script = """if True:
        import json, sys
        from api.cli.main import run
        ends = {}
        for name in json.loads(sys.argv[1]):
            try:
                ends[name] = run([name, "--help"])
            except SystemExit as ended:
                ends[name] = ended.code or 0
        print(json.dumps(ends), file=sys.stderr)"""
    done = subprocess.run(
        [sys.executable, "-c", script, json.dumps(list(SUBCOMMANDS))],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    ends = json.loads(done.stderr.splitlines()[-1])
    assert ends == dict.fromkeys(SUBCOMMANDS, Exit.OK)
    assert all(f"Usage: appizer {name} " in done.stdout for name in SUBCOMMANDS)


@pytest.mark.parametrize("role", ROLES)
def test_every_role_has_an_entry_point(role):
    assert callable(entry_point(role))


def test_help_imports_no_database_and_no_web_framework():
    script = (
        "import sys; from api.cli.main import run; run(['--help']);"
        "sys.exit(any(m in sys.modules for m in ('psycopg', 'litestar', 'sqlalchemy', 'rich')))"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", script], env=environment, check=False)
    assert done.returncode == 0


def test_an_unknown_command_is_wrong_usage(appizer):
    answer = appizer("fly")
    assert answer.returncode == Exit.USAGE
    assert "No such command" in answer.stderr


def test_a_role_without_settings_says_which_variable_is_missing(appizer):
    answer = appizer("run", "relay")
    assert answer.returncode == Exit.FAILED
    assert "APPIZER_DATABASE_URL" in answer.stderr
    assert "Traceback" not in answer.stderr


@pytest.mark.parametrize(
    "command",
    [("apps", "list"), ("apps", "create", "x"), ("projections", "status"), ("failed", "list")],
)
def test_a_database_that_is_away_is_one_line_and_no_traceback(appizer, command):
    answer = appizer(*command, APPIZER_DATABASE_URL="postgresql://a:b@127.0.0.1:1/nowhere")
    assert answer.returncode == Exit.FAILED
    assert answer.stderr.startswith("error: ")
    assert "Traceback" not in answer.stderr


def test_a_secret_file_that_is_not_there_is_named(appizer):
    answer = appizer("run", "relay", APPIZER_NATS_URL_FILE="/nowhere/nats_url")
    assert answer.returncode == Exit.FAILED
    assert "APPIZER_NATS_URL_FILE: can't read /nowhere/nats_url" in answer.stderr


def test_an_instance_that_is_not_there_is_told_with_the_mend(appizer, tmp_path):
    answer = appizer("keys", "list", "--data", str(tmp_path))
    assert answer.returncode == Exit.NOT_RUNNING
    assert f"appizer up --data {tmp_path}" in answer.stderr


def test_a_reader_that_goes_away_is_no_error(appizer):
    command = f"{sys.executable} -P -m api.cli.main --help | true"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(
        ["/bin/sh", "-c", command], env=environment, capture_output=True, text=True, check=True
    )
    assert ended.stderr == ""
