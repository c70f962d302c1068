"""What a message's `context` says about the sender. Both dialects have the same one, Segment's."""

from functools import lru_cache
from ipaddress import ip_address

import msgspec

from domain.admission import Arrival, checked_object
from domain.tracking import EMPTY, Client

# SDKs that run on servers: the address and the user agent at the edge are the server's own and
# say nothing about the person. (Names that these SDKs put into context.library.name.)
_SERVER_LIBRARIES = frozenset(
    (
        "@segment/analytics-node",
        "@rudderstack/rudder-sdk-node",
        "Analytics.NET",
        "analytics-go",
        "analytics-java",
        "analytics-node",
        "analytics-php",
        "analytics-python",
        "analytics-ruby",
        "analytics-rust",
    )
)
_CACHED = 2048  # contexts
_MOST_CACHED_BYTES = 4096


class Context(msgspec.Struct, frozen=True, gc=False):
    """`ip` and `user_agent` are the person's, as the SDK gave them; `is_server`: the edge saw a
    server's.
    """

    raw: msgspec.Raw = EMPTY
    ip: str | None = None
    user_agent: str | None = None
    is_server: bool = False


class _Said(msgspec.Struct, gc=False, rename="camel"):
    ip: msgspec.Raw = EMPTY
    user_agent: msgspec.Raw = EMPTY
    library: msgspec.Raw = EMPTY


_NOTHING = Context()
_decode = msgspec.json.Decoder(_Said).decode


def read_context(raw: msgspec.Raw) -> Context:
    """Raises Rejected when it is not an object within the limits. The same few contexts come
    again and again, so the last ones are remembered.
    """
    if raw is EMPTY:
        return _NOTHING
    body = bytes(raw)
    return _remembered(body) if len(body) <= _MOST_CACHED_BYTES else _read(body)


def _read(body: bytes) -> Context:
    raw = checked_object(msgspec.Raw(body), "context", suspect=True)
    said = _decode(raw)
    library = _member(said.library, "name")
    return Context(
        raw, known_address(_text(said.ip)), _text(said.user_agent), library in _SERVER_LIBRARIES
    )


_remembered = lru_cache(_CACHED)(_read)


def _member(raw: msgspec.Raw, name: str) -> str | None:
    value = msgspec.json.decode(raw)
    found = value.get(name) if isinstance(value, dict) else None
    return found if isinstance(found, str) else None


def _text(raw: msgspec.Raw) -> str | None:
    value = msgspec.json.decode(raw)
    return value if isinstance(value, str) and value else None


@lru_cache(_CACHED)
def known_address(text: str | None) -> str | None:
    """None for what is no IP address; SDKs send "0.0.0.0" and "" to say nothing."""
    try:
        address = ip_address((text or "").partition("%")[0])  # a zone is of no use to others
    except ValueError:
        return None
    return None if address.is_unspecified else str(address)


def client_of(context: Context, arrival: Arrival) -> Client:
    """The person's address and browser: what the context says, else what the edge saw, unless it
    saw a server. The CDN's country goes with the edge's address only.
    """
    edge = arrival.client
    agent = context.user_agent
    if context.ip is None and not context.is_server and (agent is None or agent == edge.user_agent):
        return edge
    if context.is_server:
        return Client(context.ip, agent)
    return replaced(edge, context.ip, agent)


def replaced(edge: Client, ip: str | None, user_agent: str | None) -> Client:
    same = ip is None or ip == edge.ip
    return Client(ip or edge.ip, user_agent or edge.user_agent, edge.country if same else None)
