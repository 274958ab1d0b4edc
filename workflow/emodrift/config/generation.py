"""The config section of generated replies: what is asked, how it is steered, and who judges."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from emodrift.config.address import ServedModel
from emodrift.config.section import Name, Section

JUDGED_CLASSES = ("refuse", "comply", "hedge", "soothe", "escalate")
"""Reply classes that judges distinguish; `replies` knows the study's own instead."""


class JudgingModel(ServedModel):
    """A chat model behind an OpenAI-compatible address that judges replies."""

    endpoint: str
    """Address of an OpenAI-compatible server up to and including the version, such as
    `http://localhost:8000/v1`."""


class Generation(Section):
    """Replies that every checkpoint writes to a spread of prompts, unsteered and steered, and what
    a judge makes of them. Left out, none are written."""

    prompts_per_cell: int = Field(default=8, ge=1)
    """Prompts of each suite and split, spread over its families; the ones that are steered, where
    `steering` has the same number."""
    max_new_tokens: int = Field(default=64, ge=1)
    """Longest reply in tokens."""
    temperature: float = Field(default=0.0, ge=0)
    """Sampling temperature; 0 takes the likeliest token. A prompt's random numbers depend on the
    study's seed and the prompt alone, so that conditions and checkpoints are compared like with
    like."""
    steered: tuple[Name, ...] | None = None
    """Bundles, emotions, or random directions of the null (`random-0` and on) that are added, each
    at every strength; left out, all bundles. Unsteered replies are always written."""
    strengths: tuple[float, ...] = (-0.5, 0.5)
    """Strengths in units of the mean residual norm. Where they are added is `steering.positions`.
    """
    judge: Literal["rules", "string-match", "replies"] | JudgingModel = "rules"
    """Who judges: `rules` and `string-match` read English, `replies` recognises the phrasings of
    `contrasts.replies` at the start of a reply; or a chat model. docs/judge.md says more."""
    annotations: str | None = None
    """CSV of completions with human labels in XSTest's columns; the judge is scored on it, and its
    agreement shown beside its verdicts. Left out, the agreement in docs/judge.md is shown."""

    @model_validator(mode="after")
    def _check(self) -> Generation:
        if 0 in self.strengths:
            raise ValueError("strengths must not name 0: unsteered replies are always written")
        if self.judge == "replies" and self.annotations:
            raise ValueError("annotations are labels of English replies; judge replies reads none")
        for name, values in (("strengths", self.strengths), ("steered", self.steered or ())):
            twice = sorted({v for v in values if values.count(v) > 1})
            if twice:
                raise ValueError(f"{name} names {twice[0]!r} twice; keep one")
        return self
