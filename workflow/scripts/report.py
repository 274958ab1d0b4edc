"""Adapter: the HTML report."""

from emodrift.show.report import write_report
from emodrift.store.job import open_job

with open_job(snakemake) as job:
    write_report(**job.params, **job.inputs, out=job.out)
