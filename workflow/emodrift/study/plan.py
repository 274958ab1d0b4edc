"""The plan: every entry of a study with its content key, known before anything runs.

A key is made of the stage's code, the config values that matter to it, the keys of its inputs and
the content of its leaf inputs. The story of the data is the order of the functions below.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

from emodrift.errors import EmodriftError
from emodrift.store.digest import FileDigests, digest_code, digest_value, make_key
from emodrift.store.downloads import list_places
from emodrift.store.entry import Entry, entry_exists
from emodrift.study.checkpoints import (
    Checkpoint,
    check_shapes,
    find_reference,
    list_checkpoints,
)
from emodrift.study.config import Source, Study
from emodrift.study.sources import (
    describe_part,
    describe_writing,
    digest_source,
    list_files,
    name_parts,
)
from emodrift.study.templates import describe_chat

SCRIPTS = Path(__file__).parents[2] / "scripts"
FIGURES = {
    "drift_trajectories": ("drift",),
    "layer_map": ("drift",),
    "emotion_map": ("drift",),
    "emotion_paths": ("drift",),
    "effect_matrix": ("coupling",),
    "dose_response": ("coupling",),
    "effect_profile": ("coupling",),
    "indicators": ("indicators", "coupling"),
}
"""Figure -> the stages whose tables it draws; each has a module of its name in ``emodrift.show``.
"""


@dataclass
class Plan:
    """Entries of a study by place (``stage/key``).

    Parameters
    ----------
    study
        The config.
    store
        Root of the store.
    entries
        Place -> entry.
    after
        Place -> entry whose job comes first although it is no input.
    checkpoints
        All checkpoints of all runs in order; empty while organisms are still to be trained.
    publication
        The entry that a finished study publishes, once checkpoints are known.
    """

    study: Study
    store: Path
    entries: dict[str, Entry] = field(default_factory=dict)
    after: dict[str, Entry] = field(default_factory=dict)
    checkpoints: list[Checkpoint] = field(default_factory=list)
    publication: Entry | None = None

    def add(
        self,
        stage: str,
        params: Mapping[str, Any],
        *,
        inputs: Mapping[str, Entry | tuple[Entry, ...]] | None = None,
        leaves: Mapping[str, str] | None = None,
        context: Mapping[str, Any] | None = None,
        label: str = "",
        modules: Iterable[str] = (),
    ) -> Entry:
        """Key an entry and remember it.

        Parameters
        ----------
        stage, params, inputs, context, label
            See :class:`Entry`.
        leaves
            Name -> digest of content that no stage made: a checkpoint, a resource file.
        modules
            Library modules that the stage's adapter loads by name.
        """
        inputs = inputs or {}
        code = digest_code(SCRIPTS / f"{stage}.py", *modules)
        key = make_key(
            stage=stage,
            code=code,
            params=params,
            leaves=leaves or {},
            inputs={
                name: [e.key for e in value] if isinstance(value, tuple) else value.key
                for name, value in inputs.items()
            },
        )
        entry = Entry(stage, key, params, inputs, context or {}, label, code)
        return self.entries.setdefault(entry.place, entry)

    def order_after(self, entry: Entry, earlier: Entry) -> None:
        """Run an entry's job after another's, whose work it shares; no part of its key."""
        self.after[entry.place] = earlier

    def list_needed(self, entry: Entry) -> list[Entry]:
        """Entries whose jobs must be done before an entry's job, if that is still to run."""
        earlier = self.after.get(entry.place)
        waits = earlier and not entry_exists(self.store / entry.place)
        return entry.list_inputs() + ([earlier] if waits else [])

    def describe(self, entry: Entry) -> dict[str, Any]:
        """An entry as plain values for its job, with the downloads that the job is to clear up."""
        kept = self.study.compute.keep_downloads
        return entry.describe() | {"downloads": {} if kept else self.list_needs(entry)}

    def list_needs(self, entry: Entry | None = None) -> dict[str, dict[str, Any]]:
        """Weights on the hub and the entries whose jobs load them.

        Parameters
        ----------
        entry
            List only what its job loads, and what shares a file with that.

        Returns
        -------
        dict
            Place on the hub -> ``download`` and ``entries``; see
            :func:`emodrift.store.downloads.release_downloads`.
        """
        downloads = {d.place: d for c in self.checkpoints for d in c.downloads}
        entries: dict[str, list[str]] = {place: [] for place in downloads}
        for other in self.entries.values():
            for place in list_places(other.context.get("model", {}).get("location", {})):
                entries[place].append(other.place)
        if entry is not None:
            loaded = [d for p, d in downloads.items() if entry.place in entries[p]]
            shared = {content for d in loaded for content in d.contents}
            downloads = {p: d for p, d in downloads.items() if shared & d.contents}
        return {
            place: {"download": tuple(d), "entries": entries[place]}
            for place, d in downloads.items()
        }

    def of_stage(self, stage: str) -> list[Entry]:
        """Entries of one stage, in the order in which they were planned."""
        return [e for e in self.entries.values() if e.stage == stage]


