"""Questions about what happens in the product: a module for each kind."""

from api.analytics import funnels, paths, retention, sessions, sql, trends

ROUTES = (
    *trends.ROUTES,
    *funnels.ROUTES,
    *retention.ROUTES,
    *sessions.ROUTES,
    *paths.ROUTES,
    *sql.ROUTES,
)
