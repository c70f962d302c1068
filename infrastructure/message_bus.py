"""NATS JetStream: the stream that the relay fills and everybody may follow.

A connection is never mended: when it is lost every call raises BusError, and the caller connects
again and asks the stream where it stands. So nothing that was buffered in a broken connection is
sent after the fact.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from itertools import count
from typing import NamedTuple

import msgspec

from infrastructure.imports import hidden

# For websockets, which we don't speak, nats takes aiohttp if it is there: a fifth of the time in
# which a role starts.
with hidden("aiohttp"):
    import nats.errors
    import nats.js.errors
    from nats.aio.client import Client
    from nats.aio.msg import Msg
    from nats.js import api

STREAM = "APPIZER_V1"
SUBJECTS = "appizer.v1.>"
PROBE_STREAM = "APPIZER_PROBE"
PROBE_SUBJECT = "appizer.probe"
HEADERS_BYTES = 2048  # what the headers of one message may take; NATS counts them as payload
DUPLICATE_WINDOW = 120.0
CONNECT_SECONDS = 2
ANSWER_SECONDS = 5.0
HEARTBEAT_SECONDS = 1.0
_WRONG_LAST_SEQUENCE = 10071


class BusError(Exception):
    """NATS can't be reached, did not answer, or said no. Connect again."""


class OutOfStep(BusError):
    """The stream does not end where the publisher thought: somebody else has published."""


class Outgoing(NamedTuple):
    subject: str
    payload: bytes
    headers: dict[str, str]


class Message(NamedTuple):
    subject: str
    sequence: int
    headers: Mapping[str, str]
    payload: bytes


class _Refusal(msgspec.Struct):
    description: str = ""
    err_code: int = 0


class _Ack(msgspec.Struct):
    seq: int = 0
    duplicate: bool = False
    error: _Refusal | None = None


async def connect(url: str, name: str) -> "Bus":
    """Raises BusError within a few seconds when there is no server."""
    client = Client()
    bus = Bus(client)
    with _translated():
        await asyncio.wait_for(
            client.connect(
                url,
                name=f"appizer {name}",
                error_cb=_quietly,
                closed_cb=bus.give_up,
                allow_reconnect=False,
                connect_timeout=CONNECT_SECONDS,
                # The client tries again even for the first connection, and can't be told not to.
                max_reconnect_attempts=1,
                reconnect_time_wait=0,
                ping_interval=5,
                pending_size=32 * 1024 * 1024,
            ),
            CONNECT_SECONDS + 1,
        )
    return bus


async def probe(url: str) -> None:
    """Stores a message, in a stream of one message made for it. Raises BusError."""
    bus = await connect(url, "probe")
    try:
        await bus.store_probe()
    finally:
        await bus.close()


async def _quietly(_: Exception) -> None:
    """Callers learn of errors from the calls that fail; the client's own default prints them."""


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (nats.errors.Error, OSError, TimeoutError, asyncio.CancelledError) as error:
        # The client cancels its waiting calls when it loses the connection; a cancellation of
        # ours goes through.
        task = asyncio.current_task()
        if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
            raise
        raise BusError(f"NATS: {str(error) or 'connection lost'}") from None


