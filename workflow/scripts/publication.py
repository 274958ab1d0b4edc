"""Adapter: publish a study under human names."""

from pathlib import Path

from emodrift.show.publication import publish_study
from emodrift.store.entry import map_inputs

entry = snakemake.params.entry
stamp = Path(snakemake.output[0])
inputs = map_inputs(entry["inputs"], (stamp.parents[2] / "store").joinpath)
publish_study(entry["params"]["index"], **inputs, target=stamp.parents[1], key=entry["key"])
