"""Adapter: responses of one checkpoint, unsteered and steered."""

import torch

from emodrift.measure.responses import measure_responses
from emodrift.store.job import open_job
from emodrift.vectors.lock import open_lock

with open_job(snakemake) as job:
    torch.set_num_threads(snakemake.threads)
    measure_responses(
        **job.params,
        contrasts=job.inputs["contrasts"],
        directions=open_lock(job.inputs["lock"])["direction"],
        out=job.out,
        label=job.label,
    )
