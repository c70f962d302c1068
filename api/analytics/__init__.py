"""Questions about what happens in the product: a module for each kind."""

from api.analytics import paths, retention, sessions, trends

ROUTES = (*trends.ROUTES, *retention.ROUTES, *sessions.ROUTES, *paths.ROUTES)
