"""Adapter: responses of one checkpoint. It is loaded once: activations and replies come with it."""

import torch

from emodrift.measure.activations import measure_parts
from emodrift.measure.arrays import read_norms
from emodrift.measure.parts import find_missing, list_parts
from emodrift.measure.replies import keep_replies
from emodrift.measure.responses import measure_responses
from emodrift.models.loading import load_model
from emodrift.store.job import open_job
from emodrift.vectors.lock import open_lock, pick_directions

with open_job(snakemake) as job:
    torch.set_num_threads(snakemake.threads)
    contrasts, loading = job.inputs["contrasts"], job.params["model"]["loading"]
    model = load_model(**job.params["model"], label=job.label)
    parts = list_parts(contrasts, **job.params["activations"])
    missing = find_missing(parts, job.store)
    measure_parts(model, missing, contrasts, job.store, loading, job.label)
    norms = read_norms([job.store / p.place for p in parts if p.kind == "gradients"])
    if texts := job.params["texts"]:
        directions = pick_directions(job.inputs["lock"], texts["recipe"]["steered"])
        keep_replies(model, texts, contrasts, directions, norms, job.store, loading, job.label)
    measure_responses(
        model,
        asking=job.params["asking"],
        batch_tokens=loading["batch_tokens"],
        contrasts=contrasts,
        directions=open_lock(job.inputs["lock"])["direction"],
        norms=norms,
        out=job.out,
        partial=job.partial,
        label=job.label,
    )
