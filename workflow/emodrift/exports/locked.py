"""Locked vectors as other tools take them: named rows at one layer, and where they come from."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import numpy as np

from emodrift.errors import EmodriftError
from emodrift.measure.arrays import read_norms
from emodrift.measure.directions import (
    open_bundles,
    open_discovered,
    open_lock,
    open_rivals,
    pick_directions,
)
from emodrift.plan.entries import Plan
from emodrift.store.entry import Entry, read_manifest

CONVENTION = "layer 0 = embeddings, layer k = output of block k counted from 1 (hidden_states[k])"


@dataclass(frozen=True)
class LockedVectors:
    """Locked directions of a reference, ready to be written.

    Parameters
    ----------
    name, kind
        Of each direction; a kind is ``emotion``, ``bundle``, ``rival`` or ``random``.
    direction
        (direction, hidden), float32, unit length.
    center
        (hidden,) centre of the reference's stories at the layer.
    layer
        Index into ``hidden_states``.
    residual_norm
        Mean norm of the residual stream at the reply point there: the unit of emodrift's strengths.
    model
        Model type of the reference, such as ``llama``.
    reference
        What a person calls the reference.
    key
        Content key of the lock entry.

    Examples
    --------
    >>> origin = {"model": "llama", "reference": "sft step 0", "key": "1f0c"}
    >>> numbers = {"direction": np.eye(2, 4), "center": np.zeros(4), "residual_norm": 8.0}
    >>> vectors = LockedVectors(("afraid", "calm"), ("emotion",) * 2, layer=3, **numbers, **origin)
    >>> vectors.block
    2
    >>> vectors.scale(0.5)
    array([[4., 0., 0., 0.],
           [0., 4., 0., 0.]], dtype=float32)
    """

    name: tuple[str, ...]
    kind: tuple[str, ...]
    direction: np.ndarray
    center: np.ndarray
    layer: int
    residual_norm: float
    model: str
    reference: str
    key: str

    @property
    def block(self) -> int:
        """Decoder block, counted from 0, whose output the directions are read from and added to.

        Raises
        ------
        EmodriftError
            The vectors are locked at the embeddings, which no block gives out.
        """
        if self.layer == 0:
            raise EmodriftError(
                "vectors are locked at layer 0, the embeddings, and no decoder block ends there; "
                "set vectors.layer to 1 or more"
            )
        return self.layer - 1

    def describe(self) -> dict[str, str]:
        """Metadata as texts."""
        return {
            "emodrift": metadata.version("emodrift"),
            "convention": CONVENTION,
            "layer": str(self.layer),
            "residual_norm": repr(self.residual_norm),
            "kinds": json.dumps(dict(zip(self.name, self.kind, strict=True))),
            "model": self.model,
            "reference": self.reference,
            "lock": self.key,
        }

    def scale(self, strength: float | None) -> np.ndarray:
        """Directions (direction, hidden): unit length, or as long as `strength` residual norms."""
        length = 1.0 if strength is None else strength * self.residual_norm
        return (self.direction * np.float32(length)).astype(np.float32)


def find_lock(plan: Plan) -> Entry:
    """The lock of a study itself, whose report names it; variants may have others.

    Raises
    ------
    EmodriftError
        The study is not planned to its end.
    """
    if plan.publication is None:
        raise EmodriftError(
            f"study {plan.study.name} has no lock before its organisms are trained; run it first: "
            "emodrift run CONFIG"
        )
    report = plan.publication.inputs["report"]
    assert isinstance(report, Entry)
    lock = report.inputs["lock"]
    assert isinstance(lock, Entry)
    return lock


def find_discovery(plan: Plan, lock: Entry) -> Entry | None:
    """What was discovered beside a lock; None where a study has no such section."""
    found = plan.of_stage("discovery")
    return next((entry for entry in found if entry.inputs["lock"] == lock), None)


def read_locked(
    lock: Path, model: str = "", reference: str = "", discovery: Path | None = None
) -> LockedVectors:
    """Emotions, bundles and random directions of a lock entry, and what a discovery adds.

    Parameters
    ----------
    lock
        Entry of the lock stage, in its store.
    model, reference
        See :class:`LockedVectors`.
    discovery
        Entry of the discovery stage: its bundle, and the rival directions of harm and refusal.

    Raises
    ------
    EmodriftError
        There is no finished entry.
    """
    manifest = read_manifest(lock)
    locked = open_lock(lock)
    bundles = [*open_bundles(lock), *open_discovered(discovery)]
    rivals = [str(name) for name in open_rivals(discovery)["rival"].values] if discovery else []
    names = [*map(str, locked["name"].values), *bundles, *rivals]
    store = lock.parent.parent
    norms = read_norms([store / place for place in manifest["inputs"]["activations"]["gradients"]])
    return LockedVectors(
        name=tuple(names),
        kind=(
            *map(str, locked["kind"].values),
            *["bundle"] * len(bundles),
            *["rival"] * len(rivals),
        ),
        direction=pick_directions(lock, names, discovery).values.astype(np.float32),
        center=locked["center"].values.astype(np.float32),
        layer=int(locked["layer"]),
        residual_norm=float(norms.sel(layer=int(locked["layer"]))),
        model=model,
        reference=reference,
        key=lock.name,
    )
