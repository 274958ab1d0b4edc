"""Adapter: drift over all checkpoints."""

from pydantic import TypeAdapter

from emodrift.drift.geometry import DriftInputs, DriftParams, measure_drift
from emodrift.store.job import open_job

with open_job(snakemake) as job:
    params = TypeAdapter(DriftParams).validate_python(job.params)
    measure_drift(params, DriftInputs(**job.inputs), job.out)
