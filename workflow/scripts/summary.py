"""Adapter: a stage over all checkpoints, by the function that its module declares."""

from emodrift.stage import call_stage
from emodrift.store.job import open_job

with open_job(snakemake) as job:
    call_stage(job.params, job.inputs, job.out, job.store)
