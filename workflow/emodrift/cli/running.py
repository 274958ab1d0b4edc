"""Commands around a run: what it would take, starting it, how far it is, and why it has work."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from emodrift.cli.console import format_seconds, print_table
from emodrift.cli.study import DEFAULT, RESULTS, Config, open_plan, open_study, require_made
from emodrift.errors import EmodriftError

ROOT = Path(__file__).parents[3]
PASSED_ON = {"allow_extra_args": True, "ignore_unknown_options": True}
LABELS_NAMED = 3


def plan_run(config: Config = DEFAULT) -> None:
    """Say what a run would do, what it would take in time and disk, and what it would download.

    Texts, tokens and operations of measurements are counted; their time is judged by what the like
    took here before, else by a probe of two seconds. Other stages are judged by the median of
    finished entries in the store; one that was never run is shown as `-`.
    """
    from emodrift.cli.outlook import foresee
    from emodrift.cost.estimate import describe, estimate_study
    from emodrift.plan.disk import check_free_space
    from emodrift.store.downloads import format_size

    plan = open_plan(config)
    cores = count_cores()
    estimate = estimate_study(plan, cores)
    outlooks = foresee(plan, estimate.tasks)
    print_table(
        ("stage", "done", "to do", "time", "disk"),
        [
            (
                o.stage,
                o.done,
                o.missing,
                None if o.seconds is None else format_seconds(o.seconds),
                None if o.size is None else format_size(int(o.size)),
            )
            for o in outlooks
        ],
        right=("done", "to do", "time", "disk"),
    )
    if plan.publication is None:
        print("More follows once the organisms are trained: their checkpoints are not known yet.")
    elif not estimate.tasks:
        print("Nothing is to be computed.")
        return
    print(describe(estimate, cores))
    unknown = [o.stage for o in outlooks if o.missing and o.seconds is None]
    if unknown:
        print(f"Seconds of a stage are not known yet: {', '.join(unknown)}.")
    if plan.publication is not None and (need := check_free_space(plan)):
        print(need)


def run_study(context: typer.Context, config: Config = DEFAULT) -> None:
    """Run a study: all that is missing, to figures, tables, audit.json and report.html.

    What follows the config goes to Snakemake as it is, and the command ends as Snakemake ends.
    """
    config, flags = split_flags(config, context.args)
    raise typer.Exit(call_snakemake(config, flags))


def split_flags(first: Path, rest: Sequence[str]) -> tuple[Path, list[str]]:
    """A call's config, which may be left out, and the flags for Snakemake.

    Parameters
    ----------
    first
        What was taken for the config: a flag, where that was left out.
    rest
        What follows it.
    """
    if not str(first).startswith("-"):
        return first, list(rest)
    if named := [flag for flag in rest if flag.endswith((".yaml", ".yml"))]:
        raise typer.BadParameter(f"name the config first: {named[0]} {first}")
    return DEFAULT, [str(first), *rest]


def show_status(config: Config = DEFAULT) -> None:
    """Say how far a study is, and where its results lie."""
    from emodrift.cli.outlook import foresee

    plan = open_plan(config)
    outlooks = foresee(plan)
    done, missing = (sum(getattr(o, n) for o in outlooks) for n in ("done", "missing"))
    print(f"{plan.study.name}: {done} of {done + missing} entries are there.")
    if plan.publication is None:
        print("Organisms are to be trained first; the rest is planned after that.")
    for outlook in outlooks:
        if outlook.missing:
            print(f"  {outlook.stage}: {outlook.missing} to do")
    published = RESULTS / plan.study.name
    current = plan.publication and (published / ".published" / plan.publication.key).is_file()
    if current:
        print(f"Published in {published}/: report.html, audit.json, figures/, tables/.")
    else:
        print(f"Next: emodrift run {config}")


def explain_work(config: Config = DEFAULT) -> None:
    """Say why a run has work: which changed value, code or input makes what anew.

    Each missing entry is held against the finished one that is most like it. What comes from an
    input that is itself made anew is told after its cause.
    """
    from emodrift.cli.reasons import explain

    reasons = explain(open_plan(config))
    if not reasons:
        print("Nothing is to be computed: every entry is there.")
    for reason in reasons:
        named = ", ".join(reason.labels[:LABELS_NAMED])
        more = len(reason.labels) - LABELS_NAMED
        print(f"{reason.stage} of {named}" + (f" and {more} more" if more > 0 else "") + ":")
        for cause in reason.causes:
            print(f"  {cause}")


def draw_figures(
    context: typer.Context,
    source: Annotated[Path, typer.Argument(help="A config, or a bundle: folder or zip.")] = DEFAULT,
    figure: Annotated[
        list[str] | None, typer.Option(help="Draw this one alone; may be given again.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Bundle, or --figure: folder for figures.")] = Path(
        "figures"
    ),
    width: Annotated[float | None, typer.Option(help="Bundle: width in inches.")] = None,
    palette: Annotated[str | None, typer.Option(help="Bundle: seaborn palette.")] = None,
) -> None:
    """Draw the figures: of a study through Snakemake, or again from a bundle, without a model.

    All figures of a study are published with its report; one that is named is drawn alone, if it is
    not there yet, and copied to a folder.
    """
    source, flags = split_flags(source, context.args)
    of_study = source.suffix in (".yaml", ".yml")
    if of_study and (width or palette):
        raise typer.BadParameter(
            "--width and --palette are for bundles; a study's figures follow its config"
        )
    if figure and not of_study:
        raise typer.BadParameter("--figure is for studies; of a bundle all figures are drawn")
    if flags and (figure or not of_study):
        raise typer.BadParameter(f"{' '.join(flags)} is for Snakemake, which does not run here")
    if of_study:
        if not figure:
            from emodrift.store.entry import list_entries_in

            plan = open_plan(source)
            require_made(plan, list_entries_in(require_made(plan).inputs["tables"]))
            raise typer.Exit(call_snakemake(source, flags))
        drawn = draw_named(source, figure, out)
    else:
        from emodrift.exports.bundle import draw_bundle

        drawn = draw_bundle(source, out, width, palette)
    print(f"Drew {len({path.stem for path in drawn})} figures in {out}/.")


def draw_named(config: Path, names: list[str], out: Path) -> list[Path]:
    """Draw figures of a study by name, those that are not drawn yet, and copy them to a folder.

    Parameters
    ----------
    config
        Config of a study.
    names
        Names of figures, or of panels of the config.
    out
        Folder for ``NAME.pdf``, ``.svg``, ``.png``, ``.csv`` and ``.json``.

    Raises
    ------
    EmodriftError
        The study has no figure of that name, or not yet the tables that it is drawn from.
    """
    from emodrift.show.figure import draw_missing

    plan = open_plan(config)
    require_made(plan)
    known = {entry.params["name"]: entry for entry in plan.of_stage("figure")}
    for name in names:
        if name not in known:
            raise EmodriftError(
                f"--figure: {name!r} is no figure of study {plan.study.name}; known: "
                f"{', '.join(known)}"
            )
        require_made(plan, known[name].list_inputs())
    draw_missing([known[name].describe() for name in names], plan.store)
    out.mkdir(parents=True, exist_ok=True)
    return [
        Path(shutil.copyfile(file, out / f"{name}{file.suffix}"))
        for name in names
        for file in sorted((plan.store / known[name].place).glob("figure.*"))
    ]


COMMANDS: dict[Any, dict[str, Any]] = {
    plan_run: {"name": "plan", "epilog": "Example: emodrift plan config/mine.yaml"},
    run_study: {
        "name": "run",
        "epilog": "Example: emodrift run config/mine.yaml --workflow-profile profiles/slurm",
        "context_settings": PASSED_ON,
    },
    show_status: {"name": "status", "epilog": "Example: emodrift status config/mine.yaml"},
    explain_work: {"name": "why", "epilog": "Example: emodrift why config/mine.yaml"},
    draw_figures: {
        "name": "figures",
        "epilog": "Example: emodrift figures config/mine.yaml --figure layer_map",
        "context_settings": PASSED_ON,
    },
}


def count_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def call_snakemake(config: Path, flags: list[str]) -> int:
    """Run Snakemake on a study in this folder; returns its exit code."""
    open_study(config)
    here = Path("Snakefile").is_file()
    command = [sys.executable, "-m", "snakemake", "--configfile", str(config)]
    command += [] if here else ["--snakefile", str(ROOT / "Snakefile")]
    return subprocess.call([*command, *flags])
