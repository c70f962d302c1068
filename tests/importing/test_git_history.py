"""A repository's history as events, exactly, and without anybody's address."""

import hashlib
import json
import os
import subprocess

import pytest

from api.cli.exits import Exit

ADA = hashlib.sha256(b"ada@example.org").hexdigest()[:16]


@pytest.fixture
def repository(tmp_path):
    """Four commits on two branches, one of them a merge."""
    path = tmp_path / "shop"
    path.mkdir()

    def git(*arguments, at="2026-01-01T00:00:00+00:00"):
        environment = {
            "GIT_AUTHOR_NAME": "Ada", "GIT_AUTHOR_EMAIL": "Ada@Example.org",
            "GIT_COMMITTER_NAME": "Bob", "GIT_COMMITTER_EMAIL": "bob@example.org",
            "GIT_AUTHOR_DATE": at, "GIT_COMMITTER_DATE": at,
            "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1",
        }  # fmt: skip
        command = ["git", "-C", str(path), *arguments]
        subprocess.run(command, check=True, capture_output=True, env={**os.environ, **environment})

    git("init", "--initial-branch=main")
    (path / "src" / "deep").mkdir(parents=True)
    (path / "README").write_text("one\n")
    (path / "src" / "deep" / "new\nline é.py").write_text("a\nb\n")
    git("add", ".")
    git("commit", "-m", "first", at="2026-01-01T00:00:00+00:00")
    (path / "README").unlink()
    (path / "src" / "deep" / "new\nline é.py").write_text("a\nc\nd\n")
    (path / "logo.png").write_bytes(bytes(range(256)))
    git("add", "--all")
    git("commit", "-m", "second", at="2026-02-01T12:00:00+02:00")
    git("checkout", "-b", "side", "HEAD~1")
    (path / "side.txt").write_text("s\n")
    git("add", ".")
    git("commit", "-m", "third", at="2026-03-01T00:00:00+00:00")
    git("checkout", "main")
    git("merge", "--no-ff", "-m", "fourth", "side", at="2026-04-01T00:00:00+00:00")
    return path


def test_commits_merges_and_files_become_events(appizer, repository, stored):
    assert appizer("import", "git", repository, "--no-wait").code == Exit.OK
    found = [
        (event["event"], event["timestamp"][:10], event["properties"].get("ext"))
        for event in stored()
    ]
    assert found == [
        ("commit", "2026-01-01", None),
        ("file_added", "2026-01-01", None),
        ("file_added", "2026-01-01", ".py"),
        ("commit", "2026-02-01", None),
        ("file_deleted", "2026-02-01", None),
        ("file_added", "2026-02-01", ".png"),
        ("file_modified", "2026-02-01", ".py"),
        ("commit", "2026-03-01", None),
        ("file_added", "2026-03-01", ".txt"),
        ("merge", "2026-04-01", None),
    ]


def test_an_event_says_where_and_how_much_and_hides_the_address(appizer, repository, stored):
    appizer("import", "git", repository, "--no-wait")
    event = next(event for event in stored() if event["event"] == "file_modified")
    assert event["user_id"] == ADA
    assert event["timestamp"] == "2026-02-01T10:00:00Z"
    said = dict(event["properties"])
    said.pop("commit")
    assert said == {
        "project": "shop",
        "committer": hashlib.sha256(b"bob@example.org").hexdigest()[:16],
        "is_merge": False,
        "file": "src/deep/new\nline é.py",
        "folder": "src/deep",
        "path": "src",
        "ext": ".py",
        "lines_added": 2,
        "lines_deleted": 1,
    }
    assert "example.org" not in json.dumps(stored())


def test_a_commit_counts_its_files_and_lines_but_not_those_of_binaries(appizer, repository, stored):
    appizer("import", "git", repository, "--no-wait")
    second = [event for event in stored() if event["event"] == "commit"][1]["properties"]
    assert (second["files_changed"], second["lines_added"], second["lines_deleted"]) == (3, 2, 2)


def test_addresses_are_kept_only_on_request(appizer, repository, stored):
    appizer("import", "git", repository, "--plain-emails", "--no-lines", "--no-wait")
    assert {event["user_id"] for event in stored()} == {"ada@example.org"}
    assert not any("lines_added" in event["properties"] for event in stored())


def test_the_help_says_what_the_properties_of_a_file_are(appizer):
    said = " ".join(appizer("import", "git", "--help").out.split())
    assert "`file` is its whole path" in said
    assert "`path` the first part alone" in said


def test_the_same_history_with_other_options_is_told_as_the_conflict_that_it_is(
    appizer, repository
):
    appizer("import", "git", repository, "--no-wait")
    answer = appizer("import", "git", repository, "--no-lines", "--no-wait")
    assert answer.code == Exit.FAILED
    assert "--lines" in answer.err
    assert "--map" not in answer.err


def test_importing_a_grown_repository_adds_only_its_new_commits(appizer, repository, stored):
    appizer("import", "git", repository, "--limit", 2, "--no-wait")
    before = {event["message_id"] for event in stored()}
    for _ in range(2):
        appizer("import", "git", repository, "--no-wait")
    ids = [event["message_id"] for event in stored()]
    assert len(ids) == len(set(ids)) == 10
    assert len(before) == 3  # the merge and the commit before it, with its file
    assert before < set(ids)


def test_since_leaves_out_what_is_older(appizer, repository, stored):
    appizer("import", "git", repository, "--since", "2026-02-15", "--no-wait")
    assert {event["timestamp"][:7] for event in stored()} == {"2026-03", "2026-04"}


def test_what_is_no_repository_is_told_in_gits_words(appizer, tmp_path):
    answer = appizer("import", "git", tmp_path, "--no-wait")
    assert answer.code == Exit.FAILED
    assert "not a git repository" in answer.err


@pytest.mark.parametrize("date", ["not a date", ""])
def test_since_something_that_is_no_date_is_wrong_usage(appizer, repository, stored, date):
    answer = appizer("import", "git", repository, "--since", date, "--no-wait")
    assert (answer.code, "--since" in answer.err) == (Exit.USAGE, True)
    assert stored() == []
