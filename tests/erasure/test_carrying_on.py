"""Whatever is killed when: an erasure goes on where it was, and ends the same."""

import pytest

from domain.erasures import STEPS
from infrastructure import eraser, erasure_log
from infrastructure.eraser import Eraser
from infrastructure.erasure_events import ErasureEvents
from infrastructure.message_bus import Bus


class Killed(BaseException):
    """Nothing that the eraser would catch and go on from, as a kill is not."""


@pytest.fixture
def lived(system):
    for n in range(30):
        system.track(
            system.shop, user_id="ada@example.com", properties={"price": n, "s": "Lovelace"}
        )
        system.track(system.shop, user_id="bob", properties={"price": n})
    system.identify(
        system.shop, user_id="ada@example.com", anonymous_id="ada-browser",
        traits={"name": "Lovelace"},
    )  # fmt: skip
    return system


def _dies(monkeypatch, owner, name: str, *, after: bool) -> None:
    """At its next call: before or after what it does."""
    real = getattr(owner, name)

    def once(*given, **named):
        monkeypatch.setattr(owner, name, real)
        if after:
            real(*given, **named)
        raise Killed

    monkeypatch.setattr(owner, name, once)


PLACES = {
    "before the log is rewritten": (eraser, "rewrite", False),
    "before the receipt": (erasure_log, "_append_receipt", False),
    "after the transaction": (eraser, "rewrite", True),
    "with rows staged": (ErasureEvents, "_stage", True),
    "with rows rewritten": (ErasureEvents, "rewrite", True),
    "before the feed is looked at": (eraser, "erase_messages", False),
    "at the end": (eraser.erasures, "finish", False),
}


@pytest.mark.parametrize(("owner", "name", "after"), PLACES.values(), ids=PLACES)
def test_killed_anywhere_it_goes_on(lived, found_in, monkeypatch, owner, name, after):
    system = lived
    with system.running():
        before = system.totals()
        erasure = system.ask(system.shop, "ada@example.com")
        _dies(monkeypatch, owner, name, after=after)
        with pytest.raises(Killed):
            system.finish(erasure)
        system.eraser = system.new_eraser()
        done = system.finish(erasure)
        assert set(done.done) == set(STEPS)
        assert system.totals() == before
        assert found_in("ada@example.com") == found_in("Lovelace") == found_in("ada-browser") == []
        system.wait()
        assert system.differing() == {}
    receipts = [r for r in system.history.recorded() if r.topic == "person.erased.v1"]
    assert [r.position for r in receipts] == [done.receipt]


def test_killed_between_two_messages_of_the_feed_it_goes_on(lived, found_in, monkeypatch):
    system = lived
    with system.running():
        for n in range(5):  # each in a batch of its own
            system.track(system.shop, user_id="ada@example.com", properties={"n": n})
            system.wait()
        erasure = system.ask(system.shop, "ada@example.com")
        _dies(monkeypatch, Bus, "erase", after=False)
        with pytest.raises(Killed):
            system.finish(erasure)
        done = system.finish(erasure)
    assert done.counts["messages"] >= 5
    assert found_in("ada@example.com") == []


def test_one_in_trouble_says_so_and_holds_up_nobody(lived, monkeypatch):
    system = lived
    real = erasure_log.find_places

    def away(connection, analytics, app_number, ids):
        if "bob" in ids:
            raise ConnectionError
        return real(connection, analytics, app_number, ids)

    monkeypatch.setattr(eraser, "find_places", away)
    with system.running():
        bob = system.ask(system.shop, "bob")
        ada = system.ask(system.shop, "ada@example.com")
        system.finish(ada)
        assert (system.state(bob).step, system.state(bob).trouble) == ("log", "ConnectionError")
        monkeypatch.setattr(eraser, "find_places", real)
        system.eraser.work()
        assert system.state(bob).trouble is None
        system.finish(bob)


def test_a_message_that_came_all_the_same_is_erased_too(lived, found_in, monkeypatch):
    """As if somebody had taken it who did not know yet that the id is refused."""
    system = lived
    with system.running():
        erasure = system.ask(system.shop, "ada@example.com")
        _dies(monkeypatch, Eraser, "_clean", after=False)
        system.eraser = system.new_eraser()
        with pytest.raises(Killed):
            system.finish(erasure)
        late = {"price": 1, "s": "Lovelace"}
        system.track(system.shop, user_id="ada@example.com", properties=late)
        system.wait()
        system.eraser = system.new_eraser()
        system.finish(erasure)
        assert found_in("ada@example.com") == found_in("Lovelace") == []
        assert system.differing() == {}


def test_two_erasures_of_people_who_become_one_meanwhile_both_end(system, found_in):
    """The older one takes over what the younger has not begun to rewrite."""
    system.track(system.shop, user_id="ada@example.com")
    system.track(system.shop, user_id="eve@example.com")
    with system.running():
        system.wait()
        older = system.ask(system.shop, "ada@example.com")
        younger = system.ask(system.shop, "eve@example.com")
        system.alias(
            system.shop, user_id="eve@example.com", previous_id="ada@example.com",
            forced_by="key", reason="on its way",
        )  # fmt: skip
        system.wait()
        system.finish(older)
        system.finish(younger)
        system.wait()
        assert found_in("ada@example.com") == found_in("eve@example.com") == []
        assert system.differing() == {}
