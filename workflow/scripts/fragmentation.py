"""Adapter: fragmentation over all checkpoints."""

from emodrift.drift.fragmentation import measure_fragmentation
from emodrift.store.job import open_job

with open_job(snakemake) as job:
    measure_fragmentation(**job.params, **job.inputs, out=job.out)
