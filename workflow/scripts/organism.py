"""Adapter: train one run of the embedded organism."""

import torch
from pydantic import TypeAdapter

from emodrift.checkpoints.checkpoint import find_last_checkpoint
from emodrift.config.organism import ModelShape, RunRecipe
from emodrift.organisms.training import train_organism
from emodrift.store.job import open_job

with open_job(snakemake) as job:
    torch.set_num_threads(snakemake.threads)
    train_organism(
        TypeAdapter(RunRecipe).validate_python(job.params["recipe"]),
        ModelShape(**job.params["model"]),
        job.params["seed"],
        find_last_checkpoint(job.inputs["start"]) if "start" in job.inputs else None,
        job.out,
        name=job.label,
    )
