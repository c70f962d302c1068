"""Parts that ended are started again; logs stay small."""

from collections.abc import Callable

import msgspec

from infrastructure.embedded.processes import CannotStart, Part, ending, trim_log

_FIRST_DELAY, _LAST_DELAY = 0.2, 15.0  # seconds before a part that ended is started again
_STEADY = 3.0  # what ran for so long did start: its delay begins anew
_OFTEN, _LATELY = 2, 60.0  # a part that ended so often within so many seconds is in trouble
_LOG_BYTES = 16 * 2**20


class _Kept(msgspec.Struct):
    part: Part
    started_at: float
    delay: float = _FIRST_DELAY
    start_at: float | None = None  # set when it has ended: the time of its next start
    ends: list[float] = []  # times of those within the last minute
    how: str = ""  # the last one


class Upkeep:
    """Times are seconds on a clock that never runs backwards. `notice` is told what happened."""

    def __init__(self, notice: Callable[[str], None]) -> None:
        self._notice = notice
        self._kept: list[_Kept] = []

    def start(self, part: Part, now: float) -> None:
        """Raises CannotStart; from then on the part is kept running."""
        part.start()
        self._kept.append(_Kept(part, now))

    def look(self, now: float) -> None:
        for kept in self._kept:
            if kept.start_at is not None:
                self._start_when_due(kept, now)
            elif kept.part.exit_code() is not None:
                self._plan(kept, now)
            trim_log(kept.part.log, _LOG_BYTES)

    def troubles(self, now: float) -> dict[str, str]:
        """What is wrong, by part: it does not run, or does not for long."""
        found = {}
        for kept in self._kept:
            kept.ends = [end for end in kept.ends if now - end < _LATELY]
            ended = f"ended with {kept.how}, {len(kept.ends)} times within a minute"
            if len(kept.ends) >= _OFTEN:
                found[kept.part.name] = f"{ended}; see {kept.part.log.name}"
            elif kept.start_at is not None:
                found[kept.part.name] = f"ended with {kept.how}; it is started again"
        return found

    def stop(self) -> None:
        """The last started stops first, so that nobody loses what it works with."""
        for kept in reversed(self._kept):
            kept.part.stop()

    def _plan(self, kept: _Kept, now: float) -> None:
        """The more often it ends soon after its start, the later it starts again."""
        if now - kept.started_at > _STEADY:
            kept.delay = _FIRST_DELAY
        how = kept.how = ending(kept.part.exit_code() or 0)
        kept.ends.append(now)
        again = f"starting it again in {kept.delay:.1f} s, see {kept.part.log}"
        self._notice(f"{kept.part.name} ended with {how}; {again}")
        kept.start_at = now + kept.delay
        kept.delay = min(kept.delay * 2, _LAST_DELAY)

    def _start_when_due(self, kept: _Kept, now: float) -> None:
        if kept.start_at is None or now < kept.start_at:
            return
        try:
            kept.part.start()
        except CannotStart as error:
            self._notice(str(error))
            kept.start_at = now + kept.delay
        else:
            kept.start_at, kept.started_at = None, now
