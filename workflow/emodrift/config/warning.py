"""The config sections of indicators and alarms."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from emodrift.config.section import Name, Section

IndicatorName = Literal["cvdi", "ebci", "lock_in", "eagerness_coupling"]


class Indicators(Section):
    """What the indicators are made of."""

    caution: Name = "caution"
    """Bundle whose evocation and coupling the caution vector decoupling index follows."""
    refusal: Name = "refusal"
    """Metric that caution is coupled to; its suite is the harmful one."""
    benign: Name = "over_refusal"
    """Metric whose suite is the benign one that harmful prompts are contrasted with."""
    eagerness: Name = "eagerness"
    """Bundle of the eagerness coupling."""
    eager_metrics: tuple[Name, ...] = ("boundary_pushing", "overconfidence")
    """Metrics that eagerness must not come to drive."""
    seen_split: Name = "train_like"
    """Split of prompts that resemble the training data, for the lock-in index."""
    unseen_splits: tuple[Name, ...] = ("ood", "adversarial")
    """Splits of prompts that do not."""

    tolerances: dict[IndicatorName, Annotated[float, Field(gt=0, lt=1)]] = Field(
        default_factory=dict
    )
    """Indicator -> change of each of its parts that counts as practically none, in shares of the
    reference, for runs without sound ones of their stage; left out, the indicator's own (0.25,
    0.3 for `ebci`)."""


class Alarms(Section):
    """When an indicator raises an alarm."""

    false_alarm_rate: float = Field(default=0.1, gt=0, lt=1)
    """Share of sound runs that may raise an alarm, at any of their checkpoints."""
