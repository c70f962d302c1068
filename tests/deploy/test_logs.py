"""Every line of a role's log is JSON, whoever wrote it."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SPEAKERS = """
import asyncio, logging, warnings
from infrastructure.settings import Settings
from infrastructure.telemetry import set_up_logs

set_up_logs(Settings(database_url="postgresql://x/x"), "api")
logging.getLogger("uvicorn.error").warning("Invalid %s", "request")
logging.getLogger("uvicorn.error").info("Started")
logging.getLogger("some.library").error("%d", "no number")
warnings.warn("old")
try:
    1 / 0
except ZeroDivisionError:
    logging.getLogger("asyncio").exception("it broke")
"""


def test_what_libraries_say_is_in_lines_like_ours():
    ran = subprocess.run(
        [sys.executable, "-P", "-c", SPEAKERS],
        env={"PYTHONPATH": str(ROOT)},
        check=True,
        capture_output=True,
        text=True,
    )
    lines = [json.loads(line) for line in ran.stderr.splitlines()]
    assert ran.stdout == ""
    assert {line["role"] for line in lines} == {"api"}
    assert [(line["logger"], line["level"]) for line in lines] == [
        ("uvicorn.error", "warning"),
        ("some.library", "error"),
        ("py.warnings", "warning"),
        ("asyncio", "error"),
    ]
    assert lines[0]["event"] == "Invalid request"
    assert "ZeroDivisionError" in lines[3]["exception"]
