"""The one exception a user is meant to read."""

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
