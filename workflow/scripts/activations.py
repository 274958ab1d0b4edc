"""Adapter: activations of one checkpoint."""

import torch

from emodrift.measure.activations import measure_activations
from emodrift.store.job import open_job

with open_job(snakemake) as job:
    torch.set_num_threads(snakemake.threads)
    measure_activations(
        **job.params, **job.inputs, out=job.out, store=job.store, code=job.code, label=job.label
    )
