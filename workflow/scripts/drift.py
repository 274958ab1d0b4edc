"""Adapter: drift over all checkpoints."""

from emodrift.drift.geometry import measure_drift
from emodrift.store.job import open_job

with open_job(snakemake) as job:
    measure_drift(**job.params, **job.inputs, out=job.out)
