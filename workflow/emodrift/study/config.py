"""The study's configuration: one section per stage.

Every key's docstring is its documentation: `config/README.md` and the JSON schema are made from
this file.
"""

from __future__ import annotations

from pathlib import Path
from string import Formatter
from typing import Annotated, Any, Literal

import yaml
from pydantic import BeforeValidator, Field, ValidationError, model_validator

from emodrift.errors import EmodriftError
from emodrift.study.fields import list_fields
from emodrift.study.organism import OrganismConfig
from emodrift.study.section import Section
from emodrift.study.writer import Writer

RESOURCES = Path(__file__).parents[3] / "resources"

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
SuiteFormat = Literal["emodrift", "xstest", "or-bench", "harmbench", "strongreject", "sorry-bench"]
Estimator = Literal[
    "difference_of_means", "neutral_difference", "whitened_difference", "logistic_probe"
]
Fraction = Annotated[float, Field(ge=0, le=1)]


class CheckpointSource(Section):
    """Where one checkpoint, or an ordered pattern of them, comes from.

    Give exactly one of `path`, `repo` and `organism`. A plain string means `path`.
    """

    path: str | None = None
    """Local checkpoint directory, or a glob such as `runs/sft/checkpoint-*`."""
    repo: str | None = None
    """Hub repository, such as `EleutherAI/pythia-70m`."""
    revision: str = "main"
    """Branch, tag or commit; `{step}` and `{tokens}` stand for each of `steps` and `token_counts`.
    `{step:03d}` pads with zeros."""
    subfolder: str = ""
    """Folder inside the repository; may hold `{step}` too."""
    steps: tuple[int, ...] = ()
    """Steps that `{step}` runs over."""
    token_counts: tuple[int, ...] = ()
    """One value of `{tokens}` for each of `steps`, as the revision's name spells it; a unit behind
    it, as in `{tokens}B`, is understood."""
    tokens_per_step: int | None = Field(default=None, ge=1)
    """Training tokens of a step, where steps count from the start of training."""
    adapter: bool | None = None
    """Whether the source holds PEFT adapters, which are merged in memory into a base model. Left
    out, a folder with adapter_config.json and an adapter's weights is taken for one."""
    base: str | None = None
    """Base model of adapters: a local directory or `repo@revision`. Left out, the adapter's own
    `base_model_name_or_path` (and `revision`) is used."""
    organism: Name | None = None
    """Run of the embedded `organism` section whose checkpoints these are."""
    stage: str | None = None
    """Training stage to show, such as `sft`; left out, the run's."""
    step: int | None = None
    """Step of a single checkpoint; left out, read from `trainer_state.json` or the name."""
    tokens: int | None = None
    """Training tokens seen; left out, read from `trainer_state.json` where it says."""

    @model_validator(mode="after")
    def _check(self) -> CheckpointSource:
        given = [k for k in ("path", "repo", "organism") if getattr(self, k)]
        if len(given) != 1:
            raise ValueError(f"give exactly one of path, repo, organism (found {given or 'none'})")
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
            places = {name for _, name, _, _ in Formatter().parse(pattern) if name is not None}
            pattern.format(step=0, tokens=0)
        except (LookupError, ValueError) as error:
            raise ValueError(
                f"the pattern {pattern!r} cannot be filled in ({error}); its places are {{step}} "
                "and {tokens}"
            ) from None
        if "step" in places and not self.steps:
            raise ValueError("the pattern has {step}: list the steps under `steps`")
        if self.steps and "step" not in places:
            raise ValueError("`steps` is given but neither revision nor subfolder has {step}")
        if "tokens" in places and not self.token_counts:
            raise ValueError("the pattern has {tokens}: list them under `token_counts`")
        if self.token_counts and len(self.token_counts) != len(self.steps):
            raise ValueError("token_counts must have one value for each of steps")


def _as_source(value: Any) -> Any:
    return {"path": value} if isinstance(value, str) else value


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str | dict) else value


