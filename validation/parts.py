"""The marked parts of a page, which commands write; the words around them are a person's."""

from __future__ import annotations

import re
from collections.abc import Mapping

MARKED = re.compile(r"(<!-- (?P<name>\w+): begin -->\n).*?(<!-- (?P=name): end -->)", re.DOTALL)


def fill_parts(text: str, parts: Mapping[str, str], *, all_of_them: bool = True) -> str:
    """A page with its marked parts written anew.

    Parameters
    ----------
    text
        Markdown with markers ``<!-- name: begin -->`` and ``<!-- name: end -->``.
    parts
        By name, without the line end before the marker.
    all_of_them
        Whether every marker needs a part; else those without one keep what they have.

    Raises
    ------
    KeyError
        All of them are needed, and a marker has none.
    """

    def write(found: re.Match[str]) -> str:
        if not all_of_them and found["name"] not in parts:
            return found[0]
        return f"{found[1]}{parts[found['name']]}\n{found[3]}"

    return MARKED.sub(write, text)
