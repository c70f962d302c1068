"""Questions about what happens in the product: a module for each kind."""

from api.analytics import retention, sessions, trends

ROUTES = (*trends.ROUTES, *retention.ROUTES, *sessions.ROUTES)