class Run(Section):
    """One training run: an ordered list of checkpoints."""

    checkpoints: Annotated[
        tuple[Annotated[CheckpointSource, BeforeValidator(_as_source)], ...],
        BeforeValidator(_as_list),
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


Sources = Annotated[tuple[Source, ...], BeforeValidator(_as_list)]


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
    minimum_topics: int = Field(default=3, ge=2)
    """Topics that each emotion needs in each split."""

    @model_validator(mode="after")
    def _check(self) -> Contrasts:
        for kind in ("stories", "neutral", "controls", "prompts"):
            for source in getattr(self, kind):
                _check_source(kind, source)
        for bundle, members in self.bundles.items():
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
    """Leading components of neutral texts that explain this share of variance are projected out;
    0 turns it off."""
    layer: Literal["auto"] | int = "auto"
    """Layer of the locked vectors (0 = embeddings, k = output of block k); `auto` takes the highest
    held-out AUROC at the reference."""
    halves: int = Field(default=20, ge=2)
    """Random split-halves of topics behind reliability and noise floor."""


class Steering(Section):
    """Adding locked vectors to the residual stream and reading the replies' log-odds."""

    strengths: tuple[float, ...] = (-0.5, 0.5)
    """Strengths in units of the mean residual norm; 0 is always measured."""
    positions: Literal["reply", "all"] = "reply"
    """Where the vector is added: from the reply point on, or at every token."""
    random_directions: int = Field(default=12, ge=4)
    """Random directions of the null, steered beside the emotions."""
    prompts_per_cell: int = Field(default=8, ge=1)
    """Prompts steered of each suite and split, spread over its families."""

    @model_validator(mode="after")
    def _check(self) -> Steering:
        if not any(s > 0 for s in self.strengths) or not any(s < 0 for s in self.strengths):
            raise ValueError("strengths needs a negative and a positive value: slopes are central")
        if 0 in self.strengths:
            raise ValueError("strengths must not name 0, which is always measured")
        return self


class Behaviours(Section):
    """What replies are read for."""

    metrics: dict[Name, Metric]
    """Named metrics; the `indicators` section uses some. Left out, those of
    `resources/behaviours/metrics.yaml`."""
    phrasing_score: Literal["mean", "sum"] = "mean"
    """A phrasing's log-likelihood: `mean` over its tokens (length-normalised), or `sum`, which is
    exact where all phrasings are equally long."""
    minimum_prompts: int = Field(default=8, ge=2)
    """Prompts that each metric's suite needs in each split it has."""


class Statistics(Section):
    """Intervals."""

    draws: int = Field(default=1000, ge=100)
    """Bootstrap draws over topics or prompt families."""
    level: float = Field(default=0.95, gt=0, lt=1)
    """Level of the intervals."""
    nulls: int = Field(default=1000, ge=100)
    """Null directions of each kind that slopes are held against."""


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


class Alarms(Section):
    """When an indicator raises an alarm."""

    false_alarm_rate: float = Field(default=0.1, gt=0, lt=1)
    """Share of healthy checkpoints that may cross the threshold."""
    consecutive: int = Field(default=2, ge=1)
    """Checkpoints in a row that must cross it."""
    slack: float = Field(default=0.5, ge=0)
    """Slack of the cumulative sum, in standard deviations: smaller drifts do not add up."""


class Figures(Section):
    """How figures look."""

    width: float = Field(default=7.0, gt=0)
    """Width in inches."""
    palettes: dict[Name, str] = Field(default_factory=dict)
    """Figure -> seaborn palette that replaces its own."""


class Compute(Section):
    """Where and how models run. Nothing here changes a result beyond rounding."""

    device: str = Field(
        default="auto", pattern=r"^(auto|cpu|cuda(:\d+)?|balanced|balanced_low_0|sequential)$"
    )
    """`auto` (the first GPU, else the CPU), `cpu`, `cuda`, or one of several as in `cuda:1`. Blocks
    are spread over all GPUs by `balanced` (evenly), `balanced_low_0` (evenly, the first is left
    roomy) and `sequential` (one after the other is filled); what does not fit goes to the CPU."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Data type of the weights; `auto`: as saved on a GPU, float32 on a CPU."""
    batch_tokens: int = Field(default=4096, ge=16)
    """Tokens per batch, padding included. A batch that does not fit in memory is halved, and so are
    the later ones."""
    recompute_blocks: bool = False
    """Keep one block's graph at a time when metrics are differentiated, and run blocks again: takes
    a fraction of the memory and about half as much time again."""
    blocks: str | None = None
    """Where a network keeps its decoder blocks, such as `model.layers`. Left out, they are found;
    either way it is proved on a probe that they are the right ones."""
    deterministic: bool = False
    """Rule out algorithms on a GPU that give other bits from run to run (slower); see
    docs/engine.md."""
    allow_pickle: bool = False
    """Load checkpoints that have no safetensors files. Pickled weights can run code."""
    keep_downloads: bool = True
    """`false`: weights that a job fetched from the hub are deleted from the hub's cache once the
    last job that needs them is done. What was in the cache before stays."""


class Study(Section):
    """A longitudinal study of emotion vectors."""

    name: Name
    """Name; results are published in `results/<name>/`."""
    description: str = ""
    """A sentence for the report."""
    seed: int = 0
    """Seed of bootstrap, nulls and halves."""
    organism: OrganismConfig | None = None
    """Tiny models to train first, for an embedded study."""
    runs: dict[Name, Run] = Field(min_length=1)
    """Training runs."""
    reference: Reference
    contrasts: Contrasts
    activations: Activations = Activations()
    vectors: Vectors = Vectors()
    behaviours: Behaviours
    steering: Steering = Steering()
    statistics: Statistics = Statistics()
    indicators: Indicators = Indicators()
    alarms: Alarms = Alarms()
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
        self._check_metrics()
        self._check_indicators()
        grown = set(self.organism.runs) if self.organism else set()
        for name, run in self.runs.items():
            for source in run.checkpoints:
                if source.organism and source.organism not in grown:
                    raise ValueError(
                        f"runs.{name} names organism {source.organism!r}, which organism.runs "
                        f"lacks: {', '.join(sorted(grown)) or 'there is no organism section'}"
                    )
        return self

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
        for key, name in (("caution", section.caution), ("eagerness", section.eagerness)):
            if name not in self.contrasts.bundles:
                raise ValueError(
                    f"indicators.{key} is {name!r}, which contrasts.bundles lacks: "
                    f"{', '.join(self.contrasts.bundles)}"
                )
        for name in (section.refusal, section.benign, *section.eager_metrics):
            if name not in self.behaviours.metrics:
                raise ValueError(
                    f"indicators names metric {name!r}, which behaviours.metrics lacks: "
                    f"{', '.join(self.behaviours.metrics)}"
                )


def read_study(path: Path) -> Study:
    """Read and check a study config.

    Raises
    ------
    EmodriftError
        One line that names the file, the key and what is wrong with it.
    """
    if not path.is_file():
        raise EmodriftError(f"config file {path} does not exist; pass --configfile PATH")
    try:
        values = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise EmodriftError(f"{path} is not valid YAML: {error}") from None
    return parse_study(values, str(path))


def parse_study(values: Any, origin: str = "config") -> Study:
    """Check a study config given as plain values; see :func:`read_study`."""
    if not isinstance(values, dict):
        raise EmodriftError(f"{origin} is empty or not a mapping; see config/README.md")
    try:
        return Study.model_validate(add_shipped(values))
    except ValidationError as error:
        raise EmodriftError(f"{origin}: {_explain(error)}") from None


def add_shipped(values: dict[str, Any]) -> dict[str, Any]:
    """Fill in the shipped emotions, bundles, ratings and metrics where a config names none."""
    contrasts = dict(values.get("contrasts") or {})
    behaviours = dict(values.get("behaviours") or {})
    if not {"emotions", "bundles", "ratings"} <= set(contrasts):
        taxonomy = yaml.safe_load((RESOURCES / "emotions.yaml").read_text(encoding="utf-8"))
        core = {name: word for name, word in taxonomy["emotions"].items() if word["core"]}
        emotions = _list_names(contrasts.setdefault("emotions", list(core)))
        known = {e: word for e, word in taxonomy["emotions"].items() if e in emotions}
        bundles: dict[str, list[str]] = {}
        for name in emotions:
            if name in core:
                bundles.setdefault(core[name]["bundle"], []).append(name)
        contrasts.setdefault("bundles", bundles)
        ratings = {e: {k: word[k] for k in Rating.model_fields} for e, word in known.items()}
        contrasts.setdefault("ratings", ratings)
    if "metrics" not in behaviours:
        shipped = (RESOURCES / "behaviours" / "metrics.yaml").read_text(encoding="utf-8")
        behaviours["metrics"] = {
            name: metric | {"bundles": [b for b in metric["bundles"] if b in contrasts["bundles"]]}
            for name, metric in yaml.safe_load(shipped).items()
        }
    return {**values, "contrasts": contrasts, "behaviours": behaviours}


def _list_names(value: Any) -> list[str]:
    return [name for name in value if isinstance(name, str)] if isinstance(value, list) else []


def _explain(error: ValidationError) -> str:
    lines = []
    for problem in error.errors(include_url=False):
        key = ".".join(str(part) for part in problem["loc"]) or "study"
        message = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden":
            message = "unknown key; remove it or see config/README.md for the keys there are"
        elif problem["type"] == "missing":
            message = "missing; add it (config/README.md says what it means)"
        lines.append(f"{key}: {message}")
    return "; ".join(lines[:3]) + (f"; and {len(lines) - 3} more" if len(lines) > 3 else "")
