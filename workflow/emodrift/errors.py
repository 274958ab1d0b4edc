"""The one exception a user is meant to read."""


class EmodriftError(Exception):
    """What was found, what was expected, which config key or file, and how to fix it.

    Shown as a single line, without a traceback, by the Snakefile, the job adapters and the CLI.
    """

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))
