"""Adapter: the HTML report."""

from emodrift.show.report.page import Study, write_report
from emodrift.store.job import open_job

with open_job(snakemake) as job:
    write_report(Study(**job.params), job.inputs, job.out)
