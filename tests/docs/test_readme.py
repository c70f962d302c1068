"""What README.md tells a reader to type exists. Nothing is started here."""

import ast
import re
import shlex
from pathlib import Path

import click
import pytest

from api.cli.main import appizer

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


def _blocks(language: str) -> list[str]:
    return [body for found, body in BLOCKS if found == language]


def _typed(text: str) -> set[str]:
    """Command lines of ours: `./appizer …` in shell blocks, `appizer …` in running text."""
    shell = "\n".join(re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
    lines = re.findall(r"^\./appizer (.+)$", shell.replace("\\\n", " "), re.MULTILINE)
    lines += re.findall(r"`(?:\./)?appizer ([a-z][^`]*)`", text)
    return {line.partition("  #")[0].strip() for line in lines}


COMMANDS = sorted(set().union(*(_typed(page.read_text()) for page in PAGES)))


@pytest.mark.parametrize("number", range(len(_blocks("python"))))
def test_a_python_snippet_compiles(number):
    ast.parse(_blocks("python")[number])


def test_the_subscriber_shown_is_the_one_in_the_examples():
    shown = [block for block in _blocks("python") if "nats" in block]
    assert shown == [(ROOT / "docs/examples/subscribe.py").read_text()]


def test_the_subscriber_is_short():
    code = (ROOT / "docs/examples/subscribe.py").read_text().strip().splitlines()
    assert len([line for line in code if line.strip()]) <= 15


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_that_is_written_about_exists(line):
    words = [w for w in shlex.split(line) if not re.fullmatch(r"[A-Z…]+|\[.*", w)]
    if words == ["test"]:
        assert '["test"]' in (ROOT / "appizer").read_text()  # the bootstrap's own
        return
    command: click.Command | None = appizer
    context = click.Context(appizer)
    while isinstance(command, click.Group) and words:
        name = words.pop(0)
        command = command.get_command(context, name)
        assert command is not None, name
    assert command is not None
    known = {option for parameter in command.params for option in parameter.opts}
    known |= {option for parameter in command.params for option in parameter.secondary_opts}
    assert {word.split("=")[0] for word in words if word.startswith("-")} <= known


def test_the_page_is_read_in_the_order_that_a_newcomer_needs():
    headings = re.findall(r"^## (.+)$", README, re.MULTILINE)
    assert headings[0] == "Start"
    assert headings.index("First event, first answer") < headings.index("The map of the code")
