"""Logs and metrics: JSON lines without payloads or keys, Prometheus text."""

import logging
import os
import sys
from collections.abc import Iterable, Mapping

import structlog
from prometheus_client import REGISTRY, generate_latest, start_http_server
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from infrastructure.settings import Settings, SettingsError

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def set_up_logs(settings: Settings, role: str) -> None:
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(level),
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(role=role, pid=os.getpid())
    # Libraries say at `info` what nobody asked for, such as each request that they make.
    logging.basicConfig(handlers=[_ToStructlog()], level=max(level, logging.WARNING), force=True)
    logging.captureWarnings(capture=True)


class _ToStructlog(logging.Handler):
    """What libraries log, as lines like ours: `logger` names who speaks."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            said = record.getMessage()
        except (TypeError, ValueError):  # arguments that don't fit the text
            said = str(record.msg)
        log = structlog.get_logger()
        log.log(record.levelno, said, logger=record.name, exc_info=record.exc_info)


def serve_metrics(role: str, settings: Settings) -> None:
    """For roles without an HTTP port of their own; APPIZER_METRICS_PORT 0 leaves it out. Raises
    SettingsError when nobody can listen there.
    """
    set_up_logs(settings, role)
    if not settings.metrics_port:
        return
    try:
        start_http_server(settings.metrics_port, settings.host)
    except OSError as error:
        where = f"port {settings.metrics_port} of {settings.host}"
        mend = "give each role on a machine another one, or 0 for none"
        raise SettingsError(
            f"APPIZER_METRICS_PORT: can't listen on {where}: {error.strerror}; {mend}"
        ) from None


def metrics_text(others: Mapping[str, str]) -> bytes:
    """Our figures, and with the label `role` those of `others`: role -> its text."""
    return generate_latest(_Families(others))


class _Families(Collector):
    def __init__(self, others: Mapping[str, str]) -> None:
        self._others = others

    def collect(self) -> Iterable[Metric]:
        ours = (one for one in REGISTRY.collect() if not self._is_of_another("", one.name))
        families = {family.name: _copied(family) for family in ours}
        for role, text in self._others.items():
            for theirs in text_string_to_metric_families(text):
                if theirs.name.endswith("_created") or self._is_of_another(role, theirs.name):
                    continue
                new = Metric(theirs.name, theirs.documentation, theirs.type)
                families.setdefault(theirs.name, new).samples += [
                    Sample(one.name, {**one.labels, "role": role}, one.value)
                    for one in theirs.samples
                ]
        return families.values()

    def _is_of_another(self, role: str, family: str) -> bool:
        """Who loads the relay's code has figures of it that stay at 0."""
        return any(family.startswith(f"appizer_{one}_") for one in self._others if one != role)


def _copied(family: Metric) -> Metric:
    """Some collectors give the same one each time: what is added must not stay in it."""
    copy = Metric(family.name, family.documentation, family.type)
    copy.samples = list(family.samples)
    return copy
