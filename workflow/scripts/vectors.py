"""Adapter: emotion vectors of one checkpoint."""

from emodrift.store.job import open_job
from emodrift.vectors.fitting import Recipe, fit_vectors

with open_job(snakemake) as job:
    fit_vectors(Recipe(**job.params), **job.inputs, out=job.out)
