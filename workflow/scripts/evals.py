"""Adapter: evals that other tools ran, held against the indicators."""

from emodrift.evals.measuring import measure_evals
from emodrift.store.job import open_job

with open_job(snakemake) as job:
    measure_evals(**job.params, **job.inputs, out=job.out)
