"""Adapter: how much the conclusions move over variants."""

from emodrift.store.job import open_job
from emodrift.warning.sensitivity import (
    SensitivityInputs,
    SensitivityParams,
    measure_sensitivity,
)

with open_job(snakemake) as job:
    measure_sensitivity(SensitivityParams(**job.params), SensitivityInputs(**job.inputs), job.out)
