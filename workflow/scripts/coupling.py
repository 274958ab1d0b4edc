"""Adapter: coupling over all checkpoints."""

from emodrift.drift.coupling import measure_coupling
from emodrift.store.job import open_job

with open_job(snakemake) as job:
    measure_coupling(**job.params, **job.inputs, out=job.out)
