"""The history of a git repository as rows of events, oldest first, read from `git log`."""

import hashlib
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import IO, Any, NamedTuple

import msgspec

from commands.import_plan import Row
from domain.errors import AppizerError

_FORMAT = "%x01%H%x1f%P%x1f%aI%x1f%ae%x1f%ce"
_HEAD = b"\x01"
_EVENTS = {"A": "file_added", "D": "file_deleted"}  # every other letter is a change of some kind
_CHUNK = 1 << 16


class NotReadable(AppizerError):
    """git can't read it; the message is git's own."""

    code = "UNREADABLE_REPOSITORY"


class History(msgspec.Struct, frozen=True, kw_only=True):
    """What to read. `since` is anything that git takes as a date; `limit` counts commits, the
    newest ones. Without `lines` git need not compare contents, which is several times faster.
    """

    path: str
    project: str
    since: str | None = None
    limit: int | None = None
    lines: bool = True
    plain_emails: bool = False


class Change(NamedTuple):
    letter: str
    path: str


class Commit(msgspec.Struct):
    """`lines`: path -> (added, deleted); binary files are not in it."""

    sha: str
    parents: int
    timestamp: str
    author: str
    committer: str
    changes: list[Change]
    lines: dict[str, tuple[int, int]]


def count_commits(history: History) -> int:
    """Raises NotReadable."""
    if _asked(history.path, "rev-parse", "--verify", "--quiet", "HEAD").returncode == 1:
        raise NotReadable(f"{history.path} has no commits yet")
    return int(_answer(history.path, "rev-list", "--count", *_chosen(history), "HEAD"))


def top_level(path: str) -> str:
    """The name of the repository's directory. Raises NotReadable."""
    directory = PurePosixPath(
        _answer(path, "rev-parse", "--path-format=absolute", "--git-common-dir").strip()
    )
    if directory.name == ".git":
        return directory.parent.name
    return directory.name.removesuffix(".git")


def _answer(path: str, *question: str) -> str:
    made = _asked(path, *question)
    if made.returncode != 0:
        raise NotReadable(f"git can't read {path}: {_in_one_line(made.stderr)}")
    return made.stdout


def _asked(path: str, *question: str) -> subprocess.CompletedProcess[str]:
    command = ["git", "-C", path, *question]
    try:
        return subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603  options are ours, and the path is one argument
    except FileNotFoundError:
        raise NotReadable("there is no git on this machine; install it") from None


def _in_one_line(told: str) -> str:
    return " ".join(told.split())


class GitRows:
    """`done` counts commits, of `total`."""

    def __init__(self, history: History) -> None:
        self._history = history
        self.columns: list[str] = []  # different for commits and files
        self.total: int | None = count_commits(history)
        self.done = 0

    def rows(self) -> Iterator[Row]:
        """Raises NotReadable at the end when git fails in the middle."""
        number = 0
        for commit in self._commits():
            self.done += 1
            for cells in events_of(commit, self._history):
                number += 1
                yield Row(number, cells)

    def _commits(self) -> Iterator[Commit]:
        with tempfile.TemporaryFile() as errors:
            process = subprocess.Popen(  # noqa: S603  see _answer
                _log(self._history), stdout=subprocess.PIPE, stderr=errors, bufsize=_CHUNK
            )
            assert process.stdout is not None
            try:
                yield from parse(tokens(process.stdout))
                if process.wait() != 0:
                    errors.seek(0)
                    told = errors.read().decode(errors="replace")
                    raise NotReadable(f"git log: {_in_one_line(told)}")
            finally:
                process.kill()
                process.wait()
                process.stdout.close()


def _git(history: History) -> list[str]:
    return ["git", "-c", "log.showSignature=false", "-C", history.path]


def _chosen(history: History) -> list[str]:
    chosen = []
    if history.since is not None:
        chosen.append(f"--since={history.since}")
    if history.limit is not None:
        chosen.append(f"--max-count={history.limit}")
    return chosen


