"""Questions about what happens in the product: a module for each kind."""

from api.analytics import sql, trends

ROUTES = (*trends.ROUTES, *sql.ROUTES)
