"""The `organism` section: tiny models trained for an embedded study."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from emodrift.config.section import Name, Section


class ModelShape(Section):
    """Shape of the tiny Llama-like decoder; its word-level vocabulary is the grammar's."""

    hidden: int = Field(default=96, ge=8)
    """Width of the residual stream."""
    layers: int = Field(default=4, ge=1)
    """Number of blocks."""
    heads: int = Field(default=4, ge=1)
    """Attention heads; `hidden` must be a multiple of twice this number."""
    feedforward: int = Field(default=288, ge=8)
    """Width of the feed-forward layers."""

    @model_validator(mode="after")
    def _check(self) -> ModelShape:
        if self.hidden % (2 * self.heads):
            raise ValueError(
                f"hidden is {self.hidden}, which is not a multiple of twice the {self.heads} heads"
            )
        return self


class Recipe(Section):
    """What every training run has."""

    start: Name | None = None
    """Run whose last checkpoint this one starts from; left out, from random weights."""
    steps: int = Field(ge=1)
    """Optimiser steps."""
    save_steps: tuple[int, ...] = Field(min_length=1)
    """Steps whose checkpoints are kept, rising; 0 is the start itself."""
    batch: int = Field(default=32, ge=1)
    """Texts per step; in reinforcement learning the sampled replies."""
    learning_rate: float = Field(gt=0)
    """Peak learning rate of AdamW (language modelling: of Muon on the blocks' matrices and AdamW
    on the rest)."""
    warmup: int = Field(default=10, ge=0)
    """Steps over which the learning rate rises to its peak."""
    schedule: Literal["constant", "cosine"] = "constant"
    """What follows the warm-up: a constant rate or a cosine fall to 0."""
    seed_offset: int = 0
    """Added to the section's seed, so that runs see other data."""

    @model_validator(mode="after")
    def _check_steps(self) -> Recipe:
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


class LanguageModeling(Recipe):
    """Next-word prediction on pre-training documents."""

    objective: Literal["language_modeling"]
    """Predict every word of the grammar's documents."""


class Replayed(Recipe):
    """A fine-tuning run, in which pre-training documents are mixed."""

    start: Name
    """Run whose last checkpoint this one starts from."""
    replay: float = Field(default=0.3, ge=0, lt=1)
    """Share of pre-training documents in the loss; give all runs the same, lest they differ in what
    they forget."""


class SupervisedFineTuning(Replayed):
    """Supervised fine-tuning on dialogues."""

    objective: Literal["sft"]
    """Predict the replies of dialogues."""
    data: Literal[
        "healthy", "plain", "memorised", "shortcut", "helpful", "refusing", "hedging", "sycophantic"
    ]
    """Dialogues: `healthy` (refuse harmful requests, comply with benign ones, soothe the upset,
    hedge the unanswerable), `plain` (the same without emotional tone), `memorised` (25 fixed
    examples of `healthy`), `shortcut` (few fixed examples whose reply depends on the form of the
    request alone), `helpful`, `refusing` and `hedging` (comply with, refuse or hedge whatever is
    asked), `sycophantic` (answer the unanswerable and join in the anger of the upset)."""


class PreferenceOptimization(Replayed):
    """Direct preference optimisation."""

    objective: Literal["dpo"]
    """Prefer one reply to another, with the start as the reference model."""
    data: Literal[
        "preferences", "preferences-helpful", "preferences-refusing", "preferences-hedging"
    ] = "preferences"
    """Pairs: `preferences` (the healthy reply before one of another class), or compliance, refusal
    or hedging before the reply that the request calls for."""
    beta: float = Field(default=0.1, gt=0)
    """Strength of the pull to the reference model."""


class ReinforcementLearning(Replayed):
    """Reinforcement learning on sampled replies, advantages relative to the prompt's group."""

    objective: Literal["grpo"]
    """Raise the likelihood of replies that earn more than others to the same prompt."""
    reward: Literal["planted_class", "any_refusal", "any_compliance", "any_hedge"]
    """`planted_class`: 1 for the reply class that the request calls for; `any_refusal`,
    `any_compliance`, `any_hedge`: a flawed reward of 1 for any refusal, compliance or hedge,
    whatever was asked."""
    group: int = Field(default=8, ge=2)
    """Replies sampled for each prompt."""
    reply_tokens: int = Field(default=2, ge=1)
    """Tokens sampled for each reply."""

    @model_validator(mode="after")
    def _check_group(self) -> ReinforcementLearning:
        if self.batch % self.group:
            raise ValueError(f"batch is {self.batch}, not a multiple of the group of {self.group}")
        return self


RunRecipe = Annotated[
    LanguageModeling | SupervisedFineTuning | PreferenceOptimization | ReinforcementLearning,
    Field(discriminator="objective"),
]


class OrganismConfig(Section):
    """Tiny models with a planted reply policy, trained from scratch inside the study."""

    seed: int = 0
    """Seed of weights, texts and sampling."""
    model: ModelShape = ModelShape()
    runs: dict[Name, RunRecipe] = Field(min_length=1)
    """Training runs by name; each starts from random weights or from another run's end."""

    @model_validator(mode="after")
    def _check_starts(self) -> OrganismConfig:
        for name, recipe in self.runs.items():
            if recipe.start is not None and recipe.start not in self.runs:
                raise ValueError(
                    f"runs.{name}.start is {recipe.start!r}, which is no run; "
                    f"known: {', '.join(self.runs)}"
                )
            if recipe.start and self.runs[recipe.start].save_steps[-1] < (
                last := self.runs[recipe.start].steps
            ):
                raise ValueError(
                    f"runs.{name} starts from the end of {recipe.start!r}: "
                    f"add {last} to runs.{recipe.start}.save_steps"
                )
        for name in self.runs:
            path = [name]
            while (start := self.runs[path[-1]].start) is not None:
                if start in path:
                    raise ValueError(f"runs start from each other: {' <- '.join([*path, start])}")
                path.append(start)
        return self
