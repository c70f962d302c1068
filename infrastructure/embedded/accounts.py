"""Postgres refuses to run as root: whom it runs as then, and what that account can reach."""

import os
import pwd
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from infrastructure.embedded.processes import Account, CannotStart


def account_for(data: Path) -> Account | None:
    """None when we are not root: then it is our own. Else the owner of `data`, or `nobody`."""
    if os.geteuid() != 0:
        return None
    if data.exists():
        owner = data.stat()
        if owner.st_uid == 0:
            mend = "give it to another user (chown -R nobody), or choose another --data"
            raise CannotStart(f"{data} belongs to root, and Postgres does not run as root", mend)
        return Account(owner.st_uid, owner.st_gid)
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError:
        mend = "add one (useradd --system nobody), or start as an ordinary user"
        raise CannotStart("there is no user `nobody` to run Postgres as", mend) from None
    return Account(nobody.pw_uid, nobody.pw_gid)


def first_closed(directories: Sequence[Path], account: Account) -> Path | None:
    """The first of `directories` that `account` may not enter. Asked of the kernel, by a shell
    that runs as `account`, because mode bits are not all of it.
    """
    script = 'for each; do test -x "$each" || { printf %s "$each"; exit; }; done'
    answer = subprocess.run(
        ["/bin/sh", "-c", script, "sh", *map(str, directories)],
        user=account.uid,
        group=account.gid,
        extra_groups=[],
        cwd="/",
        check=True,
        capture_output=True,
    )
    return Path(os.fsdecode(answer.stdout)) if answer.stdout else None


def parents(path: Path) -> list[Path]:
    """`path` and everything above it, from the root down."""
    return [*reversed(path.parents), path]


def require_entry(directory: Path, account: Account) -> None:
    """Raises CannotStart naming the directory on the way to `directory` that is closed."""
    closed = first_closed(parents(directory), account)
    if closed is not None:
        problem = f"Postgres runs as user {_name(account)}, who may not pass through {closed}"
        mend = (
            f"allow it (chmod o+x {closed}), or choose a --data elsewhere, such as /var/lib/appizer"
        )
        raise CannotStart(problem, mend)


def reachable(programs: Path, account: Account, copies: Path) -> Path:
    """`programs` if `account` can run them where they are, else a copy under `copies`.

    A root user's home is closed to others; nothing up there is opened for this. `programs` is
    PACKAGE/INSTALLATION/bin and finds its libraries relative to PACKAGE's parent.
    """
    installation, package = programs.parent, programs.parent.parent
    if first_closed([*parents(programs), programs / "postgres"], account) is None:
        return programs
    target = copies / _build_of(programs)
    if set(str(target)) & set('"$`\\'):  # initdb gives its own path to a shell, in double quotes
        raise CannotStart(f"Postgres can't be run from {target}", "choose another --data")
    if not target.exists():
        _copy(package, installation.name, target)
    return target / package.name / installation.name / "bin"


def _build_of(programs: Path) -> str:
    """A name for this build: a copy of another is not taken for it."""
    postgres = (programs / "postgres").stat()
    return f"{postgres.st_size:x}-{int(postgres.st_mtime):x}"


def _copy(package: Path, installation: str, target: Path) -> None:
    partial = target.with_name(target.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    libraries = f"{package.name}.libs"
    shutil.copytree(package / installation, partial / package.name / installation, symlinks=True)
    if (package.parent / libraries).exists():
        shutil.copytree(package.parent / libraries, partial / libraries, symlinks=True)
    for path in (target.parent, partial, *partial.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
    partial.rename(target)


def _name(account: Account) -> str:
    try:
        return pwd.getpwuid(account.uid).pw_name
    except KeyError:
        return str(account.uid)
