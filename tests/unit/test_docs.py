"""Pages are found from the README and on the site, links lead somewhere, messages are real."""

import ast
import importlib.util
import re
import subprocess
import sys

import pytest
import yaml

from docs.build import Loader, list_navigation
from tests.conftest import ROOT

PAGES = sorted(
    page
    for pattern in ("*.md", "docs/*.md", "config/*.md", "resources/**/*.md")
    for page in ROOT.glob(pattern)
)
SHORTEST = 8
"""Letters of the least piece of a message that is looked for."""


def list_links(page):
    """Targets of a page's links and pictures: a path, and an anchor or nothing."""
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    links = re.findall(r"\]\(([^)#\s]*)(?:#([^)]*))?\)", text)
    return [
        ((page.parent / link).resolve() if link else page, anchor)
        for link, anchor in links
        if "://" not in link
    ]


def list_anchors(page):
    """Anchors of a page's headings, as GitHub and the site make them."""
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", t.lower()).strip().replace(" ", "-") for t in titles}


def test_the_readme_links_every_page_of_the_docs():
    assert set(ROOT.glob("docs/*.md")) <= {path for path, _ in list_links(ROOT / "README.md")}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page):
    links = list_links(page)
    assert [path for path, _ in links if not path.exists()] == []
    assert [(p, a) for p, a in links if a and p.suffix == ".md" and a not in list_anchors(p)] == []


def test_the_site_has_every_page_of_the_docs_in_its_navigation():
    config = yaml.load((ROOT / "mkdocs.yml").read_text(), Loader)
    named = {ROOT / page for page in list_navigation(config["nav"])}
    assert set(ROOT.glob("docs/*.md")) | {ROOT / "README.md"} <= named
    assert [page for page in named if not page.is_file()] == []


@pytest.mark.skipif(importlib.util.find_spec("mkdocs") is None, reason="`make site` builds it")
def test_the_site_is_built_without_a_warning():
    subprocess.run([sys.executable, ROOT / "docs/build.py"], check=True)


def list_messages():
    """Messages of the page of failures, without those that are Snakemake's own."""
    page = (ROOT / "docs/failures.md").read_text()
    return re.findall(r"^\| `([^`]+)` \|", page, re.MULTILINE)


def list_texts():
    """Every literal piece of text in the library and the rules."""
    sources = [path.read_text() for path in (ROOT / "workflow").rglob("*.py")]
    trees = [ast.walk(ast.parse(source)) for source in sources]
    found = [n.value for tree in trees for n in tree if isinstance(n, ast.Constant)]
    rules = [path.read_text() for path in (ROOT / "workflow/rules").glob("*.smk")]
    return "\n".join([*(text for text in found if isinstance(text, str)), *rules])


def test_every_message_on_the_page_of_failures_is_one_that_the_code_has():
    texts, messages = list_texts(), list_messages()
    assert len(messages) > 15
    for message in messages:
        pieces = [piece.strip() for piece in message.split("…")]
        assert max(map(len, pieces)) >= SHORTEST, message
        assert [piece for piece in pieces if piece not in texts] == [], message
