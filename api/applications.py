"""The two applications: one takes writes, one answers queries."""

from functools import cache
from typing import Any

from litestar import Litestar, Router
from litestar.config.app import AppConfig
from litestar.di import Provide
from litestar.openapi.config import OpenAPIConfig
from litestar.types import ASGIApp

from api import (
    aliases,
    analytics,
    apps,
    erasures,
    events,
    exports,
    failed_events,
    groups,
    health,
    merge_previews,
    metric_values,
    metrics,
    releases,
    schema,
    sdk_documents,
    segments,
    user_history,
    users,
)
from api.auth import find_organisation, find_reader, find_writer
from api.body import OpenedRequest
from api.dialects.calls import CALLS
from api.errors import HANDLERS
from api.ingest import ingest_route
from api.openapi import document
from api.paths import RoutedAsWritten
from api.routing import Interface, share_port
from domain.limits import MAX_REQUEST_BYTES
from infrastructure.bootstrap import Adapters

_WRITES = (
    *apps.WRITES,
    *aliases.WRITES,
    *erasures.WRITES,
    *failed_events.WRITES,
    *metrics.WRITES,
    *releases.WRITES,
    *segments.WRITES,
    *sdk_documents.ROUTES,
    *health.ROUTES,
)
_READS = (
    *users.ROUTES,
    *user_history.ROUTES,
    *groups.ROUTES,
    *merge_previews.ROUTES,
    *erasures.READS,
    *exports.ROUTES,
    *events.ROUTES,
    *analytics.ROUTES,
    *metrics.READS,
    *metric_values.ROUTES,
    *releases.READS,
    *apps.READS,
    *failed_events.READS,
    *segments.READS,
    *schema.ROUTES,
    *health.ROUTES,
)
_DESCRIBED = OpenAPIConfig(title="Appizer", version="1", path="/-")


def commands_app(adapters: Adapters) -> Litestar:
    return _application(adapters, ingest_route(adapters), *_WRITES)


def queries_app(adapters: Adapters) -> Litestar:
    """Also describes the whole interface, the other application's routes too."""
    queries = _application(adapters, *_READS)
    queries.state.describe = cache(
        lambda: document(
            _application(adapters, *_WRITES, described=_DESCRIBED),
            _application(adapters, *_READS, described=_DESCRIBED),
        )
    )
    return queries


def shared_app(adapters: Adapters) -> ASGIApp:
    return share_port(commands_app(adapters), queries_app(adapters))


def interface() -> Interface:
    """Of both applications."""
    parts = (Router("/", route_handlers=list(handlers)) for handlers in (_WRITES, _READS))
    return Interface([route for part in parts for route in part.routes], CALLS)


def _application(
    adapters: Adapters,
    *routes: Any,
    described: OpenAPIConfig | None = None,
) -> Litestar:
    """`described` would also serve the framework's own pages, whose scripts come from elsewhere,
    so an application that serves has it not.
    """

    async def provide_adapters() -> Adapters:
        return adapters

    return RoutedAsWritten.from_config(
        AppConfig(
            route_handlers=list(routes),
            dependencies={
                "adapters": Provide(provide_adapters),
                "reader": Provide(find_reader),
                "writer": Provide(find_writer),
                "organisation": Provide(find_organisation),
            },
            exception_handlers=HANDLERS,
            openapi_config=described,
            request_class=OpenedRequest,
            request_max_body_size=MAX_REQUEST_BYTES,
            logging_config=None,
        )
    )
