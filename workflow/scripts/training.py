"""Adapter: one run of the study's own training."""

from pathlib import Path

import torch
from pydantic import TypeAdapter

from emodrift.config.training import AnyRecipe
from emodrift.store.job import open_job
from emodrift.training.base import locate_base
from emodrift.training.run import Course, train_run

with open_job(snakemake) as job:
    torch.set_num_threads(snakemake.threads)
    course = Course(
        locate_base(job.params["location"], job.inputs["base"]),
        job.inputs["base"],
        Path(job.params["data"]),
        job.params["replay"],
        job.params["reply_tokens"],
        job.params["dtype"],
    )
    train_run(
        TypeAdapter(AnyRecipe).validate_python(job.params["recipe"]),
        course,
        job.inputs.get("start"),
        job.partial,
        job.out,
        job.label,
    )
