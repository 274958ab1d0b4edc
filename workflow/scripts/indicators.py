"""Adapter: indicators, alarms and the audit."""

from emodrift.store.job import open_job
from emodrift.warning.audit import measure_indicators

with open_job(snakemake) as job:
    measure_indicators(**job.params, **job.inputs, out=job.out)
