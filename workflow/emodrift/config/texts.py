"""The config section of contrast data: where texts come from."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from emodrift.config.fields import list_fields
from emodrift.config.section import Fraction, Name, Section, as_list
from emodrift.config.writer import Writer

SuiteFormat = Literal["emodrift", "xstest", "or-bench", "harmbench", "strongreject", "sorry-bench"]


class Source(Section):
    """Records from one place: a generator, or files of which each is a part of its own."""

    name: Name | None = None
    """What its parts are called; left out, after the generator or file. Needed where two sources
    would be called alike."""
    generator: Literal["grammar", "model"] | None = None
    """`grammar`: the seeded appraisal grammar of the embedded study. `model`: a language model
    writes the stories (`writer`)."""
    seed: int = 0
    """Seed of the generator, and of the choice of held-out topics."""
    amount: int | None = Field(default=None, ge=1)
    """How many records the generator writes for each label (prompts: for each suite and split;
    `model`: for each emotion and topic)."""
    writer: Writer | None = None
    """The model that writes, for `generator: model`."""
    file: str | None = None
    """JSONL, CSV or Parquet file, or a folder that the `datasets` library saved; or a glob."""
    columns: dict[str, str] = Field(default_factory=dict)
    """Our field -> the file's column; fields that are not named here are read from the column of
    their own name."""
    values: dict[str, str] = Field(default_factory=dict)
    """Our field -> one value for all records."""
    format: SuiteFormat | None = None
    """Suite of prompts that the file holds as its authors ship it (`emodrift`: as this project
    does)."""
    heldout: Fraction | None = None
    """Share of topics that are held out, where records have no split of their own; `generator:
    model` takes 0.3 if left out."""

    @model_validator(mode="after")
    def _check(self) -> Source:
        if (self.generator is None) == (self.file is None):
            raise ValueError("give exactly one of generator and file")
        if self.generator and not self.amount:
            raise ValueError("a generator needs `amount`")
        if (self.generator == "model") != (self.writer is not None):
            raise ValueError("`generator: model` and `writer` belong together")
        of_files = [k for k in ("columns", "values", "format") if getattr(self, k)]
        if self.generator and of_files:
            raise ValueError(f"{of_files[0]} belongs to a `file`")
        if self.format and (self.columns or self.values):
            raise ValueError("format knows its columns; drop `columns` and `values`")
        if self.generator == "grammar" and self.heldout is not None:
            raise ValueError("the grammar splits its topics itself; drop `heldout`")
        if "split" in {*self.columns, *self.values} and self.heldout is not None:
            raise ValueError("give the split or `heldout`, not both")
        twice = sorted(set(self.columns) & set(self.values))
        if twice:
            raise ValueError(f"{twice[0]!r} is in both `columns` and `values`; keep one")
        return self


Sources = Annotated[
    tuple[Source, ...],
    BeforeValidator(as_list, json_schema_input_type=Source | tuple[Source, ...]),
]


AtLeastTwo = Annotated[int, Field(ge=2)]


class Amounts(Section):
    """How much of the contrast data is measured, spread over topics and prompt families. What a
    checkpoint costs is about proportional to each; what is left out is measured in full."""

    stories: int | None = Field(default=None, ge=2)
    """Stories of each emotion, shared between fit and held-out topics as all are."""
    neutral: int | None = Field(default=None, ge=2)
    """Neutral texts."""
    controls: int | None = Field(default=None, ge=2)
    """Texts of each label of the control contrasts."""
    prompts: AtLeastTwo | dict[Name, AtLeastTwo] | None = None
    """Prompts of each split of each suite; or suite -> that number, other suites in full."""
    phrasings: int | None = Field(default=None, ge=1)
    """Phrasings of each reply class, the first ones."""


class Rating(Section):
    """Where an emotion lies between -1 and 1."""

    valence: float = Field(ge=-1, le=1)
    """Unpleasant to pleasant."""
    arousal: float = Field(ge=-1, le=1)
    """Quiet to urgent."""


class Contrasts(Section):
    """Texts that contrast emotions, and texts that must not."""

    emotions: tuple[Name, ...] = Field(min_length=2)
    """Emotions of the study; each needs stories in the fit and in the held-out topics. Left out,
    the core emotions of `resources/emotions.yaml`."""
    bundles: dict[Name, tuple[Name, ...]]
    """Named groups of emotions, such as `caution`; the `indicators` section uses them. Left out,
    those of `resources/emotions.yaml`."""
    ratings: dict[Name, Rating]
    """Valence and arousal of emotions, for the maps; emotions without a rating are left out of
    correlations. Left out, those of `resources/emotions.yaml`."""
    stories: Sources = (Source(file="resources/stories/*.jsonl"),)
    """Emotion stories."""
    neutral: Sources = (Source(file="resources/neutral/*.jsonl"),)
    """Texts without emotion; their leading components are projected out as confounds."""
    controls: Sources = (Source(file="resources/controls/*.jsonl"),)
    """Unrelated control contrasts, tracked like emotions to tell drift of all from drift of one."""
    prompts: Sources = (Source(file="resources/behaviours/*.jsonl"),)
    """Behaviour prompts."""
    replies: str = "resources/behaviours/replies.yaml"
    """`grammar`, or a YAML file of reply classes, each a list of phrasings."""
    amounts: Amounts = Amounts()
    minimum_topics: int = Field(default=3, ge=2)
    """Topics that each emotion needs in each split."""

    @model_validator(mode="after")
    def _check(self) -> Contrasts:
        for kind in ("stories", "neutral", "controls", "prompts"):
            for source in getattr(self, kind):
                _check_source(kind, source)
        for bundle, members in self.bundles.items():
            if bundle in self.emotions:
                raise ValueError(
                    f"bundle {bundle!r} has the name of an emotion, and tables could not tell them "
                    "apart; rename the bundle"
                )
            unknown = sorted(set(members) - set(self.emotions))
            if unknown:
                raise ValueError(
                    f"bundle {bundle!r} names unknown emotion {unknown[0]!r}; "
                    f"known: {', '.join(self.emotions)}"
                )
        return self


def _check_source(kind: str, source: Source) -> None:
    known = list_fields(kind)
    for field in {**source.columns, **source.values}:
        if field not in known:
            raise ValueError(
                f"{kind}: columns or values name {field!r}, which is no field of a record; "
                f"known: {', '.join(known)}"
            )
    if source.generator == "model" and kind != "stories":
        raise ValueError(f"{kind}: `generator: model` writes stories only")
    if source.format and kind != "prompts":
        raise ValueError(f"{kind}: format {source.format!r} is one of prompts")
    if source.heldout is not None and kind == "prompts":
        raise ValueError("prompts: heldout splits topics, which prompts do not have; give `split`")
