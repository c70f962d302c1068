"""./appizer: installs once, repairs what was interrupted, runs what is asked."""

import hashlib
import importlib.machinery
import importlib.util
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAIN = """
import sys
import tiny
print(tiny.VERSION, *sys.argv[1:])
"""


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A source tree like ours, whose only dependency is a wheel beside it."""
    directory = tmp_path_factory.mktemp("a tree")
    shutil.copy(ROOT / "appizer", directory)
    (directory / "api" / "cli").mkdir(parents=True)
    (directory / "api" / "cli" / "main.py").write_text(MAIN)
    pin(directory, "requirements.lock", make_wheel(directory, "1.0"))
    pin(directory, "requirements-dev.lock", make_wheel(directory, "1.0"))
    return directory


def make_wheel(directory: Path, version: str) -> Path:
    wheel = directory / f"tiny-{version}-py3-none-any.whl"
    about = f"tiny-{version}.dist-info"
    with zipfile.ZipFile(wheel, "w") as made:
        made.writestr("tiny.py", f"VERSION = '{version}'\n")
        made.writestr(
            f"{about}/METADATA", f"Metadata-Version: 2.1\nName: tiny\nVersion: {version}\n"
        )
        made.writestr(
            f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        made.writestr(f"{about}/RECORD", "")
    return wheel


def pin(directory: Path, lock: str, wheel: Path, digest: str | None = None) -> None:
    digest = digest or hashlib.sha256(wheel.read_bytes()).hexdigest()
    (directory / lock).write_text(f"tiny @ {wheel.as_uri()} --hash=sha256:{digest}\n")


def start(tree: Path, *arguments: str, cwd: Path | None = None) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(tree / "appizer"), *arguments],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(tree: Path, *arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    process = start(tree, *arguments, cwd=cwd)
    output, errors = process.communicate()
    return subprocess.CompletedProcess(process.args, process.returncode, output, errors)


def test_two_first_starts_at_once_install_once_and_both_run(tree):
    shutil.rmtree(tree / ".venv", ignore_errors=True)
    both = [start(tree, name) for name in ("one", "two")]
    said = [process.communicate() for process in both]
    assert sorted(output for output, _ in said) == ["1.0 one\n", "1.0 two\n"]
    assert sum("making .venv" in errors for _, errors in said) == 1


def test_a_second_start_installs_nothing(tree):
    run(tree)
    installed = (tree / ".venv" / "appizer-install.log").stat().st_mtime_ns
    again = run(tree, "up", "--port", "1")
    assert again.stdout == "1.0 up --port 1\n"
    assert again.stderr == ""
    assert (tree / ".venv" / "appizer-install.log").stat().st_mtime_ns == installed


def test_what_lies_in_the_current_directory_is_not_run(tree, tmp_path):
    run(tree)
    (tmp_path / "api" / "cli").mkdir(parents=True)
    (tmp_path / "api" / "cli" / "main.py").write_text("print('somebody else')")
    assert run(tree, "x", cwd=tmp_path).stdout == "1.0 x\n"
    command = subprocess.run(
        [tree / ".venv" / "bin" / "appizer", "y"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert command.stdout == "1.0 y\n"


def test_a_changed_lock_is_installed_by_the_next_start(tree):
    run(tree)
    pin(tree, "requirements.lock", make_wheel(tree, "1.1"))
    changed = run(tree, "x")
    pin(tree, "requirements.lock", make_wheel(tree, "1.0"))
    assert changed.stdout == "1.1 x\n"
    assert "making .venv" not in changed.stderr


def test_an_interrupted_install_is_made_anew(tree):
    run(tree)
    half = tree / ".venv" / "half-of-a-package"
    half.touch()
    (tree / ".venv" / "appizer-unfinished").touch()
    assert run(tree, "x").stdout == "1.0 x\n"
    assert not half.exists()


def test_a_package_with_another_hash_is_refused_and_stays_so(tree):
    run(tree)
    pin(tree, "requirements.lock", make_wheel(tree, "1.2"), digest="0" * 64)
    refused = run(tree, "x")
    again = run(tree, "x")
    pin(tree, "requirements.lock", make_wheel(tree, "1.0"))
    assert [refused.returncode, again.returncode] == [1, 1]
    assert refused.stdout == ""
    assert "could not install requirements.lock" in refused.stderr
    assert "appizer-install.log" in refused.stderr
    assert "making .venv" not in again.stderr


def test_a_newer_python_is_one_that_starts(tmp_path, monkeypatch):
    stand_in = tmp_path / "python3.11"
    stand_in.write_text("#!/bin/sh\nexit 127\n")
    stand_in.chmod(0o755)
    (tmp_path / "python3.12").symlink_to(sys.executable)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/bin")
    assert load(ROOT / "appizer").find_newer_python() == str(tmp_path / "python3.12")


def load(script: Path):
    loader = importlib.machinery.SourceFileLoader("bootstrap_script", str(script))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module
