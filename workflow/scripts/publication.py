"""Adapter: publish a study under human names."""

from pathlib import Path

from emodrift.show.publication import publish_study

entry = snakemake.params.entry
stamp = Path(snakemake.output[0])
store = stamp.parents[2] / "store"
publish_study(
    entry["params"]["index"],
    {name: store / place for name, place in entry["inputs"].items()},
    stamp.parents[1],
    entry["key"],
)
