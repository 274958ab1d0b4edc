"""The command's parts put together, and what it ends with.

Exit codes: 0, done; 1, an error told in one line; 2, the command was called wrongly; 3, the audit
has an alarm; 130, stopped by the user. `run`, `figures` and others that start Snakemake end as it
ends.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Sequence

import typer

from emodrift.cli import finding, keeping, results, running
from emodrift.errors import EmodriftError

HELP = """Longitudinal studies of emotion vectors in language models.

From checkpoints to an audit: `init` or `discover` writes a config, `check` looks through it, `plan`
says what it would take, `run` does it, `audit` and `report` say what was found.
"""
CODES = "Exit codes: 0 done, 1 error, 2 wrong usage, 3 the audit has an alarm, 130 stopped."


def reflow(text: str) -> str:
    """Paragraphs without the line breaks of the source, which a terminal sets itself."""
    return "\n\n".join(" ".join(part.split()) for part in inspect.cleandoc(text).split("\n\n"))


app = typer.Typer(
    name="emodrift",
    help=reflow(HELP),
    epilog=CODES,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for part in (finding, running, results, keeping):
    for function, settings in part.COMMANDS.items():
        app.command(help=reflow(function.__doc__), **settings)(function)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; an :class:`EmodriftError` is shown as a single line.

    Returns
    -------
    int
        The exit code.
    """
    try:
        app(args=None if arguments is None else list(arguments), prog_name="emodrift")
    except EmodriftError as error:
        print(f"emodrift: error: {error}", file=sys.stderr)
        return 1
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0
