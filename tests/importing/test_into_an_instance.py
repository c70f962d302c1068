"""Against everything running: an import ends when its events can be asked for."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fixtures.read_models import ALL

ROOT = Path(__file__).parents[2]


@pytest.fixture
def appizer(instance):
    """Finds the instance by --data alone."""
    outer = {k: v for k, v in os.environ.items() if not k.startswith("APPIZER_")}

    def run(*arguments):
        answer = subprocess.run(
            [sys.executable, "-P", "-m", "api.cli.main", *arguments, "--data", str(instance.data)],
            env={**outer, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert answer.returncode == 0, answer.stderr
        return [json.loads(line) for line in answer.stdout.splitlines()]

    return run


def test_what_was_imported_is_in_every_read_model_and_a_rebuild_says_the_same(
    appizer, tenant, tmp_path
):
    file = tmp_path / "rows.csv"
    rows = [f"e,u{n % 9},2026-01-01,{n}\n" for n in range(3000)]
    file.write_text("event,user,time,n\n" + "".join(rows))
    (summary,) = appizer("import", "csv", str(file), "--app", tenant.app_id, "--json")
    assert (summary["accepted"], summary["caught_up"]) == (3000, True)

    standings = appizer("projections", "status", "--json")
    assert min(one["position"] for one in standings) >= summary["position"]

    rebuilt = appizer("projections", "rebuild", "--all", "--verify", "--json")
    assert {one["name"]: one["equal"] for one in rebuilt} == dict.fromkeys(ALL, True)
