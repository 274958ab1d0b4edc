"""Who is timed on what, and in which environment each lives."""

from __future__ import annotations

from typing import NamedTuple


class Contestant(NamedTuple):
    """A row of the tables.

    label: what a person reads. module: of `benchmarks.peers`, run by one worker process.
    environment: its folder under that of all environments. calls: task -> function of the module,
    or of `benchmarks.peers.rows` where the module has none of that name. pooling: what `extract`
    gives.
    """

    label: str
    module: str
    environment: str
    calls: dict[str, str]
    pooling: str = "mean"


OURS, BARE = "emodrift", "bare"
EXTRACT = {"extract": "extract"}
STEER = {"generate": "generate_replies", "score": "score_replies"}

CONTESTANTS = {
    OURS: Contestant("emodrift", "emodrift", "current", EXTRACT | STEER),
    BARE: Contestant(
        "bare forward pass, same batches", "emodrift", "current", {"extract": "pass_forward"}
    ),
    "plain": Contestant("plain transformers", "plain", "current", EXTRACT | STEER),
    "transformer_lens": Contestant("TransformerLens", "transformer_lens", "current", EXTRACT),
    "nnsight": Contestant("nnsight", "nnsight", "current", EXTRACT),
    "steering_vectors": Contestant(
        "steering-vectors", "steering_vectors", "earlier", EXTRACT | STEER
    ),
    "repeng": Contestant("repeng", "repeng", "earlier", EXTRACT | STEER, "last"),
}
