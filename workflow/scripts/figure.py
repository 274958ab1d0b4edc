"""Adapter: draw one figure."""

from emodrift.show.figure import draw_figure
from emodrift.store.job import open_job

with open_job(snakemake) as job:
    draw_figure(**job.params, entries=job.inputs, out=job.out)
