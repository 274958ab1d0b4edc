"""Adapter: evocation over all checkpoints."""

from emodrift.drift.evocation import measure_evocation
from emodrift.store.job import open_job

with open_job(snakemake) as job:
    measure_evocation(**job.params, **job.inputs, out=job.out)
