"""Logs and metrics: JSON lines without payloads or keys, Prometheus text."""

import logging
import os

import structlog
from prometheus_client import generate_latest, start_http_server

from infrastructure.settings import Settings

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
        logger_factory=structlog.PrintLoggerFactory(),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(role=role, pid=os.getpid())


def serve_metrics(role: str, settings: Settings) -> None:
    """For roles without an HTTP port of their own; APPIZER_METRICS_PORT 0 leaves it out."""
    set_up_logs(settings, role)
    if settings.metrics_port:
        start_http_server(settings.metrics_port, settings.host)


def metrics_text() -> bytes:
    return generate_latest()
