"""What followers of the feed see of an erasure."""

import asyncio

from infrastructure import cloud_events, eraser, feed, message_bus
from infrastructure.relay import place_of


def _stored(system) -> list[message_bus.Message]:
    """All messages that are in the stream."""

    async def read() -> list[message_bus.Message]:
        bus = await message_bus.connect(system.settings.nats_url, "test")
        found, (sequence, following) = [], await bus.span()
        while sequence < following:
            message = await bus.next_on(message_bus.SUBJECTS, sequence)
            found.append(message)
            sequence = message.sequence + 1
        await bus.close()
        return found

    return asyncio.run(read())


def _first_from(system, position: int) -> int:
    """Where a follower begins that asks for all from this position on."""

    async def search() -> int:
        bus = await message_bus.connect(system.settings.nats_url, "test")
        sequence = await feed._sequence_of(bus, position)
        found = await bus.next_on(message_bus.SUBJECTS, sequence)
        await bus.close()
        return found.sequence

    return asyncio.run(search())


def _positions(message) -> list[int]:
    return [int(event.position) for event in cloud_events.read(message.payload)]


def test_batches_with_the_person_go_and_all_others_stay(system):
    with system.running():
        mine = []
        for n in range(12):  # each in a batch of its own
            mine.append(system.track(system.shop, user_id="ada" if n % 3 else "bob"))
            system.wait()
        before = _stored(system)
        done = system.erase(system.shop, "ada")
        gone = {mine[n] for n in range(12) if n % 3}
        assert done.counts["messages"] == len(gone)
        left = [at for message in _stored(system) for at in _positions(message)]
        everything = [at for message in before for at in _positions(message)]
        assert left == [*(at for at in everything if at not in gone), done.receipt]
        for message in _stored(system):
            for position in _positions(message):
                assert _first_from(system, position) <= message.sequence
            place = place_of(message)
            if place is not None and place.part == 1:
                assert _first_from(system, place.page.last) == message.sequence


def test_the_relay_goes_on_without_a_double_when_it_begins_again(system):
    with system.running():
        system.track(system.shop, user_id="ada")
        system.wait()
        system.erase(system.shop, "ada")
    with system.running():
        system.track(system.shop, user_id="bob")
        system.wait()
        found = [at for message in _stored(system) for at in _positions(message)]
    assert len(found) == len(set(found))
    assert found[-1] == system.history.head()


def test_what_is_published_after_the_rewriting_stays(system, monkeypatch):
    """The relay was away: what it brings later holds nothing of the person."""
    monkeypatch.setattr(eraser, "_REACH_SECONDS", 2.0)
    with system.running(relay=False):
        for _ in range(3):
            system.track(system.shop, user_id="ada")
        system.wait("people", "events")
        erasure = system.ask(system.shop, "ada")
        while not system.state(erasure).receipt:
            system.eraser.work()
    with system.running():
        done = system.finish(erasure)
        found = [at for message in _stored(system) for at in _positions(message)]
    assert done.counts["messages"] == 0
    assert sorted(found) == list(range(1, system.history.head() + 1))
