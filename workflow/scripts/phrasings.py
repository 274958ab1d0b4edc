"""Adapter: phrasings of reply classes, from replies that the checkpoints wrote."""

from emodrift.judging.phrasings import find_phrasings
from emodrift.store.job import open_job

with open_job(snakemake) as job:
    find_phrasings(**job.params, **job.inputs, out=job.out)
