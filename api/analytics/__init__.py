"""Questions about what happens in the product: a module for each kind."""

from api.analytics import funnels, trends

ROUTES = (*trends.ROUTES, *funnels.ROUTES)
