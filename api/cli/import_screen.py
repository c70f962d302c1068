"""What an import shows while it runs: a bar on a terminal, plain lines elsewhere."""

import time
from types import TracebackType
from typing import Self

from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

from api.cli.output import notes, say
from infrastructure.database import open_engine
from infrastructure.positions import Positions
from infrastructure.settings import Settings
from projections.catalogue import PROJECTIONS

NAMES = (*(p.name for p in PROJECTIONS), "events")
_LINE_SECONDS = 5.0
_POLL_SECONDS = 0.1
_PATIENCE_SECONDS = 10.0  # a read model that has not moved for so long has nobody who moves it


class Screen:
    """Goes to stderr. `total` None: the end is not known."""

    def __init__(self, total: int | None) -> None:
        self._progress: Progress | None = None
        if notes.is_terminal:
            self._progress = Progress(
                SpinnerColumn(),
                BarColumn(),
                TextColumn("{task.description}"),
                TimeRemainingColumn(),
                console=notes,
            )
            self._task = self._progress.add_task("starting", total=total)
        self.total = total
        self._began = self._said = time.monotonic()

    def __enter__(self) -> Self:
        if self._progress is not None:
            self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._progress is not None:
            self._progress.stop()

    def update(self, done: int, events: int, text: str) -> None:
        """`done` in the units of `total`; `events` for the rate, 0 for none."""
        now = time.monotonic()
        if events:
            text = f"{text}, {events / max(now - self._began, 0.001):,.0f}/s"
        if self._progress is not None:
            self._progress.update(self._task, completed=done, description=text)
        elif now - self._said > _LINE_SECONDS:
            share = f"{100 * done / self.total:.0f} %: " if self.total else ""
            say(f"{share}{text}{self._left(done, now)}")
            self._said = now

    def _left(self, done: int, now: float) -> str:
        if not self.total or not done:
            return ""
        left = (now - self._began) * (self.total - done) / done
        return f", {left:,.0f} s left"


def wait_for_read_models(settings: Settings, position: int, seconds: float) -> bool:
    """True once all of them have come to `position`. Gives up after `seconds`, or when none of
    them moves.
    """
    engine = open_engine(settings.database_url, pool_size=1)
    try:
        with Screen(position) as screen:
            return _wait(Positions(engine), screen, position, seconds)
    finally:
        engine.dispose()


def _wait(positions: Positions, screen: Screen, position: int, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    patience = time.monotonic() + _PATIENCE_SECONDS
    before = -1
    while (reached := _slowest(positions)) < position:
        now = time.monotonic()
        if reached != before:
            before, patience = reached, now + _PATIENCE_SECONDS
        if now > min(deadline, patience):
            say(
                f"the read models are at {reached:,} of {position:,}; is the projector running?"
                " See: appizer projections status"
            )
            return False
        screen.update(reached, 0, f"read models are at {reached:,} of {position:,}")
        time.sleep(_POLL_SECONDS)
    return True


def _slowest(positions: Positions) -> int:
    """0 while one of them has never been there."""
    reached = {standing.name: standing.position for standing in positions.all()}
    return min(reached.get(name, 0) for name in NAMES)
