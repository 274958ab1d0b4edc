"""The `benchmark` section: one study over many organism seeds, whose detectors are scored."""

from __future__ import annotations

from pydantic import Field, model_validator

from emodrift.config.section import Name, Section


class Benchmark(Section):
    """Scoring of emodrift and its rivals over organism seeds.

    The study is carried out once for each seed, in place of `organism.seed`. Thresholds come from
    the sound runs of some seeds, all figures from others.
    """

    threshold_seeds: tuple[int, ...] = Field(min_length=1)
    """Organism seeds whose sound runs set thresholds, and whose runs train supervised rivals."""
    scoring_seeds: tuple[int, ...] = Field(min_length=1)
    """Organism seeds that detectors are scored on; none that was looked at before."""
    regimes: dict[Name, str] = Field(min_length=1)
    """Run -> the kind of failure that it is trained into; runs that are not named are sound."""

    @model_validator(mode="after")
    def _check(self) -> Benchmark:
        seeds = [*self.threshold_seeds, *self.scoring_seeds]
        twice = sorted({seed for seed in seeds if seeds.count(seed) > 1})
        if twice:
            raise ValueError(
                f"seed {twice[0]} is named twice; thresholds are scored on seeds of their own"
            )
        return self