def plan_study(study: Study, results: Path) -> Plan:
    """Plan a study as far as its checkpoints exist.

    Parameters
    ----------
    study
        The config.
    results
        Root of results; the store lies in ``results/store``.

    Raises
    ------
    EmodriftError
        A checkpoint, file or combination that cannot work, before any model is loaded.
    """
    plan = Plan(study, results / "store")
    digests = FileDigests(plan.store / "digests.json")
    organisms = _plan_organisms(plan)
    contrasts = plan_contrasts(plan, digests)
    if all(entry_exists(plan.store / e.place) for e in organisms.values()):
        _plan_checkpoints(plan, contrasts, organisms, digests)
    digests.save()
    return plan


def _plan_organisms(plan: Plan) -> dict[str, Entry]:
    if plan.study.organism is None:
        return {}
    section = plan.study.organism
    planned: dict[str, Entry] = {}
    starts = {name: [r.start] if r.start else [] for name, r in section.runs.items()}
    for name in TopologicalSorter(starts).static_order():
        recipe = section.runs[name]
        planned[name] = plan.add(
            "organism",
            {
                "recipe": recipe.model_dump(mode="json"),
                "model": section.model.model_dump(mode="json"),
                "seed": section.seed,
            },
            inputs={"start": planned[recipe.start]} if recipe.start else {},
            label=f"organism {name}",
        )
    return planned


def plan_contrasts(plan: Plan, digests: FileDigests) -> Entry:
    """Entry of the contrast data: generators and files, each file a part of its own."""
    section = plan.study.contrasts
    parts: dict[str, dict[str, Any]] = {}
    files: dict[str, Path] = {}
    leaves: dict[str, str] = {}
    written: list[Entry] = []
    for kind in ("stories", "neutral", "controls", "prompts"):
        key = f"contrasts.{kind}"
        for source in getattr(section, kind):
            listed = list_files(key, source.file) if source.file else []
            names = [f"{kind}-{stem}" for stem in name_parts(source, listed)]
            found = dict(zip(names, listed, strict=True)) if listed else {}
            if source.writer:
                written.append(_plan_stories(plan, key, source, digests))
                stories = plan.store / written[-1].place / "stories"
                found = {f"{names[0]}-{e}": stories / f"{e}.jsonl" for e in section.emotions}
            else:
                leaves |= {name: digest_source(key, file, digests) for name, file in found.items()}
            for name in found or names:
                if name in parts:
                    raise EmodriftError(
                        f"{key}: two sources are called {name.removeprefix(f'{kind}-')!r}; "
                        "give one a `name`, or rename a file"
                    )
                parts[name] = describe_part(kind, source)
            files |= found
    if section.replies != "grammar":
        leaves["replies"] = digests.digest(list_files("contrasts.replies", section.replies)[0])
    return plan.add(
        "contrasts",
        {
            "parts": parts,
            "emotions": list(section.emotions),
            "minimum_topics": section.minimum_topics,
            "metrics": {
                k: {"suite": m.suite, "toward": m.toward}
                for k, m in plan.study.behaviours.metrics.items()
            },
            "minimum_prompts": plan.study.behaviours.minimum_prompts,
        },
        inputs={"stories": tuple(written)} if written else {},
        leaves=leaves,
        context={
            "files": {name: str(file) for name, file in files.items()},
            "replies": section.replies,
        },
        label="contrast data",
    )


def _plan_stories(plan: Plan, key: str, source: Source, digests: FileDigests) -> Entry:
    writing = describe_writing(
        key,
        source,
        plan.study.contrasts.emotions,
        plan.study.compute,
        digests,
        plan.store / "revisions.json",
    )
    return plan.add(
        "stories",
        writing.params,
        leaves=writing.leaves,
        context=writing.context,
        label=f"stories by {source.writer.model}",
    )


def _plan_checkpoints(
    plan: Plan, contrasts: Entry, organisms: Mapping[str, Entry], digests: FileDigests
) -> None:
    study = plan.study
    plan.checkpoints = [
        checkpoint
        for name, run in study.runs.items()
        for checkpoint in list_checkpoints(
            name,
            run,
            digests,
            allow_pickle=study.compute.allow_pickle,
            organisms={n: plan.store / e.place for n, e in organisms.items()},
            revisions=plan.store / "revisions.json",
        )
    ]
    check_shapes(plan.checkpoints)
    reference = find_reference(plan.checkpoints, study.reference)
    _check_layer(study, reference)

    chat = describe_chat(study.activations, plan.store)
    activations = [_plan_activations(plan, c, contrasts, chat) for c in plan.checkpoints]
    vectors = [
        _plan_vectors(plan, c, a) for c, a in zip(plan.checkpoints, activations, strict=True)
    ]
    at_reference = plan.checkpoints.index(reference)
    lock = _plan_lock(plan, reference, activations[at_reference], vectors[at_reference])
    twin = _plan_twin(plan, reference, contrasts, chat)
    responses = [
        _plan_responses(plan, c, contrasts, lock, a, chat)
        for c, a in zip(plan.checkpoints, activations, strict=True)
    ]
    summaries = _plan_summaries(plan, reference, lock, activations, vectors, twin, responses)
    figures = _plan_figures(plan, summaries, reference)
    plan.publication = _plan_publication(plan, summaries, figures, lock)


