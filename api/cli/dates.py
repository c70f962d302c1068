"""Moments as options."""

import subprocess

import click


class GitDate(click.ParamType[str]):
    """What git understands as a date: 2026-05-01, yesterday, 2 weeks ago. `git log` itself takes
    anything, and what it can't read for now.
    """

    name = "date"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        question = ["git", "-c", f"is.date={value}", "config", "--type=expiry-date", "is.date"]
        try:
            asked = subprocess.run(question, check=False, capture_output=True)  # noqa: S603  the value is one argument
        except FileNotFoundError:  # the import says so
            return value
        if asked.returncode != 0:
            self.fail(f"{value!r} is no date; say 2026-05-01 or '2 weeks ago'", param, ctx)
        return value
