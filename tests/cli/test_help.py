"""Every command explains itself, and none needs an instance for that."""

import click
import pytest

from api.cli.apps import command as apps
from api.cli.events import command as events
from api.cli.exits import Exit
from api.cli.failed import command as failed
from api.cli.importing import command as importing
from api.cli.keys import command as keys
from api.cli.main import run
from api.cli.projections import command as projections

GROUPS = {
    "import": importing, "apps": apps, "keys": keys, "projections": projections, "failed": failed,
    "events": events,
}  # fmt: skip
COMMANDS = [(group, name) for group, found in GROUPS.items() for name in found.commands]


@pytest.mark.parametrize(("group", "name"), COMMANDS)
def test_help_says_what_it_does_and_knows_data_and_json(group, name, capsys):
    assert run([group, name, "--help"]) == Exit.OK
    said = capsys.readouterr().out
    assert "--data DIR" in said
    assert "--json" in said


@pytest.mark.parametrize("words", [*COMMANDS, ("provision",), ("up",), ("run",), ("doctor",)])
def test_help_shows_none_of_its_marks(words, capsys):
    assert run([*words, "--help"]) == Exit.OK
    assert "\\b" not in capsys.readouterr().out.replace("\b", "\\b")


@pytest.mark.parametrize(("group", "name"), COMMANDS)
def test_every_option_is_explained(group, name):
    command = GROUPS[group].commands[name]
    options = [p for p in command.params if isinstance(p, click.Option)]
    assert [option.name for option in options if not option.help and not option.hidden] == []


EXAMPLES = [("import", name) for name in ("csv", "jsonl", "git", "users")] + [
    ("apps", "create"), ("keys", "create"), ("projections", "rebuild"), ("failed", "replay"),
]  # fmt: skip


@pytest.mark.parametrize(("group", "name"), EXAMPLES)
def test_what_takes_more_than_a_word_shows_an_example(group, name, capsys):
    run([group, name, "--help"])
    assert f"\n  appizer {group} {name} " in capsys.readouterr().out
