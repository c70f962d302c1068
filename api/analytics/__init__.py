"""Questions about what happens in the product: a module for each kind."""

from api.analytics import funnels, sql, trends

ROUTES = (*trends.ROUTES, *funnels.ROUTES, *sql.ROUTES)
