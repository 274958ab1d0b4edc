"""Adapter: the HTML report."""

from emodrift.show.report.page import Study, write_report
from emodrift.store.job import open_job

with open_job(snakemake) as job:
    tables = job.inputs.pop("tables")
    write_report(Study(**job.params), {**tables, **job.inputs}, job.out)
