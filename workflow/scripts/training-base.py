"""Adapter: the model that training starts from, and its own replies."""

from pathlib import Path

import torch

from emodrift.store.job import open_job
from emodrift.training.base import prepare_base

with open_job(snakemake) as job:
    torch.set_num_threads(snakemake.threads)
    prepare_base(
        job.params["location"],
        Path(job.params["data"]),
        job.params["reply_tokens"],
        job.out,
        job.label,
    )
