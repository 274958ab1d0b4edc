"""Adapter: emotion vectors of some checkpoints."""

from emodrift.store.job import make_missing, open_job
from emodrift.vectors.fitting import Recipe, fit_vectors

with open_job(snakemake) as job:
    make_missing(
        job.params["entries"],
        job.store,
        lambda each: fit_vectors(Recipe(**each.params), **each.inputs, out=each.out),
    )
