"""Adapter: load checkpoints in turn, and make what is missing of their measurements."""

import torch

from emodrift.measure.visit import visit_checkpoints
from emodrift.store.job import open_job

with open_job(snakemake) as job:
    torch.set_num_threads(snakemake.threads)
    visit_checkpoints(job.params["checkpoints"], job.store, job.out)
