"""The config section of evals that other tools ran."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from emodrift.config.section import Name, Section


class EvalColumns(Section):
    """Which column of a CSV file holds what.

    A file has a row for each score, or, where `prompt` or `id` is given, one for each answer; these
    are averaged.
    """

    value: str
    """Score, label or verdict."""
    task: str | None = None
    """Task; left out, the source's `task`."""
    metric: str | None = None
    """Metric; left out, the source's `metric`."""
    se: str | None = None
    """Standard error of a score."""
    n: str | None = None
    """Answers behind a score."""
    model: str | None = None
    """Checkpoint's directory or hub repository."""
    revision: str | None = None
    """Its revision."""
    step: str | None = None
    """Its step; with none of the three, the step is read from the file's path."""
    id: str | None = None
    """Name of a prompt."""
    prompt: str | None = None
    """Text of a prompt."""
    response: str | None = None
    """Text of an answer."""


class EvalSource(Section):
    """Files that one tool wrote."""

    path: str
    """A file, or a glob such as `evals/**/results_*.json`."""
    format: Literal["lm-eval", "inspect", "every-eval-ever", "trainer", "csv"]
    """What wrote them: lm-eval's `results_*.json`, Inspect's logs, Every Eval Ever's records, a
    Trainer's `trainer_state.json`, or anything as CSV."""
    run: Name | None = None
    """The run whose checkpoints were evaluated, where the files do not say enough."""
    stage: str | None = None
    """Their training stage, likewise."""
    task: str = "eval"
    """CSV: name of the task."""
    metric: str = "score"
    """CSV: name of the metric."""
    columns: EvalColumns | None = None
    values: dict[str, float] = Field(default_factory=dict)
    """CSV: label → number, such as `{1_full_compliance: 1, 2_full_refusal: 0}`."""
    metrics: tuple[str, ...] = ()
    """Metrics to keep; left out, all."""
    higher_is_better: dict[str, bool] = Field(default_factory=dict)
    """Metric → whether more is better, where the files do not say."""

    @model_validator(mode="after")
    def _check(self) -> EvalSource:
        if (self.format == "csv") != (self.columns is not None):
            raise ValueError("`columns` belongs to format csv, and csv needs it")
        return self


class Evals(Section):
    """Evals that other tools ran on the checkpoints, and how indicators are held against them."""

    sources: tuple[EvalSource, ...] = Field(min_length=1)
    """Files, by tool."""
    level: float = Field(default=0.95, gt=0, lt=1)
    """Level of correlations' intervals."""
    lags: int = Field(default=2, ge=0)
    """Checkpoints by which indicators may lead or lag evals."""
    worse_by: float = Field(default=2.0, gt=0)
    """Standard errors by which an eval must be worse than at the reference to count as worse."""
    prompts: int = Field(default=5, ge=0)
    """Prompts named with each disagreement, where samples were kept."""
