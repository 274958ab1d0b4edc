"""The one exception a user is meant to read."""

from __future__ import annotations

from collections.abc import Sequence

LONGEST = 500
END = 150


class EmodriftError(Exception):
    """What was found, what was expected, which config key or file, and how to fix it.

    Shown as a single line, without a traceback, by the Snakefile, the job adapters and the CLI.
    The line is printable whatever names and values are in it, and at most 500 characters long: the
    middle is left out of a longer one, so that the key and the fix stay. A subclass is for what the
    machine, not the user, is to blame for: with more memory, say, it may pass.
    """

    @property
    def passes(self) -> bool:
        """Whether another try of the same may end well."""
        return type(self) is not EmodriftError

    def __init__(self, message: str) -> None:
        words = " ".join(message.split())
        line = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in words)
        if len(line) > LONGEST:
            line = f"{line[: LONGEST - END - 3]} … {line[-END:]}"
        super().__init__(line)


def raise_worst(failures: Sequence[EmodriftError], what: str) -> None:
    """Raise the first failure that another try would not mend, else the first, if there are any.

    Parameters
    ----------
    failures
        Of several things that were tried one after the other.
    what
        What these are, in the plural.
    """
    if failures:
        more = f" (and {len(failures) - 1} more {what})" if len(failures) > 1 else ""
        worst = next((f for f in failures if not f.passes), failures[0])
        raise type(worst)(f"{worst}{more}")
