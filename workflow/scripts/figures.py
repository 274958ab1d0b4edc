"""Adapter: draw what is missing of a study's figures."""

from emodrift.show.figure import draw_missing
from emodrift.store.job import open_job

with open_job(snakemake) as job:
    draw_missing(job.params["figures"], job.store, job.out)
