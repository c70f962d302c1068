"""Links lead somewhere, and the code that a page speaks of is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = "domain|commands|projections|infrastructure|api|deploy|tests|docs"
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
DECISIONS = sorted((ROOT / "docs/adr").glob("[0-9]*.md"))
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


@each_page
def test_links_within_the_repository_lead_somewhere(page):
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


@each_page
def test_files_that_are_named_exist(page):
    named = re.findall(rf"`((?:{ROOMS})/[\w./-]+)`", page.read_text())
    assert [name for name in named if not (ROOT / name).exists()] == []


@each_page
def test_functions_that_are_named_with_their_file_are_in_it(page):
    """Written as `room/file.py` (`name`, `Class.method`)."""
    missing = []
    for file, names in re.findall(rf"`((?:{ROOMS})/[\w./]+)`\s+\(([^)]*)\)", page.read_text()):
        code = (ROOT / file).read_text() if (ROOT / file).is_file() else ""
        for name in re.findall(r"`([A-Za-z_][\w.]*)`", names):
            last = name if file.endswith(".sql") else name.split(".")[-1]
            if not re.search(
                rf"(def|class|FUNCTION) {re.escape(last)}\b|^{last}\b", code, re.MULTILINE
            ):
                missing.append(f"{file}: {name}")
    assert missing == []


@pytest.mark.parametrize("page", DECISIONS, ids=lambda page: page.stem)
def test_a_decision_says_context_decision_consequences_alternatives_and_code(page):
    headings = re.findall(r"^## (.+)$", page.read_text(), re.MULTILINE)
    assert headings == ["Context", "Decision", "Consequences", "Alternatives", "Code"]
    assert page.read_text().startswith(f"# {page.name[:4]} ")
    assert len(page.read_text().splitlines()) <= 60


def test_every_decision_is_in_the_list():
    index = (ROOT / "docs/adr/README.md").read_text()
    assert re.findall(r"\]\((\d{4}-[\w-]+\.md)\)", index) == [page.name for page in DECISIONS]
