"""Pages are found from the README, and their links lead somewhere."""

import re

import pytest

from tests.conftest import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "config/README.md"])


def list_links(page):
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text())
    return [(page.parent / link).resolve() for link in links if "://" not in link]


def test_the_readme_links_every_page_of_the_docs():
    assert set(ROOT.glob("docs/*.md")) <= set(list_links(ROOT / "README.md"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page):
    assert [link for link in list_links(page) if not link.exists()] == []
