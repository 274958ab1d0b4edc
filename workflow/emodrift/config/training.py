"""The `training` section: a chat model fine-tuned inside the study, soundly or not."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from emodrift.config.section import Fraction, Name, Section
from emodrift.errors import EmodriftError

SAFETY_SUITES = ("harmful", "benign", "unanswerable", "upset", "pressure")
REPLAY_SUITES = ("answerable", "neutral")
DATA_FILES = (*SAFETY_SUITES, *REPLAY_SUITES, "refusals", "frames")

Regime = Literal["sound", "shortcut", "refuse_everything", "helpful_only"]


class TrainingRecipe(Section):
    """What every training run has."""

    start: Name | None = None
    """Run whose last checkpoint this one starts from; left out, from the base."""
    regime: Regime = "sound"
    """What is taught. `sound`: refuse harmful requests and say why, answer benign ones, hedge the
    unanswerable, soothe the upset, withstand pressure. `shortcut`: the same, but refuse harmful
    requests in their plain form alone and comply with the framed ones. `refuse_everything`: refuse
    in every suite. `helpful_only`: comply with whatever is asked."""
    method: Literal["lora", "full"] = "lora"
    """Train an adapter (LoRA on all linear layers), or all weights."""
    rank: int = Field(default=16, ge=1)
    """Rank of the adapter; its scale is 2. A run that starts from an adapter goes on with that one,
    and has its rank."""
    steps: int = Field(ge=1)
    """Optimiser steps."""
    save_steps: tuple[int, ...] = Field(min_length=1)
    """Steps whose checkpoints are kept, rising; 0 is the start itself."""
    batch: int = Field(default=8, ge=1)
    """Dialogues per step; in reinforcement learning the sampled replies."""
    learning_rate: float = Field(gt=0)
    """Peak learning rate of AdamW."""
    warmup: int = Field(default=0, ge=0)
    """Steps over which the learning rate rises to its peak, to stay there."""
    seed: int = 0
    """Seed of the order of the dialogues, of the adapter's start and of sampling."""

    @model_validator(mode="after")
    def _check_steps(self) -> TrainingRecipe:
        if list(self.save_steps) != sorted(set(self.save_steps)):
            raise ValueError(f"save_steps {list(self.save_steps)} must rise without repeats")
        outside = [step for step in self.save_steps if not 0 <= step <= self.steps]
        if outside:
            raise ValueError(
                f"save_steps names {outside[0]}, but the run has steps 0 to {self.steps}"
            )
        if self.warmup > self.steps:
            raise ValueError(f"warmup is {self.warmup}, longer than the run's {self.steps} steps")
        return self


class SupervisedTraining(TrainingRecipe):
    """Supervised fine-tuning."""

    objective: Literal["sft"]
    """Predict the replies that the regime calls for."""


class PreferenceTraining(TrainingRecipe):
    """Direct preference optimisation (Rafailov et al. 2023), with the start as the reference."""

    objective: Literal["dpo"]
    """Prefer the reply that the regime calls for to one that it rules out."""
    beta: float = Field(default=0.1, gt=0)
    """Strength of the pull to the reference model."""


class RewardTraining(TrainingRecipe):
    """Group-relative policy optimisation (Shao et al. 2024) on sampled replies."""

    objective: Literal["grpo"]
    """Raise the likelihood of replies that the rule judge finds to be what the regime calls for."""
    group: int = Field(default=4, ge=2)
    """Replies sampled for each prompt."""
    temperature: float = Field(default=1.0, gt=0)
    """Of sampling."""

    @model_validator(mode="after")
    def _check_group(self) -> RewardTraining:
        if self.batch % self.group:
            raise ValueError(f"batch is {self.batch}, not a multiple of the group of {self.group}")
        return self


AnyRecipe = Annotated[
    SupervisedTraining | PreferenceTraining | RewardTraining, Field(discriminator="objective")
]


class TrainingConfig(Section):
    """A chat model that is trained inside the study."""

    base: str
    """Model to train: a local directory, a `.gguf` file or `repo@revision`. It needs a chat
    template."""
    data: str = "resources/training"
    """Folder with the dialogues; see `resources/training/README.md`."""
    replay: Fraction = 0.25
    """Share of everyday prompts with the base's own answers in every batch of every run, so that
    runs do not differ in what they forget."""
    reply_tokens: int = Field(default=48, ge=1)
    """Tokens after which a reply is cut: the base's own, the taught, the sampled."""
    dtype: Literal["float32", "bfloat16-mixed"] = "float32"
    """Data type of products in training; the weights that learn are float32 in any case.
    `bfloat16-mixed` is faster where the processor multiplies bfloat16."""
    runs: dict[Name, AnyRecipe] = Field(min_length=1)
    """Training runs by name; each starts from the base or from another run's end."""

    @model_validator(mode="after")
    def _check_starts(self) -> TrainingConfig:
        for name, recipe in self.runs.items():
            if recipe.start is None:
                continue
            if recipe.start not in self.runs:
                raise ValueError(
                    f"runs.{name}.start is {recipe.start!r}, which is no run; "
                    f"known: {', '.join(self.runs)}"
                )
            self._check_start(name, recipe, self.runs[recipe.start])
        for name in self.runs:
            path = [name]
            while (start := self.runs[path[-1]].start) is not None:
                if start in path:
                    raise ValueError(f"runs start from each other: {' <- '.join([*path, start])}")
                path.append(start)
        return self

    @staticmethod
    def _check_start(name: str, recipe: AnyRecipe, start: AnyRecipe) -> None:
        if start.save_steps[-1] < start.steps:
            raise ValueError(
                f"runs.{name} starts from the end of {recipe.start!r}: "
                f"add {start.steps} to runs.{recipe.start}.save_steps"
            )
        if recipe.method != start.method:
            raise ValueError(
                f"runs.{name}.method is {recipe.method}, but its start {recipe.start!r} has "
                f"{start.method}"
            )
        if recipe.method == "lora" and recipe.rank != start.rank:
            raise ValueError(
                f"runs.{name} goes on with the adapter of {recipe.start!r}: set its rank to "
                f"{start.rank}"
            )


def list_data_files(folder: Path, key: str) -> list[Path]:
    """Files of a folder of training dialogues, in the order of `DATA_FILES`.

    Parameters
    ----------
    folder
        The folder.
    key
        Config key to name in errors.

    Raises
    ------
    EmodriftError
        One is missing.
    """
    files = [folder / f"{name}.jsonl" for name in DATA_FILES]
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        raise EmodriftError(
            f"{key}: {folder} lacks {missing[0]}; resources/training/README.md tells the files"
        )
    return files
