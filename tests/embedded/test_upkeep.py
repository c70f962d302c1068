"""A part that ends is started again, later each time; stopping goes backwards."""

from pathlib import Path

import pytest

from infrastructure.embedded.processes import CannotStart
from infrastructure.embedded.upkeep import Upkeep


class Fragile:
    """Ends when told to."""

    def __init__(self, name: str, told: list[str], directory: Path) -> None:
        self.name = name
        self.log = directory / f"{name}.log"
        self.code: int | None = None
        self.refuses = False
        self._told = told

    def start(self) -> None:
        if self.refuses:
            raise CannotStart("the port is taken", "free it")
        self.code = None
        self._told.append(f"start {self.name}")

    def is_ready(self) -> bool:
        return True

    def exit_code(self) -> int | None:
        return self.code

    def stop(self) -> None:
        self._told.append(f"stop {self.name}")


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def upkeep(told) -> Upkeep:
    return Upkeep(told.append)


def starts(told: list[str]) -> int:
    return sum(line.startswith("start ") for line in told)


def test_a_part_that_ends_is_started_again_and_somebody_is_told_why(upkeep, told, tmp_path):
    part = Fragile("relay", told, tmp_path)
    upkeep.start(part, now=0.0)
    part.code = -9
    upkeep.look(now=1.0)
    upkeep.look(now=1.1)
    assert starts(told) == 1
    upkeep.look(now=1.2)
    assert starts(told) == 2
    log = tmp_path / "relay.log"
    assert f"relay ended with SIGKILL; starting it again in 0.2 s, see {log}" in told


def test_each_further_end_waits_twice_as_long_up_to_a_limit(upkeep, told, tmp_path):
    part = Fragile("relay", told, tmp_path)
    upkeep.start(part, now=0.0)
    waits = []
    now = 0.0
    for _ in range(9):
        part.code, before = 1, now
        while part.code is not None:
            upkeep.look(now)
            now += 0.1
        waits.append(now - before)
    assert waits == sorted(waits)
    assert 15.0 <= waits[-1] <= 15.3


def test_a_part_that_ran_for_long_is_started_at_once_again(upkeep, told, tmp_path):
    part = Fragile("relay", told, tmp_path)
    upkeep.start(part, now=0.0)
    for now in (1.0, 2.0, 3.0, 5.0):
        part.code = 1
        upkeep.look(now)
        upkeep.look(now + 1.9)
    part.code = 1
    upkeep.look(now=100.0)
    upkeep.look(now=100.2)
    assert part.code is None


def test_a_part_that_cannot_start_is_tried_again(upkeep, told, tmp_path):
    part = Fragile("postgres", told, tmp_path)
    upkeep.start(part, now=0.0)
    part.code, part.refuses = 1, True
    upkeep.look(now=1.0)
    upkeep.look(now=2.0)
    assert told[-1] == "the port is taken; free it"
    part.refuses = False
    upkeep.look(now=20.0)
    assert part.code is None


def test_what_started_last_stops_first(upkeep, told, tmp_path):
    for name in ("postgres", "nats", "api"):
        upkeep.start(Fragile(name, told, tmp_path), now=0.0)
    upkeep.stop()
    assert told[3:] == ["stop api", "stop nats", "stop postgres"]


def test_a_part_that_ended_once_is_in_trouble_until_it_runs_again(upkeep, told, tmp_path):
    part = Fragile("relay", told, tmp_path)
    upkeep.start(part, now=0.0)
    assert upkeep.troubles(now=0.0) == {}
    part.code = 1
    upkeep.look(now=5.0)
    assert upkeep.troubles(now=5.0) == {"relay": "ended with code 1; it is started again"}
    upkeep.look(now=5.2)
    assert upkeep.troubles(now=5.2) == {}


def test_a_part_that_ends_again_and_again_is_in_trouble_also_while_it_runs(upkeep, told, tmp_path):
    part = Fragile("relay", told, tmp_path)
    upkeep.start(part, now=0.0)
    for now in (10.0, 20.0):
        part.code = 1
        upkeep.look(now)
        upkeep.look(now + 0.5)
    assert part.code is None
    said = "ended with code 1, 2 times within a minute; see relay.log"
    assert upkeep.troubles(now=21.0) == {"relay": said}
    assert upkeep.troubles(now=75.0) == {}
