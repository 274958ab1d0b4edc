"""The study's configuration: one section per stage.

Every key's docstring is its documentation: `config/README.md` and the JSON schema are made from
the sections.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from emodrift.config.benchmark import Benchmark
from emodrift.config.evals import Evals
from emodrift.config.fields import DISCOVERED, RIVAL_NAMES
from emodrift.config.generation import JUDGED_CLASSES, Generation
from emodrift.config.measuring import (
    Activations,
    Behaviours,
    Discovery,
    Statistics,
    Steering,
    Vectors,
)
from emodrift.config.organism import OrganismConfig
from emodrift.config.running import Compute, Figures
from emodrift.config.runs import Reference, Run
from emodrift.config.section import Name, Section
from emodrift.config.texts import Contrasts
from emodrift.config.training import TrainingConfig
from emodrift.config.variants import Sensitivity
from emodrift.config.warning import Alarms, Indicators

FOUND_DIRECTIONS = (DISCOVERED, *RIVAL_NAMES)
"""What `discovery` adds to the directions that replies can be steered along; the first is a bundle.
"""


class Study(Section):
    """A longitudinal study of emotion vectors."""

    extends: str | None = Field(None, exclude=True)
    """Another config, which this one is laid over: mappings are merged, all else is replaced. The
    path is seen from the folder in which the command is called."""
    name: Name
    """Name; results are published in `results/<name>/`."""
    description: str = ""
    """A sentence for the report."""
    seed: int = 0
    """Seed of bootstrap, nulls and halves."""
    organism: OrganismConfig | None = None
    """Tiny models to train first, for an embedded study."""
    training: TrainingConfig | None = None
    """A chat model to train first, soundly or not; left out, none."""
    runs: dict[Name, Run] = Field(min_length=1)
    """Training runs."""
    reference: Reference
    contrasts: Contrasts
    activations: Activations = Activations()
    vectors: Vectors = Vectors()
    discovery: Discovery | None = None
    """A bundle and rival directions that are found at the reference; left out, none."""
    behaviours: Behaviours
    steering: Steering = Steering()
    generation: Generation | None = None
    """Replies that checkpoints write, and a judge's verdicts on them; left out, none."""
    statistics: Statistics = Statistics()
    indicators: Indicators = Indicators()
    alarms: Alarms = Alarms()
    sensitivity: Sensitivity | None = None
    evals: Evals | None = None
    """Evals that other tools ran on the checkpoints, to hold indicators against; left out, none."""
    benchmark: Benchmark | None = None
    """Organism seeds over which detectors are scored, in place of a report; left out, none."""
    figures: Figures = Figures()
    compute: Compute = Compute()

    @model_validator(mode="after")
    def _check(self) -> Study:
        if self.reference.run not in self.runs:
            raise ValueError(
                f"reference.run {self.reference.run!r} is not among runs: {', '.join(self.runs)}"
            )
        if self.vectors.estimator == "neutral_difference" and not self.contrasts.neutral:
            raise ValueError("vectors.estimator neutral_difference needs contrasts.neutral")
        self._check_sampled()
        self._check_metrics()
        self._check_indicators()
        self._check_generation()
        self._check_trained("organism")
        self._check_trained("training")
        self._check_benchmark()
        return self

    @property
    def sound_runs(self) -> tuple[str, ...]:
        """Runs that are declared healthy, which others are held against."""
        return tuple(name for name, run in self.runs.items() if run.role == "healthy")

    def _check_benchmark(self) -> None:
        if self.benchmark is None:
            return
        if self.organism is None:
            raise ValueError("benchmark trains organisms of several seeds: add an organism section")
        for run in self.benchmark.regimes:
            if run not in self.runs:
                raise ValueError(
                    f"benchmark.regimes names {run!r}, which is not among runs: "
                    f"{', '.join(self.runs)}"
                )
        if failing := [name for name in self.sound_runs if name in self.benchmark.regimes]:
            raise ValueError(
                f"runs.{failing[0]} has the role healthy, but benchmark.regimes says that it fails"
            )

    def _check_trained(self, section: Literal["organism", "training"]) -> None:
        there = getattr(self, section)
        trained = set(there.runs) if there else set()
        for name, run in self.runs.items():
            for source in run.checkpoints:
                wanted = getattr(source, section)
                if wanted and wanted not in trained:
                    raise ValueError(
                        f"runs.{name} names {section} {wanted!r}, which {section}.runs lacks: "
                        f"{', '.join(sorted(trained)) or f'there is no {section} section'}"
                    )

    def _check_sampled(self) -> None:
        section = self.behaviours
        if section.phrasings == "sampled" and self.generation is None:
            raise ValueError(
                "behaviours.phrasings is sampled, but there is no `generation` section to "
                "sample replies by; add one, or set it to given"
            )
        if section.sampled_runs and section.phrasings == "given":
            raise ValueError("behaviours.sampled_runs needs phrasings: sampled")
        for name in section.sampled_runs:
            if name not in self.runs:
                raise ValueError(
                    f"behaviours.sampled_runs names {name!r}, which runs lacks: "
                    f"{', '.join(self.runs)}"
                )

    def _check_generation(self) -> None:
        section = self.generation
        if section is None:
            return
        null = [f"random-{i}" for i in range(self.steering.random_directions)]
        found = list(FOUND_DIRECTIONS) if self.discovery else []
        known = [*self.contrasts.bundles, *self.contrasts.emotions, *null, *found]
        for name in section.steered or ():
            if name not in known:
                raise ValueError(
                    f"generation.steered names {name!r}, which is no bundle, emotion or random "
                    f"direction: {', '.join(known)}"
                )
        for name, metric in self.behaviours.metrics.items():
            if section.judge != "replies" and metric.toward not in JUDGED_CLASSES:
                raise ValueError(
                    f"generation.judge tells {', '.join(JUDGED_CLASSES)} apart, but "
                    f"behaviours.metrics.{name}.toward is {metric.toward!r}; set "
                    "generation.judge to replies, which knows the study's own classes"
                )

    def _check_metrics(self) -> None:
        for name, metric in self.behaviours.metrics.items():
            for bundle in metric.bundles:
                if bundle not in self.contrasts.bundles:
                    raise ValueError(
                        f"behaviours.metrics.{name}.bundles names {bundle!r}, which "
                        f"contrasts.bundles lacks: {', '.join(self.contrasts.bundles)}"
                    )

    def _check_indicators(self) -> None:
        section = self.indicators
        found = FOUND_DIRECTIONS[:1] if self.discovery else ()
        for key, name, known in (
            ("caution", section.caution, [*self.contrasts.bundles, *found]),
            ("eagerness", section.eagerness, list(self.contrasts.bundles)),
        ):
            if name not in known:
                raise ValueError(
                    f"indicators.{key} is {name!r}, which contrasts.bundles lacks: "
                    f"{', '.join(known)}"
                )
        taken = sorted(set(FOUND_DIRECTIONS) & {*self.contrasts.bundles, *self.contrasts.emotions})
        if self.discovery and taken:
            raise ValueError(
                f"contrasts names {taken[0]!r}, which `discovery` calls a direction of its own; "
                "rename it"
            )
        for name in (section.refusal, section.benign, *section.eager_metrics):
            if name not in self.behaviours.metrics:
                raise ValueError(
                    f"indicators names metric {name!r}, which behaviours.metrics lacks: "
                    f"{', '.join(self.behaviours.metrics)}"
                )
