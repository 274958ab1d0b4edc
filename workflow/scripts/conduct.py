"""Adapter: conduct in generated replies over all checkpoints."""

from emodrift.drift.conduct import measure_conduct
from emodrift.store.job import open_job

with open_job(snakemake) as job:
    cache = job.store / "judge-verdicts"
    measure_conduct(**job.params, **job.inputs, cache=cache, out=job.out)
