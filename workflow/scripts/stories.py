"""Adapter: stories that a language model writes."""

import torch

from emodrift.contrasts.answers import keep_answers
from emodrift.contrasts.writing import StoryParams, write_stories
from emodrift.models.chat import open_chat
from emodrift.store.job import open_job

with open_job(snakemake) as job:
    torch.set_num_threads(snakemake.threads)
    task = dict(job.params)
    writer, dtype, connection = task["writer"], task.pop("dtype"), task.pop("connection")
    sampling = {
        k: writer[k] for k in ("model", "endpoint", "temperature", "maximum_tokens", "options")
    }
    ask = keep_answers(
        open_chat(writer, task["seed"], dtype, connection),
        job.store / "answers",
        [task.pop("model") or writer["model"], sampling, dtype, task["seed"]],
    )
    write_stories(StoryParams(**task), ask, job.out)
