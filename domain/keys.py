"""The keys that callers show: `ak_` writes events, `as_` reads an app too, `ad_` may
also force merges and erase people, `apps_` manages apps.

Format after GitHub's token format: prefix, 30 base-62 digits (178 bits), 6 base-62 digits of the
CRC-32 of what precedes. The checksum tells a mistyped key from an unknown one without a look-up.
"""

import hashlib
import zlib

from domain.apps import KeyKind

PREFIXES: dict[KeyKind, str] = {
    "write": "ak_",
    "secret": "as_",
    "admin": "ad_",
    "organisation": "apps_",
}
RANDOM_BYTES = 23
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_RANDOM_DIGITS = 30
_CHECK_DIGITS = 6


def make_key(kind: KeyKind, random: bytes) -> str:
    """`random`: RANDOM_BYTES bytes from the system's generator."""
    body = PREFIXES[kind] + _base62(int.from_bytes(random), _RANDOM_DIGITS)
    return body + _checksum(body)


def is_well_formed(key: str) -> bool:
    prefix = next((p for p in PREFIXES.values() if key.startswith(p)), None)
    if prefix is None or len(key) != len(prefix) + _RANDOM_DIGITS + _CHECK_DIGITS:
        return False
    return key.isascii() and key[-_CHECK_DIGITS:] == _checksum(key[:-_CHECK_DIGITS])


def digest(key: str) -> str:
    """What is stored: SHA-256, hex. The key is random, so a slow hash would add nothing."""
    return hashlib.sha256(key.encode()).hexdigest()


def _checksum(body: str) -> str:
    return _base62(zlib.crc32(body.encode()), _CHECK_DIGITS)


def _base62(number: int, digits: int) -> str:
    text = ""
    for _ in range(digits):
        number, rest = divmod(number, 62)
        text = _DIGITS[rest] + text
    return text