def _log(history: History) -> list[str]:
    """Nothing that the repository's own configuration could make git run."""
    return [
        *_git(history), "log", "-z", "--reverse", "--raw", "--root", "--no-renames", "--abbrev=4",
        "--diff-merges=off", "--no-ext-diff", "--no-textconv", f"--format=tformat:{_FORMAT}",
        *(["--numstat"] if history.lines else []), *_chosen(history), "HEAD",
    ]  # fmt: skip


def tokens(output: IO[bytes]) -> Iterator[bytes]:
    """What stands between NULs, without the line breaks git puts before a commit's changes."""
    rest = b""
    while chunk := output.read(_CHUNK):
        *whole, rest = (rest + chunk).split(b"\0")
        yield from (token.lstrip(b"\n") for token in whole)
    if rest.strip():
        yield rest


def parse(found: Iterator[bytes]) -> Iterator[Commit]:
    """A commit's head, then `:modes hashes LETTER` and a path for each change, then
    `added TAB deleted TAB path` for each.
    """
    commit: Commit | None = None
    for token in found:
        if token.startswith(_HEAD):
            if commit is not None:
                yield commit
            commit = _head(token)
        elif commit is not None and token.startswith(b":"):
            letter = token.rsplit(b" ", 1)[1][:1].decode()
            commit.changes.append(Change(letter, _text(next(found, b""))))  # b"": git was cut off
        elif commit is not None and b"\t" in token:
            added, deleted, path = token.split(b"\t", 2)
            if added != b"-":
                commit.lines[_text(path)] = (int(added), int(deleted))
    if commit is not None:
        yield commit


def _head(token: bytes) -> Commit:
    sha, parents, timestamp, author, committer = _text(token[1:]).split("\x1f")
    return Commit(
        sha=sha,
        parents=len(parents.split()),
        timestamp=timestamp,
        author=author,
        committer=committer,
        changes=[],
        lines={},
    )


def _text(raw: bytes) -> str:
    return raw.decode(errors="replace")


def events_of(commit: Commit, history: History) -> Iterator[dict[str, Any]]:
    """The commit itself, then what it did to each file."""
    common = {
        "timestamp": commit.timestamp,
        "user_id": person(commit.author, plain=history.plain_emails),
        "project": history.project,
        "committer": person(commit.committer, plain=history.plain_emails),
        "commit": commit.sha[:10],
        "is_merge": commit.parents > 1,
    }
    yield common | {
        "event": "merge" if commit.parents > 1 else "commit",
        "message_id": f"git-{commit.sha}",
        "files_changed": len(commit.changes),
        **_counted(commit, None),
    }
    for change in commit.changes:
        yield common | {
            "event": _EVENTS.get(change.letter, "file_modified"),
            "message_id": f"git-{commit.sha}-{_short_hash(change.path)}",
            **_place(change.path),
            **_counted(commit, change.path),
        }


def person(email: str, *, plain: bool) -> str:
    """The first 16 hex digits of the SHA-256 of the address in lower case; or the address."""
    address = email.strip().lower()
    return address if plain else hashlib.sha256(address.encode()).hexdigest()[:16]


def _place(path: str) -> dict[str, str]:
    """`path` is the first part, which makes a good breakdown; `file` is all of it."""
    file = PurePosixPath(path)
    folder = str(file.parent)
    found = {
        "file": path,
        "folder": "" if folder == "." else folder,
        "path": file.parts[0],
        "ext": file.suffix,
    }
    return {name: value for name, value in found.items() if value}


def _counted(commit: Commit, path: str | None) -> dict[str, int]:
    if path is None:
        counts = list(commit.lines.values())
        if not counts:
            return {}
        added, deleted = (sum(column) for column in zip(*counts, strict=True))
    elif path in commit.lines:
        added, deleted = commit.lines[path]
    else:
        return {}
    return {"lines_added": added, "lines_deleted": deleted}


def _short_hash(path: str) -> str:
    return hashlib.sha256(path.encode()).hexdigest()[:16]
