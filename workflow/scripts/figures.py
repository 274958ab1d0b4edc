"""Adapter: draw what is missing of a study's figures; all go to Snakemake's report, too."""

import shutil

from emodrift.show.figure import draw_missing
from emodrift.store.job import open_job

with open_job(snakemake) as job:
    draw_missing(job.params["entries"], job.store, snakemake.threads)
    (job.out / "images").mkdir()
    for entry in job.params["entries"]:
        drawn = job.store / entry["stage"] / entry["key"] / "figure.svg"
        shutil.copyfile(drawn, job.out / "images" / f"{entry['label']}.svg")
