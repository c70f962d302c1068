"""Programs that we start, watch and stop, and that do not outlive us."""

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


class CannotStart(Exception):
    """Says what is in the way and how to mend it."""

    def __init__(self, problem: str, mend: str) -> None:
        super().__init__(f"{problem}; {mend}")
        self.problem = problem
        self.mend = mend


class Account(NamedTuple):
    """Whom a program runs as. Numbers, because the owner of a directory need not have a name."""

    uid: int
    gid: int


class Part(Protocol):
    """A part of a running instance: a program with a name, a log and a sign that it is ready."""

    name: str
    log: Path

    def start(self) -> None:
        """Launches it, after stopping one that a killed supervisor left. Raises CannotStart."""

    def is_ready(self) -> bool: ...

    def exit_code(self) -> int | None:
        """None while it runs; negative when a signal ended it."""

    def stop(self) -> None: ...


class Stopping(NamedTuple):
    """Signals in the order they are tried, each with the seconds it is given."""

    steps: tuple[tuple[signal.Signals, float], ...]
    when_orphaned: signal.Signals


POLITE = Stopping(((signal.SIGTERM, 15.0), (signal.SIGKILL, 5.0)), signal.SIGKILL)


class Child:
    """One process. Its output is appended to `log`; a terminal's Ctrl-C does not reach it.

    On Linux the kernel sends it `stopping.when_orphaned` when the thread that started it ends:
    start children from a thread that stays. Elsewhere the next start stops the orphan.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        log: Path,
        environment: Mapping[str, str] | None = None,
        account: Account | None = None,
        cwd: str | None = None,
        stopping: Stopping = POLITE,
    ) -> None:
        self._stopping = stopping
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                cwd=cwd,
                user=account.uid if account else None,
                group=account.gid if account else None,
                extra_groups=[] if account else None,
                start_new_session=True,
                preexec_fn=_tie_to(os.getpid(), stopping.when_orphaned),  # noqa: PLW1509  takes no lock
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def exit_code(self) -> int | None:
        return self._process.poll()

    def stop(self) -> None:
        """Returns when it has ended."""
        for step, seconds in self._stopping.steps:
            if self._process.poll() is not None:
                return
            self._process.send_signal(step)
            try:
                self._process.wait(seconds)
            except subprocess.TimeoutExpired:
                continue
        self._process.wait()


def _tie_to(parent: int, orphan_signal: signal.Signals) -> Callable[[], None] | None:
    if _libc is None:
        return None
    prctl = _libc.prctl

    def tie() -> None:
        prctl(_PR_SET_PDEATHSIG, int(orphan_signal))
        if os.getppid() != parent:  # it ended before the line above
            os._exit(1)

    return tie


def wait_until_ready(
    part: Part, *, seconds: float, pause: Callable[[float], None] = time.sleep
) -> None:
    """Raises CannotStart, with the end of the part's log, when it ends or takes longer."""
    deadline = time.monotonic() + seconds
    wait = 0.005
    while not part.is_ready():
        code = part.exit_code()
        if code is not None:
            raise CannotStart(f"{part.name} ended with {ending(code)}", _see(part.log))
        if time.monotonic() > deadline:
            raise CannotStart(f"{part.name} was not ready after {seconds:.0f} s", _see(part.log))
        pause(wait)
        wait = min(wait * 2, 0.1)


def ending(code: int) -> str:
    """`code 1`, `SIGKILL`: an exit code in words."""
    if code >= 0:
        return f"code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"


def _see(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()[-12:] if log.exists() else []
    return f"see {log}, which ends:\n" + "\n".join(f"    {line}" for line in lines)


def stop_orphan(pid_file: Path, program: str, steps: Stopping) -> bool:
    """Stops the process that `pid_file` names on its first line, if it is `program` and was
    started for the pid file's directory. A killed supervisor can leave one. True if it did.
    """
    pid = _pid_in(pid_file)
    if pid is None or not _was_started_for(pid, program, pid_file.parent):
        return False
    for step, seconds in steps.steps:
        _send(pid, step)
        deadline = time.monotonic() + seconds
        while _was_started_for(pid, program, pid_file.parent):
            if time.monotonic() > deadline:
                break
            time.sleep(0.01)
        else:
            return True
    raise CannotStart(f"{program} with pid {pid} does not end", f"end it: kill -9 {pid}")


def _pid_in(pid_file: Path) -> int | None:
    try:
        return int(pid_file.read_text().split("\n", 1)[0])
    except (FileNotFoundError, ValueError):
        return None


def _send(pid: int, step: signal.Signals) -> None:
    try:
        os.kill(pid, step)
    except ProcessLookupError:
        pass
    except PermissionError:
        mend = "stop it as its owner, or start as root"
        raise CannotStart(f"pid {pid} belongs to another user", mend) from None


def _was_started_for(pid: int, program: str, directory: Path) -> bool:
    command = _command_of(pid)
    return program in command and str(directory) in command


def _command_of(pid: int) -> str:
    """Empty for a process that has ended, reaped or not."""
    if not Path("/proc/self").exists():
        command = ["ps", "-o", "command=", "-p", str(pid)]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout
    try:
        return os.fsdecode(Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" "))
    except OSError:
        return ""


def trim_log(log: Path, max_bytes: int) -> None:
    """Past `max_bytes` the log moves to `NAME.1` and begins anew.

    Copied, not renamed: the writer keeps its open file, and O_APPEND makes it go on at the start.
    """
    if log.exists() and log.stat().st_size > max_bytes:
        shutil.copyfile(log, log.with_name(log.name + ".1"))
        os.truncate(log, 0)
