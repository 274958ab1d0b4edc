"""Adapter: a judge's verdicts on the replies of one checkpoint."""

from emodrift.judging.verdicts import judge_replies
from emodrift.store.job import open_job

with open_job(snakemake) as job:
    judge_replies(**job.params, **job.inputs, cache=job.store / "judge-verdicts", out=job.out)
