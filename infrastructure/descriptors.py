"""File descriptors: each connection takes one."""

import contextlib
import resource

import structlog

_OTHERS = 256  # databases, logs, libraries

_log = structlog.get_logger()


def room_for(connections: int) -> int:
    """How many connections there is room for, `connections` at the most. Asks for a higher limit
    where the machine has set a low one.
    """
    wanted = connections + _OTHERS
    soft = _raised(wanted)
    if not _is_less(soft, wanted):
        return connections
    room = max(soft - _OTHERS, soft // 2)
    _log.warning("the limit of open files is low", ulimit=soft, connections=room)
    return room


def _raised(wanted: int) -> int:
    """The limit, after asking for `wanted`: the machine may refuse."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if _is_less(soft, wanted):
        most = hard if _is_less(hard, wanted) else wanted
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def _is_less(limit: int, wanted: int) -> bool:
    return limit != resource.RLIM_INFINITY and limit < wanted