def _plan_activations(
    plan: Plan,
    checkpoint: Checkpoint,
    contrasts: Entry,
    chat: Mapping[str, Any],
    **kinds: list[str],
) -> Entry:
    section = plan.study.activations
    of_chat = {"chat_template", "system_prompt", "template_arguments"}
    reading = {
        "activations": section.model_dump(mode="json", exclude=of_chat),
        "chat": chat,
        "asking": _describe_asking(plan.study),
        "dtype": plan.study.compute.dtype,
        "checkpoint": checkpoint.digest,
        **kinds,
    }
    return plan.add(
        "activations",
        {"reading": reading},
        inputs={"contrasts": contrasts},
        context={"model": _describe_loading(plan.study, checkpoint, chat)},
        label=checkpoint.label,
    )


def _plan_vectors(plan: Plan, checkpoint: Checkpoint, activations: Entry) -> Entry:
    return plan.add(
        "vectors",
        _describe_fitting(plan.study),
        inputs={"activations": activations},
        label=checkpoint.label,
    )


def _plan_twin(
    plan: Plan, reference: Checkpoint, contrasts: Entry, chat: Mapping[str, Any]
) -> Entry:
    """Vectors of a model of the reference's shape with random weights."""
    drawn = {"initialise": plan.study.seed}
    twin = replace(
        reference,
        run=f"random twin of {reference.run}",
        location={**reference.location, **drawn},
        digest=digest_value([reference.digest, drawn]),
    )
    activations = _plan_activations(plan, twin, contrasts, chat, kinds=["stories", "neutral"])
    return _plan_vectors(plan, twin, activations)


def _plan_lock(plan: Plan, reference: Checkpoint, activations: Entry, vectors: Entry) -> Entry:
    return plan.add(
        "lock",
        {
            "layer": plan.study.vectors.layer,
            "bundles": {k: list(v) for k, v in plan.study.contrasts.bundles.items()},
            "confound_variance": plan.study.vectors.confound_variance,
            "random_directions": plan.study.steering.random_directions,
            "nulls": plan.study.statistics.nulls,
            "seed": plan.study.seed,
        },
        inputs={"activations": activations, "vectors": vectors},
        label=f"reference {reference.label}",
    )


def _plan_responses(
    plan: Plan,
    checkpoint: Checkpoint,
    contrasts: Entry,
    lock: Entry,
    activations: Entry,
    chat: Mapping[str, Any],
) -> Entry:
    study = plan.study
    entry = plan.add(
        "responses",
        {
            "asking": {
                "steering": study.steering.model_dump(mode="json", exclude={"random_directions"}),
                "prompt_format": study.activations.prompt_format,
                "plain_prompt": study.activations.plain_prompt,
                "phrasing_score": study.behaviours.phrasing_score,
            },
            "chat": chat,
            "dtype": study.compute.dtype,
        },
        inputs={"contrasts": contrasts, "lock": lock},
        leaves={"checkpoint": checkpoint.digest},
        context={
            "model": _describe_loading(study, checkpoint, chat),
            "activations": {**activations.params["reading"], "code": activations.code},
        },
        label=checkpoint.label,
    )
    if activations not in _list_ancestors(lock):
        plan.order_after(activations, entry)
    return entry


