"""Adapter: activations and gradients of one checkpoint; most are measured with its responses."""

from emodrift.measure.parts import find_missing, list_parts, write_parts
from emodrift.store.job import open_job

with open_job(snakemake) as job:
    contrasts = job.inputs["contrasts"]
    parts = list_parts(contrasts, **job.params["reading"], code=job.code)
    missing = find_missing(parts, job.store)
    if missing:
        import torch

        from emodrift.measure.activations import measure_parts
        from emodrift.models.loading import load_model

        torch.set_num_threads(snakemake.threads)
        model = load_model(**job.params["model"], label=job.label)
        measure_parts(
            model, missing, contrasts, job.store, job.params["model"]["loading"], job.label
        )
    write_parts(parts, job.out)
