"""Adapter: how the judge of replies agrees with people."""

from emodrift.judging.agreement import measure_agreement
from emodrift.store.job import open_job

with open_job(snakemake) as job:
    measure_agreement(**job.params, cache=job.store / "judge-verdicts", out=job.out)
