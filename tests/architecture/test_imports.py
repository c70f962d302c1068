"""Who may import whom; and that the rooms' names are ours alone."""

import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("domain", "commands", "projections", "infrastructure", "api")


def test_imports_go_only_downwards():
    program = Path(sys.executable).parent / "lint-imports"
    checked = subprocess.run(
        [program, "--no-cache"], check=False, cwd=ROOT, capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("room", ROOMS)
def test_no_other_distribution_claims_the_name_of_a_room(room):
    """The rooms are import packages, literally; a dependency that brought one would shadow it."""
    assert set(packages_distributions().get(room, [])) <= {"appizer"}


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_is_imported_from_this_tree(room):
    assert Path(__import__(room).__file__ or "").parent == ROOT / room
