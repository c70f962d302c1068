"""The command line in front of a database of the test's own."""

from tests.fixtures.command_line import app_id, appizer, change, project, query, stored

__all__ = ["app_id", "appizer", "change", "project", "query", "stored"]