class Bus:
    """One connection to NATS."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._stream = client.jetstream(timeout=ANSWER_SECONDS)
        self._acks: dict[str, asyncio.Future[_Ack]] = {}
        self._tokens = count(1)
        self._inbox = ""

    @property
    def max_bytes(self) -> int:
        """The largest payload that one message can carry beside its headers."""
        return self._client.max_payload - HEADERS_BYTES

    async def give_up(self) -> None:
        """The connection is gone: no acknowledgement will come any more."""
        for ack in self._acks.values():
            ack.cancel()

    async def close(self) -> None:
        try:
            await asyncio.wait_for(self._client.close(), CONNECT_SECONDS)
        except (nats.errors.Error, OSError, TimeoutError):
            return

    async def ensure_stream(self, max_age_seconds: int) -> None:
        """Makes the stream, or sets the age of the one that is there. Oldest messages go first:
        the feed can be refilled from the log. Replicas and limits set by an operator stay.
        """
        with _translated():
            try:
                config = (await self._stream.stream_info(STREAM)).config
            except nats.js.errors.NotFoundError:
                await self._stream.add_stream(_new_stream(max_age_seconds))
                return
            if config.max_age != max_age_seconds:
                await self._stream.update_stream(config, max_age=float(max_age_seconds))

    async def end(self) -> tuple[int, Message | None]:
        """The last sequence number that the stream gave, and the last message if it is there
        still. Raises BusError when there is no stream.
        """
        with _translated():
            state = (await self._stream.stream_info(STREAM)).state
        return state.last_seq, await self.message(state.last_seq) if state.messages else None

    async def span(self) -> tuple[int, int]:
        """The sequence numbers of the oldest message that is there, and of the next to come."""
        with _translated():
            state = (await self._stream.stream_info(STREAM)).state
        return state.first_seq, state.last_seq + 1

    async def message(self, sequence: int) -> Message | None:
        return await self._get(self._stream.get_msg(STREAM, seq=sequence))

    async def last_on(self, subject: str) -> Message | None:
        return await self._get(self._stream.get_msg(STREAM, subject=subject))

    async def next_on(self, subject: str, sequence: int) -> Message | None:
        """The first message of these subjects that is there from `sequence` on."""
        return await self._get(
            self._stream.get_msg(STREAM, seq=max(1, sequence), subject=subject, next=True)
        )

    async def erase(self, sequence: int) -> None:
        """Removes a message and overwrites it in the server's files; nothing if it is not there."""
        with _translated(), suppress(nats.js.errors.NotFoundError):
            await self._stream.delete_msg(STREAM, sequence)

    async def _get(self, request: Awaitable[api.RawStreamMsg]) -> Message | None:
        with _translated():
            try:
                raw = await request
            except nats.js.errors.NotFoundError:
                return None
        return Message(raw.subject or "", raw.seq or 0, raw.headers or {}, raw.data or b"")

    async def forget_before(self, sequence: int) -> None:
        with _translated():
            await self._stream.purge_stream(STREAM, seq=sequence)

    async def store_probe(self) -> None:
        with _translated():
            try:
                await self._stream.publish(PROBE_SUBJECT, b"")
            except nats.js.errors.NoStreamResponseError:
                await self._stream.add_stream(
                    name=PROBE_STREAM, subjects=[PROBE_SUBJECT], max_msgs=1
                )
                await self._stream.publish(PROBE_SUBJECT, b"")

    async def publish(self, messages: Sequence[Outgoing], after: int) -> int:
        """Stores the messages right behind sequence `after`, in order, all of them under way at
        once, and returns the new last sequence. Raises OutOfStep when the stream ends elsewhere.
        After an error a first part of them may be stored: look at the stream again.

        Not an atomic batch: measured once, 38,000 events/s with one app against 57,000-100,000.
        """
        with _translated():
            await self._listen_for_acks()
            waiting = [await self._send(m, after + n) for n, m in enumerate(messages)]
            try:
                for sequence, (_, ack) in enumerate(waiting, start=after + 1):
                    async with asyncio.timeout(ANSWER_SECONDS):
                        _check(await ack, sequence)
            finally:
                for token, ack in waiting:
                    ack.cancel()
                    del self._acks[token]
        return after + len(messages)

    async def _send(self, message: Outgoing, after: int) -> tuple[str, asyncio.Future[_Ack]]:
        token = str(next(self._tokens))
        ack = self._acks[token] = asyncio.get_running_loop().create_future()
        headers = {
            **message.headers,
            api.Header.EXPECTED_STREAM: STREAM,
            api.Header.EXPECTED_LAST_SEQUENCE: str(after),
        }
        await self._client.publish(
            message.subject, message.payload, reply=f"{self._inbox}.{token}", headers=headers
        )
        return token, ack

    async def _listen_for_acks(self) -> None:
        if not self._inbox:
            inbox = self._client.new_inbox()
            await self._client.subscribe(f"{inbox}.*", cb=self._take_ack)
            self._inbox = inbox

    async def _take_ack(self, message: Msg) -> None:
        ack = self._acks.get(message.subject.rpartition(".")[2])
        if ack is None or ack.done():
            return
        try:
            ack.set_result(msgspec.json.decode(message.data, type=_Ack))
        except msgspec.MsgspecError:  # an empty answer: no stream takes this subject
            ack.set_result(_Ack(error=_Refusal(description="no stream answered")))

    async def messages(
        self, subjects: str, start: int | datetime | None = None
    ) -> AsyncGenerator[Message | None]:
        """Follows the stream in order, from a sequence number, from a time, or (None) what is new.
        Yields None once it listens, then about every second while there is nothing. Raises
        BusError on any gap, or when the server falls silent.
        """
        with _translated():
            inbox = self._client.new_inbox()
            subscription = await self._client.subscribe(inbox)
            await self._stream.add_consumer(STREAM, config=_ordered(subjects, inbox, start))
        delivered = 0
        try:
            yield None
            while True:
                with _translated():
                    raw = await subscription.next_msg(timeout=3 * HEARTBEAT_SECONDS)
                if raw.headers and api.Header.STATUS in raw.headers:
                    await self._answer(raw, delivered)
                    yield None
                    continue
                delivered += 1
                yield _received(raw, delivered)
        finally:
            if not self._client.is_closed:
                await subscription.unsubscribe()

    async def _answer(self, control: Msg, delivered: int) -> None:
        """Flow control: the server waits for this word before it sends more."""
        headers = control.headers or {}
        last = headers.get(api.Header.LAST_CONSUMER)
        if last is not None and int(last) != delivered:
            raise BusError(f"NATS: message {delivered + 1} of the consumer was lost")
        go_on = control.reply or headers.get(api.Header.CONSUMER_STALLED)
        if go_on:
            with _translated():
                await self._client.publish(go_on)


