"""The config sections of training runs: their checkpoints, and the one that is the reference."""

from __future__ import annotations

import re
from string import Formatter
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from emodrift.config.section import Name, Section, as_list

PADDING = re.compile(r"(0\d{1,2})?d?")


class CheckpointSource(Section):
    """Where one checkpoint, or an ordered pattern of them, comes from.

    Give exactly one of `path`, `repo`, `organism` and `training`. A plain string means `path`.
    """

    path: str | None = None
    """Local checkpoint directory or `.gguf` file, or a glob such as `runs/sft/checkpoint-*`."""
    repo: str | None = None
    """Hub repository, such as `EleutherAI/pythia-70m`."""
    revision: str = "main"
    """Branch, tag or commit; `{step}` and `{tokens}` stand for each of `steps` and `token_counts`.
    `{step:03d}` pads with zeros."""
    subfolder: str = ""
    """Folder inside the repository; may hold `{step}` too."""
    steps: tuple[int, ...] = ()
    """Steps that `{step}` runs over; of folders, and of runs that the study trains, the steps that
    are kept (left out, all)."""
    token_counts: tuple[int, ...] = ()
    """One value of `{tokens}` for each of `steps`, as the revision's name spells it; a unit behind
    it, as in `{tokens}B`, is understood."""
    tokens_per_step: int | None = Field(default=None, ge=1)
    """Training tokens of a step, where steps count from the start of training."""
    adapter: bool | None = None
    """Whether the source holds PEFT adapters, which are merged in memory into a base model. Left
    out, a folder with adapter_config.json and an adapter's weights is taken for one."""
    base: str | None = None
    """Base model of adapters: a local directory, a `.gguf` file or `repo@revision`. Left out, the
    adapter's own `base_model_name_or_path` (and `revision`) is used."""
    organism: Name | None = None
    """Run of the embedded `organism` section whose checkpoints these are."""
    training: Name | None = None
    """Run of the `training` section whose checkpoints these are."""
    stage: str | None = None
    """Training stage to show, such as `sft`; left out, the run's."""
    step: int | None = None
    """Step of a single checkpoint; left out, read from `trainer_state.json` or the name."""
    tokens: int | None = None
    """Training tokens seen; left out, read from `trainer_state.json` where it says."""

    @model_validator(mode="after")
    def _check(self) -> CheckpointSource:
        given = [k for k in ("path", "repo", "organism", "training") if getattr(self, k)]
        if len(given) != 1:
            raise ValueError(
                f"give exactly one of path, repo, organism, training (found {given or 'none'})"
            )
        self._check_pattern()
        if len({*self.steps}) != len(self.steps):
            raise ValueError("`steps` names a step twice")
        if self.base and self.adapter is False:
            raise ValueError("`base` belongs to adapters, which `adapter: false` rules out")
        if sum(bool(x) for x in (self.token_counts, self.tokens, self.tokens_per_step)) > 1:
            raise ValueError("give one of tokens, token_counts and tokens_per_step")
        return self

    def _check_pattern(self) -> None:
        pattern = self.revision + self.subfolder
        try:
            parsed = [place for place in Formatter().parse(pattern) if place[1] is not None]
        except ValueError as error:
            raise ValueError(f"the pattern {pattern!r} cannot be filled in ({error})") from None
        places = {name for _, name, _, _ in parsed}
        padded = all(PADDING.fullmatch(form or "") and not kind for _, _, form, kind in parsed)
        if not padded or not places <= {"step", "tokens"}:
            raise ValueError(
                f"the pattern {pattern!r} cannot be filled in; its places are {{step}} and "
                "{tokens}, padded with zeros as in {step:03d} where need be"
            )
        if "step" in places and not self.steps:
            raise ValueError("the pattern has {step}: list the steps under `steps`")
        if self.steps and self.repo and "step" not in places:
            raise ValueError("`steps` is given but neither revision nor subfolder has {step}")
        if "tokens" in places and not self.token_counts:
            raise ValueError("the pattern has {tokens}: list them under `token_counts`")
        if self.token_counts and len(self.token_counts) != len(self.steps):
            raise ValueError("token_counts must have one value for each of steps")


def _as_source(value: Any) -> Any:
    return {"path": value} if isinstance(value, str) else value


NamedSource = Annotated[
    CheckpointSource,
    BeforeValidator(_as_source, json_schema_input_type=str | CheckpointSource),
]


class Run(Section):
    """One training run: an ordered list of checkpoints."""

    checkpoints: Annotated[
        tuple[NamedSource, ...],
        BeforeValidator(as_list, json_schema_input_type=NamedSource | tuple[NamedSource, ...]),
        Field(min_length=1),
    ]
    """Sources in training order; one source or string may stand without a list."""
    stage: str = ""
    """Training stage of all its checkpoints, such as `pretraining`, `sft`, `dpo`."""
    role: Literal["observed", "healthy"] = "observed"
    """`healthy`: a run known to be sound; its checkpoints set the alarms' thresholds."""


class Reference(Section):
    """The checkpoint at which vectors are found and locked."""

    run: Name
    """Name of a run."""
    step: int
    """Step of one of its checkpoints."""
    stage: str | None = None
    """Its training stage, needed where several stages of the run have that step."""
