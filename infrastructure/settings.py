"""All settings: one frozen struct, read once from `APPIZER_*` variables.

Secrets may come from a file: `APPIZER_DATABASE_URL_FILE=/run/secrets/db` and the like.
`appizer doctor` prints what is in force, without secrets.
"""

import difflib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

_Port = Annotated[int, Meta(ge=0, le=65_535)]
_Count = Annotated[int, Meta(ge=0)]
_Positive = Annotated[int, Meta(ge=1)]
_Seconds = Annotated[float, Meta(gt=0)]


class SettingsError(ValueError):
    """Names the variable and the mend."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Times in seconds, sizes as the name says."""

    database_url: str  # postgresql://user:password@host:port/name
    nats_url: str = "nats://127.0.0.1:4222"
    analytics_url: str = "http://default:@127.0.0.1:8123/default"  # ClickHouse HTTP interface
    host: str = "127.0.0.1"
    port: _Port = 8080
    connections: _Positive = 10_000  # open at once; beyond it the answer is 503
    public_url: str = ""  # what SDKs are told to send to; default: the request's own host
    data: str = ""  # the instance's directory, when it runs embedded
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    queue_events: _Positive = 20_000  # accepted and not yet committed; beyond it the answer is 503
    commit_events: _Positive = 1_000  # most events in one commit
    country_header: str = "cf-ipcountry"  # set by the CDN; lower case
    country_database: str = ""  # path of an .mmdb file
    trusted_proxies: _Count = 0  # how many proxies in front append to X-Forwarded-For
    retention_of_feed_seconds: _Positive = 7 * 24 * 3600  # how long NATS keeps the feed
    heavy_queries: _Positive = 2  # how many may run at once in the analytics engine
    app_queries: _Positive = 4  # how many questions an app may have running; beyond it 429
    query_seconds: _Seconds = 30.0  # the longest that one query may run
    query_memory_mib: _Positive = 4096
    metrics_port: _Port = 0  # Prometheus port of a role that has no HTTP port; 0: none
    shutdown_seconds: _Seconds = 10.0


SECRETS = ("database_url", "nats_url", "analytics_url")


def load(environment: Mapping[str, str] | None = None) -> Settings:
    """Raises SettingsError for a variable that is missing, malformed or names no file."""
    given = _given(os.environ if environment is None else environment)
    try:
        return msgspec.convert(given, Settings, strict=False)
    except msgspec.ValidationError as error:
        raise SettingsError(_readable(str(error))) from None


def unknown(environment: Mapping[str, str] | None = None) -> list[str]:
    """A sentence for each APPIZER_* variable that is no setting."""
    given = os.environ if environment is None else environment
    names = [name for name in given if name.startswith("APPIZER_") and _field(name) is None]
    return [f"{name} is no setting{_meant(name)}" for name in sorted(names)]


def _meant(variable: str) -> str:
    file = "_FILE" if variable.endswith("_FILE") else ""
    name = variable.removeprefix("APPIZER_").removesuffix("_FILE").lower()
    close = difflib.get_close_matches(name, Settings.__struct_fields__, n=1)
    return f"; did you mean APPIZER_{close[0].upper()}{file}?" if close else " and does nothing"


def _field(variable: str) -> str | None:
    """The setting that a variable gives, itself or by the name of a file."""
    name = variable.removeprefix("APPIZER_").lower()
    fields = Settings.__struct_fields__
    return next((one for one in (name, name.removesuffix("_file")) if one in fields), None)


def _given(environment: Mapping[str, str]) -> dict[str, str]:
    given: dict[str, str] = {}
    for variable, value in environment.items():
        field = _field(variable) if variable.startswith("APPIZER_") else None
        if field is not None:
            is_file = variable.lower() != f"appizer_{field}"
            given[field] = _content(variable, value) if is_file else value
    if "database_url" not in given and "DATABASE_URL" in environment:
        given["database_url"] = environment["DATABASE_URL"]
    return given


def _content(variable: str, file: str) -> str:
    try:
        return Path(file).read_text().strip()
    except OSError as error:
        raise SettingsError(f"{variable}: can't read {file}: {error.strerror}") from None


def _readable(error: str) -> str:
    if "missing required field `database_url`" in error:
        return "APPIZER_DATABASE_URL is not set; say postgresql://user:password@host:port/name"
    for name in Settings.__struct_fields__:
        if f"$.{name}" in error:
            return f"APPIZER_{name.upper()}: {error.partition(' - at')[0]}"
    return error
