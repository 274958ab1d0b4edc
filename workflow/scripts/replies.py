"""Adapter: judged replies of one checkpoint, most of which were written with its responses."""

from emodrift.judging.verdicts import judge_replies
from emodrift.store.entry import entry_exists
from emodrift.store.job import open_job

with open_job(snakemake) as job:
    texts, contrasts = job.params["texts"], job.inputs["contrasts"]
    if not entry_exists(job.store / texts["place"]):
        import torch

        from emodrift.measure.arrays import list_folders, read_norms
        from emodrift.measure.replies import keep_replies
        from emodrift.models.loading import load_model
        from emodrift.vectors.lock import pick_directions

        torch.set_num_threads(snakemake.threads)
        model = load_model(**job.params["model"], label=job.label)
        loading = job.params["model"]["loading"]
        norms = read_norms(list_folders(job.inputs["activations"], "gradients"))
        directions = pick_directions(job.inputs["lock"], texts["recipe"]["steered"])
        keep_replies(model, texts, contrasts, directions, norms, job.store, loading, job.label)
    judge_replies(
        job.store / texts["place"],
        job.params["judge"],
        job.params["connection"],
        contrasts,
        job.store / "judge-verdicts",
        job.out,
    )