def _plan_summaries(
    plan: Plan,
    reference: Checkpoint,
    lock: Entry,
    activations: list[Entry],
    vectors: list[Entry],
    twin: Entry,
    responses: list[Entry],
) -> dict[str, Entry]:
    study = plan.study
    common = {
        "checkpoints": [
            {"run": c.run, "step": c.step, "stage": c.stage, "tokens": c.tokens}
            for c in plan.checkpoints
        ],
        "seed": study.seed,
    }
    origin = {"reference": plan.checkpoints.index(reference)}
    intervals = {"statistics": study.statistics.model_dump(mode="json")}
    section = study.indicators.model_dump(mode="json")
    metrics = {
        k: m.model_dump(mode="json", exclude={"description"})
        for k, m in study.behaviours.metrics.items()
    }
    drift = plan.add(
        "drift",
        common
        | origin
        | intervals
        | {
            "fitting": _describe_fitting(study),
            "ratings": {e: r.model_dump() for e, r in study.contrasts.ratings.items()},
        },
        inputs={
            "vectors": tuple(vectors),
            "activations": tuple(activations),
            "twin": twin,
            "lock": lock,
        },
        label="all checkpoints",
    )
    evocation = plan.add(
        "evocation",
        common | intervals | {"indicators": section, "metrics": metrics},
        inputs={
            "activations": tuple(activations),
            "lock": lock,
        },
        label="all checkpoints",
    )
    coupling = plan.add(
        "coupling",
        common | intervals | {"metrics": metrics},
        inputs={
            "activations": tuple(activations),
            "responses": tuple(responses),
            "lock": lock,
        },
        label="all checkpoints",
    )
    fragmentation = plan.add(
        "fragmentation",
        common | intervals | {"confound_variance": study.vectors.confound_variance},
        inputs={"activations": tuple(activations), "lock": lock},
        label="all checkpoints",
    )
    indicators = plan.add(
        "indicators",
        {
            **common,
            **origin,
            "indicators": section,
            "metrics": metrics,
            "roles": {name: run.role for name, run in study.runs.items()},
            "alarms": study.alarms.model_dump(mode="json"),
        },
        inputs={"drift": drift, "evocation": evocation, "coupling": coupling},
        label="all checkpoints",
    )
    return {
        "drift": drift,
        "evocation": evocation,
        "coupling": coupling,
        "fragmentation": fragmentation,
        "indicators": indicators,
    }


def _plan_figures(
    plan: Plan, summaries: Mapping[str, Entry], reference: Checkpoint
) -> dict[str, Entry]:
    section = plan.study.figures
    unknown = sorted(set(section.palettes) - set(FIGURES))
    if unknown:
        raise EmodriftError(
            f"figures.palettes names {unknown[0]!r}, which is no figure; known: "
            f"{', '.join(FIGURES)}"
        )
    return {
        name: plan.add(
            "figure",
            {
                "figure": name,
                "width": section.width,
                "palette": section.palettes.get(name),
                "reference": {
                    "run": reference.run,
                    "stage": reference.stage,
                    "step": reference.step,
                },
            },
            inputs={stage: summaries[stage] for stage in needed},
            modules=[f"emodrift.show.{name}"],
            label=name,
        )
        for name, needed in FIGURES.items()
    }


def _plan_publication(
    plan: Plan, summaries: Mapping[str, Entry], figures: Mapping[str, Entry], lock: Entry
) -> Entry:
    study = plan.study
    report = plan.add(
        "report",
        {
            "study": study.name,
            "description": study.description,
            "config": study.model_dump(mode="json", exclude={"compute"}),
            "checkpoints": len(plan.checkpoints),
        },
        inputs={"lock": lock, **summaries, "figures": tuple(figures.values())},
        label=study.name,
    )
    index = [
        {
            "run": c.run,
            "step": c.step,
            "stage": c.stage,
            "tokens": c.tokens,
            "digest": c.digest,
        }
        for c in plan.checkpoints
    ]
    return plan.add(
        "publication",
        {"study": study.name, "index": index},
        inputs={
            "report": report,
            **summaries,
            **{f"figure:{name}": entry for name, entry in figures.items()},
        },
        label=study.name,
    )


def _describe_fitting(study: Study) -> dict[str, Any]:
    return {**study.vectors.model_dump(mode="json", exclude={"layer"}), "seed": study.seed}


def _describe_asking(study: Study) -> dict[str, Any]:
    toward: dict[str, list[str]] = {}
    for metric in study.behaviours.metrics.values():
        of_suite = toward.setdefault(metric.suite, [])
        if metric.toward not in of_suite:
            of_suite.append(metric.toward)
    return {
        "prompt_format": study.activations.prompt_format,
        "plain_prompt": study.activations.plain_prompt,
        "phrasing_score": study.behaviours.phrasing_score,
        "positions": study.steering.positions,
        "toward": toward,
    }


def _describe_loading(
    study: Study, checkpoint: Checkpoint, chat: Mapping[str, Any]
) -> dict[str, Any]:
    return {
        "location": checkpoint.location,
        "loading": study.compute.model_dump(mode="json", exclude={"dtype"}),
        "dtype": study.compute.dtype,
        "chat": chat,
    }


def _list_ancestors(entry: Entry) -> list[Entry]:
    parents = entry.list_inputs()
    return [*parents, *(a for parent in parents for a in _list_ancestors(parent))]


def _check_layer(study: Study, reference: Checkpoint) -> None:
    layer = study.vectors.layer
    if layer != "auto" and not 0 <= layer <= reference.layers:
        raise EmodriftError(
            f"vectors.layer {layer} is outside 0..{reference.layers}, "
            f"the layers of {reference.label}"
        )
