"""The rules of the house that a program can check."""

import ast
import re
import subprocess
from itertools import chain
from pathlib import Path
from statistics import quantiles

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("domain", "commands", "projections", "infrastructure", "api")
MODULES = sorted(chain.from_iterable((ROOT / room).rglob("*.py") for room in ROOMS))
LOCKS = sorted([*ROOT.glob("requirements*.lock"), *(ROOT / "deploy").glob("*.lock")])
EMPTY_NAMES = re.compile(r"manager|service|helper|util", re.IGNORECASE)


def _tracked() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], check=False, cwd=ROOT, capture_output=True, text=True
    )
    if listed.returncode != 0:
        pytest.skip("not a git clone")
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def _functions() -> list[tuple[int, str]]:
    found = []
    for module in MODULES:
        for node in ast.walk(ast.parse(module.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                found.append((lines, f"{module.relative_to(ROOT)}: {node.name}"))
    return found


def test_no_module_is_over_400_lines():
    ours = chain(MODULES, *((ROOT / room).rglob("*.py") for room in ("tests", "benchmarks")))
    long = {str(m.relative_to(ROOT)): n for m in ours if (n := _lines(m)) > 400}
    assert long == {}


def _lines(module: Path) -> int:
    return len(module.read_text().splitlines())


def test_19_of_20_functions_have_at_most_30_lines():
    assert quantiles([lines for lines, _ in _functions()], n=20)[-1] <= 30


def test_no_function_has_over_60_lines():
    assert [name for lines, name in _functions() if lines > 60] == []


def test_no_module_is_named_for_nothing():
    assert [str(m) for m in MODULES if EMPTY_NAMES.search(m.stem)] == []


def test_no_class_is_named_for_nothing():
    named = [
        f"{module.relative_to(ROOT)}: {node.name}"
        for module in MODULES
        for node in ast.walk(ast.parse(module.read_text()))
        if isinstance(node, ast.ClassDef) and EMPTY_NAMES.search(node.name)
    ]
    assert named == []


def test_annotations_are_real():
    """Litestar and msgspec read them at run time."""
    words = ("from __future__ import " + "annotations", "TYPE_" + "CHECKING")
    python = [file for file in _tracked() if file.suffix == ".py"]
    assert [str(f) for f in python if any(word in f.read_text() for word in words)] == []


def test_aliases_of_packages_are_not_shadowed_by_modules():
    """Never name a module after the package that it wraps."""
    packages = {"nats", "psycopg", "sqlalchemy", "litestar", "chdb", "msgspec", "uvicorn", "click"}
    assert [str(m) for m in MODULES if m.stem in packages] == []


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_every_locked_requirement_has_hashes(lock):
    entries = lock.read_text().replace("\\\n", " ").splitlines()
    pinned = [entry for entry in entries if entry and not entry.startswith(("#", " "))]
    assert pinned
    bare = [e for e in pinned if not re.match(r"[A-Za-z0-9._-]+(\[[^]]*\])?==.*--hash=sha256:", e)]
    assert bare == []


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_locks_name_no_index(lock):
    assert not re.search(r"https?://|--(extra-)?index-url|--find-links", lock.read_text())


def test_tracked_files_name_no_machine_and_no_index():
    paths = "work|home|Users|mnt"
    hosts = "|".join(("py" + "pi.org", "pythonhosted" + ".org", "registry.npm" + "js"))
    forbidden = re.compile(rf"(?<![\w.:/-])/(?:{paths})/[A-Za-z.]|{hosts}")
    found = {}
    for file in _tracked():
        match = forbidden.search(file.read_bytes().decode(errors="ignore"))
        if match is not None and not file.is_relative_to(ROOT / "api/static/swagger-ui"):
            found[str(file.relative_to(ROOT))] = match.group()
    assert found == {}
