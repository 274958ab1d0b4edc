"""Planning a study's variants beside it, over the same checkpoints."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace

from emodrift.checkpoints.checkpoint import Checkpoint
from emodrift.config.reading import make_variants
from emodrift.config.variants import AS_CONFIGURED
from emodrift.errors import EmodriftError
from emodrift.plan.chain import plan_chain
from emodrift.plan.descriptions import describe_checkpoints
from emodrift.plan.entries import Plan
from emodrift.plan.measurements import Desk
from emodrift.plan.texts import plan_contrasts
from emodrift.store.entry import Entry
from emodrift.store.memory import FileDigests


def plan_variants(plan: Plan, digests: FileDigests) -> list[tuple[Plan, Entry]]:
    """Plans of the study's variants, each with its contrast data."""
    variants = []
    for name, study in make_variants(plan.study).items():
        with _naming(name):
            variant = plan.vary(name, study)
            variants.append((variant, plan_contrasts(variant, digests)))
    return variants


def plan_sensitivity(
    plan: Plan,
    reference: Checkpoint,
    contrasts: Entry,
    variants: list[tuple[Plan, Entry]],
    desk: Desk,
) -> Entry:
    """The study as configured and its variants, over the same checkpoints, compared.

    Replies are written in none of them.
    """
    study = plan.study
    assert study.sensitivity
    chosen = plan.checkpoints
    if study.sensitivity.checkpoints == "ends":
        last = {c.run: i for i, c in enumerate(chosen)}
        chosen = [c for i, c in enumerate(chosen) if i == last[c.run] or c == reference]
    own = replace(plan.vary(AS_CONFIGURED, study), checkpoints=chosen)
    chains = [plan_chain(own, reference, contrasts, desk, replies=False)]
    for variant, data in variants:
        with _naming(variant.variant):
            varied = replace(variant, checkpoints=chosen)
            chains.append(plan_chain(varied, reference, data, desk, replies=False))
    return plan.add(
        "sensitivity",
        {
            "variants": [variant.variant for variant, _ in variants],
            "checkpoints": describe_checkpoints(chosen),
            "reference": chosen.index(reference),
            "caution": study.indicators.caution,
            "refusal": study.indicators.refusal,
            "level": study.statistics.level,
        },
        inputs={
            stage: tuple(chain.summaries[stage] for chain in chains)
            for stage in ("drift", "evocation", "coupling", "indicators")
        },
        label="variants",
    )


@contextlib.contextmanager
def _naming(variant: str) -> Iterator[None]:
    try:
        yield
    except EmodriftError as error:
        raise EmodriftError(f"sensitivity.variants.{variant}: {error}") from None
