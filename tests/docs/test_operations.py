"""docs/operations.md says what the code says."""

import re
from pathlib import Path

import msgspec
import pytest

from infrastructure.settings import Settings

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/operations.md").read_text()


def _row(field: msgspec.structs.FieldInfo) -> str:
    default = "required" if field.required else f"`{field.default}`" if field.default != "" else ""
    return f"| `APPIZER_{field.name.upper()}` | {default} | "


ROWS = [_row(field) for field in msgspec.structs.fields(Settings)]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.split("`")[1])
def test_a_setting_is_in_the_table_with_its_default_and_a_note(row):
    found = [line for line in PAGE.splitlines() if line.startswith(row)]
    assert len(found) == 1, f"docs/operations.md needs one row that begins with:\n{row}"
    assert len(found[0]) > len(row) + len(" |")


def test_no_setting_is_in_the_table_that_does_not_exist():
    named = re.findall(r"^\| `(APPIZER_\w+)`", PAGE, re.MULTILINE)
    assert named == [row.split("`")[1] for row in ROWS]


def test_every_metric_is_listed():
    declared: set[str] = set()
    for room in ("infrastructure", "api", "commands"):
        for module in (ROOT / room).rglob("*.py"):
            found = re.findall(r'(Counter|Gauge|Histogram)\(\s*"(appizer_\w+)"', module.read_text())
            declared |= {name + ("_total" if kind == "Counter" else "") for kind, name in found}
    listed = set(re.findall(r"^\| `(appizer_\w+)`", PAGE, re.MULTILINE))
    assert listed == declared
