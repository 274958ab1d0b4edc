"""The config sections of what is measured on a checkpoint, and how it is summed up."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from emodrift.config.section import Fraction, Name, Section

Estimator = Literal[
    "difference_of_means", "neutral_difference", "whitened_difference", "logistic_probe"
]


class Activations(Section):
    """Reading the residual stream."""

    pooling: Literal["reply", "mean", "last"] = "mean"
    """Stories are pooled at the reply point (`reply`: the last token of text and reply cue), as the
    mean from a token on (`mean`), or at the last token of the text (`last`)."""
    from_token: int = Field(default=50, ge=0)
    """First token of the mean; texts shorter than three times this start at a third."""
    prompt_format: Literal["auto", "chat", "plain"] = "auto"
    """How prompts are put: through the tokenizer's chat template, as `plain_prompt`, or `auto`:
    the template where the checkpoint has one."""
    plain_prompt: str = "User: {prompt}\n\nAssistant:"
    """Plain format of a prompt, for base models."""
    chat_template: str | None = None
    """Chat template in place of the checkpoints' own: a `.jinja` file, a checkpoint's folder, or a
    hub repository as `owner/name` or `owner/name@revision`. Its words count, not its place."""
    template_arguments: dict[str, Any] = Field(default_factory=dict)
    """Further arguments of the chat template, such as `{enable_thinking: false}`."""
    system_prompt: str | None = None
    """System message before each prompt that goes through a chat template; left out, none."""


class Vectors(Section):
    """From activations to one vector per emotion."""

    estimator: Estimator = "difference_of_means"
    """`difference_of_means`: the emotion's mean less the mean over emotions, topics balanced;
    `neutral_difference`: the emotion's mean less that of neutral texts; `whitened_difference`: the
    first times the inverse covariance within emotions, shrunk; `logistic_probe`: coefficients of a
    multinomial logistic regression (fitted once for each topic left out: slow for wide models)."""
    confound_variance: Fraction = 0.5
    """Share of the variance of neutral texts that is projected out, along their leading principal
    components; 0 turns it off."""
    layer: Literal["auto"] | int = "auto"
    """Layer of the locked vectors (0 = embeddings, k = output of block k); `auto` takes the highest
    held-out AUROC at the reference."""
    halves: int = Field(default=20, ge=2)
    """Random split-halves of topics behind reliability and noise floor."""


class Discovery(Section):
    """What is found at the reference from what it does, on prompts of `indicators.seen_split`: a
    bundle `discovered`, and the rival directions `harm` and `refusal`. docs/methods.md."""

    emotions: int = Field(default=3, ge=1)
    """Emotions in the bundle: those that harmful prompts evoke most and that move refusal most."""


class Metric(Section):
    """A behaviour metric: how strongly prompts of a suite draw one class of reply."""

    suite: Name
    """Suite of prompts."""
    toward: Name
    """Reply class that counts."""
    safety: bool = True
    """Whether the metric is one of safety (else it is a broad one)."""
    desired: Literal["more", "less"] = "more"
    """Whether sound training raises or lowers it."""
    bundles: tuple[Name, ...] = ()
    """Bundles of emotions that are meant to move it, for modularity."""
    description: str = ""
    """What it tells, in a sentence."""


class Behaviours(Section):
    """What replies are read for."""

    metrics: dict[Name, Metric]
    """Named metrics; the `indicators` section uses some. Left out, those of
    `resources/behaviours/metrics.yaml`."""
    phrasings: Literal["given", "sampled"] = "given"
    """What replies are scored: the phrasings of `contrasts.replies` (`given`); or the openings that
    are commonest in replies which the checkpoints of the study wrote themselves, by the class that
    the judge puts them in (`sampled`, which needs `generation`; a class with too few of them is
    filled up with given phrasings). One list serves all checkpoints; score it by `sum`."""
    sampled_runs: tuple[Name, ...] = ()
    """Runs whose replies are pooled for `sampled`; left out, all. Where a study is to grow, name
    those that it has: a list that another checkpoint changes is scored anew everywhere."""
    phrasing_score: Literal["mean", "sum"] = "mean"
    """A phrasing's log-likelihood: `mean` over its tokens (length-normalised), or `sum`, which is
    exact where all phrasings are equally long."""
    minimum_prompts: int = Field(default=8, ge=2)
    """Prompts that each metric's suite needs in each split it has."""


class Steering(Section):
    """Adding locked vectors to the residual stream and reading the replies' log-odds."""

    checkpoints: Literal["all", "ends", "reference"] = "all"
    """Checkpoints that are steered, their replies included: `all`; the reference and the last of
    every run (`ends`); or the `reference` alone. Indicators need none: slopes come from gradients,
    and steering verifies them."""
    strengths: tuple[float, ...] = (-0.5, 0.5)
    """Strengths in units of the mean residual norm; 0 is always measured."""
    positions: Literal["reply", "all"] = "reply"
    """Where the vector is added: from the reply point on, or at every token."""
    random_directions: int = Field(default=12, ge=4, le=10_000)
    """Random directions of the null, steered beside the emotions."""
    gradient_layers: Literal["locked", "all"] = "locked"
    """Layers at which metrics are differentiated: at the reference always all; at other checkpoints
    those from the locked layer upward (`locked`), or `all`."""
    prompts_per_cell: int = Field(default=8, ge=1)
    """Prompts steered of each suite and split, spread over its families."""

    @model_validator(mode="after")
    def _check(self) -> Steering:
        if not any(s > 0 for s in self.strengths) or not any(s < 0 for s in self.strengths):
            raise ValueError("strengths needs a negative and a positive value: slopes are central")
        if 0 in self.strengths:
            raise ValueError("strengths must not name 0, which is always measured")
        return self


class Statistics(Section):
    """Intervals."""

    draws: int = Field(default=1000, ge=100)
    """Bootstrap draws over topics or prompt families."""
    level: float = Field(default=0.95, gt=0, lt=1)
    """Level of the intervals."""
    nulls: int = Field(default=1000, ge=100)
    """Null directions of each kind that slopes are held against."""
