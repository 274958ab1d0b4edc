"""Adapter: how much the conclusions move over variants."""

from emodrift.store.job import open_job
from emodrift.warning.sensitivity import measure_sensitivity

with open_job(snakemake) as job:
    measure_sensitivity(**job.params, **job.inputs, out=job.out)
