"""Build the site: pages staged as they lie in the repository, and a reference from docstrings.

The README, the config's reference and the resources' pages lie outside docs/, where they serve.
Staged with their folders, all links between them hold as they are.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
SITE = ROOT / ".site"
PAGES = SITE / "pages"
STAGED = ("*.md", "docs/*.md", "docs/figures/*", "config/*.md", "resources/**/*.md")
LIBRARY = ROOT / "workflow" / "emodrift"


class Loader(yaml.SafeLoader):
    """YAML whose tags of Python objects are kept as they are."""


Loader.add_multi_constructor("tag:yaml.org,2002:python/name:", lambda loader, name, node: name)


def stage_pages() -> None:
    """Copy the pages, and write a page of reference for each room of the library."""
    shutil.rmtree(PAGES, ignore_errors=True)
    for pattern in STAGED:
        for page in ROOT.glob(pattern):
            copy = PAGES / page.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(page, copy)
    for room in list_rooms():
        page = PAGES / "reference" / f"{room}.md"
        page.parent.mkdir(exist_ok=True)
        page.write_text(f"# emodrift.{room}\n\n::: emodrift.{room}\n", encoding="utf-8")


def list_rooms() -> list[str]:
    """Packages of the library, in alphabetical order."""
    return sorted(path.parent.name for path in LIBRARY.glob("*/__init__.py"))


def write_config() -> Path:
    """The site's config with the reference and all data pages in its navigation."""
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    reference = "\n".join(f"      - {room}: reference/{room}.md" for room in list_rooms())
    known = set(list_navigation(yaml.load(text, Loader)["nav"]))
    others = [p.relative_to(PAGES).as_posix() for p in sorted(PAGES.rglob("*.md"))]
    others = [p for p in others if p not in known and not p.startswith("reference/")]
    more = "".join(f"      - {Path(p).parent.name}: {p}\n" for p in others)
    text += (f"  - More data:\n{more}" if more else "") + f"  - Reference:\n{reference}\n"
    for key in (".site/pages", ".site/html"):
        text = text.replace(key, key.removeprefix(".site/"))
    path = SITE / "mkdocs.yml"
    path.write_text(text.replace("paths: [workflow]", "paths: [../workflow]"), encoding="utf-8")
    return path


def list_navigation(nav: list) -> list[str]:
    """Pages of a navigation, flat."""
    found: list[str] = []
    for entry in nav:
        ((_, value),) = entry.items()
        found += [value] if isinstance(value, str) else list_navigation(value)
    return found


def main() -> int:
    """Stage and build; warnings are errors."""
    stage_pages()
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet"]
    return subprocess.run([*command, "--config-file", str(write_config())]).returncode


if __name__ == "__main__":
    sys.exit(main())
