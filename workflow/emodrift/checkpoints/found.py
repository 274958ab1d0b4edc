"""What is known of a checkpoint before it has a place in a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from emodrift.store.downloads import Download


@dataclass(frozen=True)
class Found:
    """A checkpoint on disk or hub before it has a place in a run.

    Parameters
    ----------
    location, digest, downloads
        What a loader needs, identity, and weights on the hub that loading it takes; see
        :class:`emodrift.checkpoints.checkpoint.Checkpoint`.
    shape
        Residual width and number of blocks; empty for an adapter.
    step, tokens
        As far as its files or name tell.
    adapter
        An adapter's adapter_config.json, else None.
    """

    location: dict[str, Any]
    digest: str
    shape: dict[str, int]
    step: int | None
    tokens: int | None
    adapter: dict[str, Any] | None = None
    downloads: tuple[Download, ...] = ()
