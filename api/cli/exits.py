"""What the exit codes of `appizer` mean."""

from enum import IntEnum


class Exit(IntEnum):
    OK = 0
    FAILED = 1  # it was tried and did not work out, or a check found something wrong
    USAGE = 2  # the command line makes no sense; click's own code
    NOT_RUNNING = 3  # there is no instance to talk to
    INTERRUPTED = 130  # Ctrl-C, as shells say it
    PIPE_CLOSED = 141  # whoever read our output went away, as shells say it
