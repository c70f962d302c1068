"""The examples of docs/api.md are true: run in their order, each is answered as the page says."""

import json
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any, get_args

import httpx
import pytest

from api import errors as wire
from domain import conditions, errors, limits

PAGE = (Path(__file__).parents[2] / "docs/api.md").read_text()
EXAMPLES = re.findall(r"```console\n\$ (curl .*?)\n(\d{3})\n(.*?)\n```", PAGE, re.DOTALL)
HOST = "http://localhost:8080"


def shape(value: Any) -> Any:
    """Names and types; ids, positions and times differ from run to run."""
    if isinstance(value, dict):
        return {name: shape(member) for name, member in value.items()}
    if isinstance(value, list):
        return [shape(member) for member in value]
    return "number" if isinstance(value, float | int) else type(value).__name__


def ids_in(found: dict[str, Any]) -> list[tuple[str, str]]:
    """Those that later examples name."""
    objects = (found, *(found.get(name) for name in ("metric", "version", "segment")))
    named = (one for one in objects if isinstance(one, dict))
    names = ("key_id", "metric_id", "version_id", "segment_id")
    return [(name, one[name]) for one in named for name in names if name in one]


def catch_up(http: httpx.Client) -> None:
    """Waits until every read model has what the page, read slowly, takes for granted."""
    head = 0
    while True:
        standings = http.get("/readyz").json()["projections"]
        head = head or max(standing["head"] for standing in standings)
        if all(standing["position"] >= head for standing in standings):
            return
        time.sleep(0.05)


def wait_for_members(tenant: Any, segment_id: str) -> None:
    """The reactor evaluates a new segment by and by, which the page's reader does not see."""
    while not tenant.ask(f"/v1/segments/{segment_id}/members")["members"]:
        time.sleep(0.05)


def test_every_example_is_answered_as_the_page_says(tenant):
    if shutil.which("curl") is None:
        pytest.skip("no curl: the examples of docs/api.md were not run")
    assert len(EXAMPLES) == PAGE.count("$ curl") > 15
    keys = {
        "WRITE_KEY": tenant.write_key,
        "SECRET_KEY": tenant.secret_key,
        "ADMIN_KEY": tenant.issue("admin")["key"],
        "ORG_KEY": tenant.org_key,
        "APP_ID": tenant.app_id,
    }
    tenant.sent({"event_name": "Before", "user_id": "u"})
    catch_up(tenant.http)
    address = str(tenant.http.base_url).rstrip("/")
    for command, status, answer in EXAMPLES:
        here = command.replace(HOST, address).replace("curl", "curl -s -w '\\n%{http_code}'", 1)
        ran = subprocess.run(here, shell=True, env=keys, capture_output=True, text=True, check=True)
        body, _, told = ran.stdout.rpartition("\n")
        found = json.loads(body)
        assert told == status, (command, found)
        assert shape(found) == shape(json.loads(answer)), command
        catch_up(tenant.http)
        keys |= {name.upper(): one for name, one in ids_in(found)}
        if "segment" in found:
            wait_for_members(tenant, keys["SEGMENT_ID"])


def test_the_limits_of_the_page_are_those_in_force():
    rows = dict(re.findall(r"^\| ([^|]+) \| ([^|]+) \|$", PAGE.split("## Limits")[1], re.MULTILINE))
    assert rows["an event"] == f"{limits.MAX_EVENT_BYTES // 1024} KB"
    assert rows["a request"] == (
        f"{limits.MAX_REQUEST_BYTES // 1024**2} MB after decompression,"
        f" {limits.MAX_REQUEST_EVENTS} events"
    )
    assert rows["event name"] == f"{limits.MAX_NAME_CHARS} characters"
    assert rows["ids"].startswith(f"{limits.MAX_ID_CHARS} ")
    assert rows["keys in one of them, nested ones included"] == str(limits.MAX_KEYS)
    assert rows["nesting"] == f"{limits.MAX_DEPTH} levels"
    assert rows["numbers"].startswith("±2^53")
    assert limits.MAX_NUMBER == 2**53
    assert rows["authorized domains"] == str(limits.MAX_AUTHORIZED_DOMAINS)
    assert rows["retention of an app"] == (
        f"{limits.MIN_RETENTION_DAYS} to {limits.MAX_RETENTION_DAYS} days"
    )
    assert rows["conditions"] == str(limits.MAX_WHERE)
    assert rows["values in the list of a condition"] == str(limits.MAX_WHERE_LIST)
    assert rows["a string in a condition"] == f"{limits.MAX_WHERE_CHARS} characters"
    assert rows["a property's name in a condition or a breakdown"] == (
        f"{limits.MAX_KEY_CHARS} characters"
    )
    assert rows["a page"].startswith(f"{limits.MAX_PAGE} events")
    assert rows["series of a breakdown"].startswith(f"{limits.MAX_BREAKDOWN},")
    assert rows["values of an answer with a breakdown: buckets times series"] == str(
        limits.MAX_BREAKDOWN_VALUES
    )
    assert rows["buckets of a trend"] == str(limits.MAX_BUCKETS)
    assert rows["periods of retention"] == str(limits.MAX_RETENTION_PERIODS)
    assert rows["cohorts times periods"] == str(limits.MAX_RETENTION_CELLS)
    assert rows["gap between sessions"] == f"{limits.MAX_SESSION_GAP_MINUTES} minutes"
    assert rows["steps of a path"] == str(limits.MAX_PATH_STEPS)
    assert rows["events told of each step"] == str(limits.MAX_PATH_NODES)
    assert rows["events to leave out of paths"] == str(limits.MAX_PATH_EXCLUSIONS)
    assert rows["`from`, `to`"] == f"the years {limits.MIN_YEAR} to {limits.MAX_YEAR}"
    assert rows["waiting for `min_position`"] == f"{limits.MAX_WAIT_SECONDS:.0f} seconds"


def test_the_limits_of_metrics_and_versions_are_those_in_force():
    rows = dict(re.findall(r"^\| ([^|]+) \| ([^|]+) \|$", PAGE.split("## Limits")[1], re.MULTILINE))
    assert rows["metrics of an app"] == str(limits.MAX_METRICS)
    assert rows["a formula"].startswith(
        f"{limits.MAX_FORMULA_CHARS} characters, {limits.MAX_FORMULA_DEPTH} "
    )
    assert rows["metrics measured for a formula"].startswith(
        f"{limits.MAX_FORMULA_METRICS}, over {limits.MAX_FORMULA_LEVELS} "
    )
    assert rows["a description, release notes"].startswith(f"{limits.MAX_DESCRIPTION_CHARS} ")
    assert rows["versions of an app"] == str(limits.MAX_RELEASES)
    assert rows["days before and after a release"] == str(limits.MAX_IMPACT_DAYS)


def test_the_page_names_every_operator_and_every_fact():
    assert [name for name in get_args(conditions.Operator) if f"`{name}`" not in PAGE] == []
    assert [name for name in conditions.BUILT_IN if f"`{name}`" not in PAGE] == []


def test_the_page_names_every_code_of_a_refusal():
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    codes = {kind.code for kind in kinds} | set(wire._CODES.values())
    assert {code for code in codes - {"ERROR"} if f"`{code}`" not in PAGE} == set()
