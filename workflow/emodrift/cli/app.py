"""The command's parts put together, and what it ends with.

Exit codes: 0, done; 1, an error told in one line; 2, the command was called wrongly; 3, the audit
has an alarm; 130, stopped by the user. `run`, `figures` and others that start Snakemake end as it
ends.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import typer

from emodrift.cli import finding, keeping, results, running
from emodrift.errors import EmodriftError

HELP = """Longitudinal studies of emotion vectors in language models.

From checkpoints to an audit: `discover` or `init` writes a config, `plan` says what it would take,
`run` does it, `audit` and `report` say what was found.
"""
CODES = "Exit codes: 0 done, 1 error, 2 wrong usage, 3 the audit has an alarm, 130 stopped."

app = typer.Typer(
    name="emodrift",
    help=HELP,
    epilog=CODES,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for part in (finding, running, results, keeping):
    for function, settings in part.COMMANDS.items():
        app.command(**settings)(function)


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
