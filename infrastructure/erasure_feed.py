"""The feed after the log was rewritten: messages that hold what the log held before are erased.

A message is a batch, so others' events in it go too, from the stream and not from the log. Who had
not read them sees a gap, as docs/events.md says.
"""

from collections.abc import Iterable

import msgspec

from infrastructure import cloud_events, message_bus
from infrastructure.event_store.reader import Entry
from infrastructure.message_bus import Bus, Message
from infrastructure.relay import place_of


async def erase_messages(nats_url: str, entries: Iterable[Entry]) -> int:
    """`entries`: as the log has them now, by position. How many messages were erased; raises
    BusError, after which it may be done again.
    """
    bus = await message_bus.connect(nats_url, "eraser")
    try:
        erasing = _Erasing(bus, *await bus.span())
        for entry in entries:
            await erasing.look_at(entry)
        return erasing.erased
    finally:
        await bus.close()


class _Erasing:
    def __init__(self, bus: Bus, oldest: int, following: int) -> None:
        self._bus = bus
        self._oldest = oldest
        self._following = following
        self._found: dict[str, Message] = {}  # by subject: the last one that was looked at
        self.erased = 0

    async def look_at(self, entry: Entry) -> None:
        subject = cloud_events.subject_of(entry.app_id, entry.topic)
        message = self._found.get(subject)
        if message is None or _last(message) < entry.position:
            message = await self._search(subject, entry.position)
            if message is None:
                return
            self._found[subject] = message
        if _differs(message, entry):
            await self._bus.erase(message.sequence)
            self.erased += 1
            self._found[subject] = message._replace(payload=b"[]")

    async def _search(self, subject: str, position: int) -> Message | None:
        """The first message that reaches the position; positions of a subject rise."""
        before = self._found.get(subject)
        low, high = self._oldest if before is None else before.sequence + 1, self._following
        found = None
        step = 1
        while low < high:
            middle = (low + high) // 2 if before is None or found else min(low + step, high - 1)
            step *= 2
            message = await self._bus.next_on(subject, middle)
            if message is None or _last(message) >= position:
                found, high = message, middle
            else:
                low = message.sequence + 1
        return await self._bus.next_on(subject, low) if found is None else found


def _last(message: Message) -> int:
    """Of what no relay has written: before everything."""
    place = place_of(message)
    return 0 if place is None else int(message.headers["Appizer-Last"])


def _differs(message: Message, entry: Entry) -> bool:
    """Whether the message says something else of this event than the log does now."""
    for event in cloud_events.read(message.payload):
        if int(event.position) == entry.position:
            if event.data is msgspec.UNSET:
                return not event.datatoolarge
            return bytes(event.data) != entry.state[1:]
    return False