def _check(ack: _Ack, sequence: int) -> None:
    if ack.error is not None and ack.error.err_code == _WRONG_LAST_SEQUENCE:
        raise OutOfStep(ack.error.description)
    if ack.error is not None:
        raise BusError(f"NATS: {ack.error.description}")
    if ack.duplicate or ack.seq != sequence:
        raise OutOfStep(f"stored as {ack.seq}, expected {sequence}")


def _received(raw: Msg, delivered: int) -> Message:
    place = raw.metadata.sequence
    if place.consumer != delivered:
        raise BusError(f"NATS: message {delivered} of the consumer was lost")
    return Message(raw.subject, place.stream, raw.headers or {}, raw.data)


def _new_stream(max_age_seconds: int) -> api.StreamConfig:
    return api.StreamConfig(
        name=STREAM,
        description="Everything that the event log holds, refillable from it",
        subjects=[SUBJECTS],
        storage=api.StorageType.FILE,
        retention=api.RetentionPolicy.LIMITS,
        discard=api.DiscardPolicy.OLD,
        max_age=max_age_seconds,
        duplicate_window=min(DUPLICATE_WINDOW, max_age_seconds),
        num_replicas=1,
        allow_direct=True,
    )


def _ordered(subjects: str, inbox: str, start: int | datetime | None) -> api.ConsumerConfig:
    config = api.ConsumerConfig(
        filter_subject=subjects,
        deliver_subject=inbox,
        deliver_policy=api.DeliverPolicy.NEW,
        ack_policy=api.AckPolicy.NONE,
        max_deliver=1,
        flow_control=True,
        idle_heartbeat=HEARTBEAT_SECONDS,
        inactive_threshold=10 * HEARTBEAT_SECONDS,
        mem_storage=True,
        num_replicas=1,
    )
    if isinstance(start, datetime):
        config.deliver_policy = api.DeliverPolicy.BY_START_TIME
        config.opt_start_time = start
    elif start is not None:
        config.deliver_policy = api.DeliverPolicy.BY_START_SEQUENCE
        config.opt_start_seq = max(1, start)
    return config
