"""An HTTP request of ClickHouse's interface, taken apart into one statement.

The subset that clickhouse-connect uses: https://clickhouse.com/docs/interfaces/http
"""

import re
import zlib
from collections.abc import Callable, Mapping
from typing import NamedTuple
from urllib.parse import parse_qsl

import lz4.frame  # type: ignore[import-untyped]  # no types published

BAD_ARGUMENTS = 36
NOT_IMPLEMENTED = 48
SYNTAX_ERROR = 62
READONLY = 164

# Parameters that mean something to a ClickHouse server's HTTP side and nothing to the engine.
# Sessions are accepted and not kept: every statement is on its own.
_TRANSPORT = frozenset(
    [
        "query",
        "database",
        "default_format",
        "user",
        "password",
        "session_id",
        "session_timeout",
        "session_check",
        "query_id",
        "quota_key",
        "compress",
        "decompress",
        "buffer_size",
        "wait_end_of_query",
        "client_protocol_version",
        "role",
        "send_progress_in_http_headers",
        "http_headers_progress_interval_ms",
        "enable_http_compression",
        "priority",
    ]
)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_INSERT_OF_DATA = re.compile(
    rb"\s*(INSERT\s+INTO\s+(?:TABLE\s+)?[^\s(]+\s*(?:\([^()]*\))?\s*(?:SETTINGS\s+[^;]*?)?)"
    rb"\s*\bFORMAT\s+(\w+)[ \t]*;?(?:\r?\n)?",
    re.IGNORECASE | re.DOTALL,
)
_READS = re.compile(rb"[\s(]*(SELECT|WITH|SHOW|DESC|DESCRIBE|EXPLAIN|EXISTS)\b", re.IGNORECASE)
_READS_TABLES = re.compile(rb"\bFROM\s+(?!system\.)", re.IGNORECASE)
_CHANGES_SESSION = re.compile(rb"\s*(SET|USE|CREATE\s+TEMPORARY)\b", re.IGNORECASE)
_FORMAT = re.compile(rb"\bFORMAT\s+(\w+)\s*;?\s*\Z", re.IGNORECASE)


class EngineError(Exception):
    """`code` is one of ClickHouse's ErrorCodes."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Statement(NamedTuple):
    """`data_format` is set for an INSERT whose rows are in `data`. `heavy`: needs a place."""

    sql: bytes
    parameters: Mapping[str, str]
    settings: Mapping[str, str]
    database: str
    default_format: str
    reads: bool
    heavy: bool
    changes_session: bool
    data: bytes = b""
    data_format: str = ""
    query_id: str = ""

    @property
    def answer_format(self) -> str:
        named = _FORMAT.search(self.sql)
        return named[1].decode() if named else self.default_format


def statement(target: str, headers: Mapping[str, str], body: bytes) -> Statement:
    """`target` is the request's path and query, `body` is inflated. Raises EngineError."""
    given = dict(parse_qsl(target.partition("?")[2], keep_blank_values=True, max_num_fields=2000))
    if "multipart/form-data" in headers.get("content-type", ""):
        given |= _form(headers["content-type"], body)
        body = b""
    sql = b"\n".join(part for part in (given.get("query", "").encode(), body) if part)
    if not sql.strip():
        raise EngineError(SYNTAX_ERROR, "Code: 62. DB::Exception: Empty query. (SYNTAX_ERROR)")
    insert = _INSERT_OF_DATA.match(sql)
    return Statement(
        sql=insert[1] if insert else sql,
        parameters={n.removeprefix("param_"): v for n, v in given.items() if _is_parameter(n)},
        settings=_settings(given),
        database=_database(given, headers),
        default_format=given.get("default_format")
        or headers.get("x-clickhouse-format", "TabSeparated"),
        reads=bool(_READS.match(sql)),
        heavy=_is_heavy(sql, given),
        changes_session=bool(_CHANGES_SESSION.match(sql)),
        data=sql[insert.end() :] if insert else b"",
        data_format=insert[2].decode() if insert else "",
        query_id=given.get("query_id", ""),
    )


def _is_parameter(name: str) -> bool:
    return name.startswith("param_")


def _is_heavy(sql: bytes, given: Mapping[str, str]) -> bool:
    """Who knows that a read is small says `priority = 1`, which to a server means the same."""
    return (
        given.get("priority") != "1" and bool(_READS.match(sql)) and bool(_READS_TABLES.search(sql))
    )


def _settings(given: Mapping[str, str]) -> dict[str, str]:
    settings = {n: v for n, v in given.items() if n not in _TRANSPORT and not _is_parameter(n)}
    for name in settings:
        _checked(name)
    return settings


def _database(given: Mapping[str, str], headers: Mapping[str, str]) -> str:
    return _checked(given.get("database") or headers.get("x-clickhouse-database") or "default")


def _checked(name: str) -> str:
    if not _NAME.match(name):
        raise EngineError(BAD_ARGUMENTS, f"Code: 36. DB::Exception: Bad name {name!r}.")
    return name


def _form(content_type: str, body: bytes) -> dict[str, str]:
    """The fields of a form; external tables would be files, which are not taken."""
    boundary = content_type.partition("boundary=")[2].strip('"')
    fields: dict[str, str] = {}
    for part in body.split(b"--" + boundary.encode())[1:-1]:
        head, _, value = part.partition(b"\r\n\r\n")
        name = re.search(rb'name="([^"]*)"', head)
        if name is None or b"filename=" in head:
            raise EngineError(NOT_IMPLEMENTED, "Code: 48. DB::Exception: No external tables.")
        fields[name[1].decode()] = value.removesuffix(b"\r\n").decode()
    return fields


def _inflate(body: bytes) -> bytes:
    return zlib.decompress(body, wbits=zlib.MAX_WBITS | 32)  # 32: zlib's or gzip's header


_INFLATE: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    "identity": bytes,
    "gzip": _inflate,
    "deflate": _inflate,
    "lz4": lz4.frame.decompress,
}


def inflated(body: bytes, encoding: str) -> bytes:
    """Raises EngineError for a Content-Encoding that is not known or does not fit the body."""
    inflate = _INFLATE.get(encoding.lower())
    if inflate is None:
        raise EngineError(NOT_IMPLEMENTED, f"Code: 48. DB::Exception: Encoding {encoding!r}.")
    try:
        return inflate(body)
    except (zlib.error, RuntimeError) as error:
        raise EngineError(BAD_ARGUMENTS, f"Code: 36. DB::Exception: {error}.") from None
