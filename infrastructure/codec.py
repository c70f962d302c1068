"""Events to stored bytes and back: a codec byte, then JSON. Old topics are upcast on read."""

from collections.abc import Callable
from typing import Any, cast

import msgspec

from domain.catalogue import BY_TOPIC, UPCASTERS

PLAIN = b"\x01"  # the rest is JSON; other codecs (sealed per subject) will have their own byte

_encode = msgspec.json.Encoder().encode
_decoders: dict[str, Callable[[Any], Any]] = {
    topic: msgspec.json.Decoder(event).decode for topic, event in BY_TOPIC.items()
}


_list_decoders: dict[str, Callable[[Any], Any]] = {
    topic: msgspec.json.Decoder(list[event]).decode  # type: ignore[valid-type]  # known at run time
    for topic, event in BY_TOPIC.items()
}


class UnknownTopic(ValueError):
    """No class and no upcaster for this topic: written by a newer version."""


class UnknownCodec(ValueError):
    """The payload's first byte names a codec that this version cannot open."""


# What a payload can do to its decoder, or an upcaster do with it.
_UNREADABLE = (
    msgspec.MsgspecError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    RecursionError,
)


class Unreadable(msgspec.Struct, frozen=True):
    """Stands for an event whose payload can't be decoded."""

    reason: str


def encode(event: msgspec.Struct) -> bytes:
    return PLAIN + _encode(event)


def decode(topic: str, state: bytes) -> Any:
    """The event, in its newest shape. Raises UnknownTopic, UnknownCodec, msgspec.DecodeError."""
    return decode_body(topic, opened(state))


def read(topic: str, state: bytes) -> Any:
    """The event, or Unreadable."""
    try:
        return decode(topic, state)
    except _UNREADABLE as error:
        return Unreadable(f"{type(error).__name__}: {error}")


def decode_body(topic: str, body: bytes | memoryview | msgspec.Raw) -> Any:
    decoder = _decoders.get(topic)
    if decoder is not None:
        return decoder(body)
    return _upcast(topic, body)


def decode_joined(topic: str, bodies: bytes) -> list[Any] | None:
    """Bodies of one topic in its newest shape, separated by commas, in one call: half the time of
    a call for each. None: at least one can't be decoded.
    """
    try:
        return cast("list[Any]", _list_decoders[topic](b"[%b]" % bodies))
    except _UNREADABLE:
        return None


def opened(state: bytes) -> memoryview:
    """The JSON of a stored payload."""
    if not state.startswith(PLAIN):
        message = f"payload codec {state[:1].hex() or 'none'}"
        raise UnknownCodec(message)
    return memoryview(state)[1:]


def _upcast(topic: str, body: bytes | memoryview | msgspec.Raw) -> Any:
    if topic not in UPCASTERS:
        raise UnknownTopic(topic)
    shape = msgspec.json.decode(body)
    while topic in UPCASTERS:
        topic, upcast = UPCASTERS[topic]
        shape = upcast(shape)
    # Through JSON once more: msgspec.convert can't make the Raw that properties and traits are.
    return _decoders[topic](_encode(shape))
