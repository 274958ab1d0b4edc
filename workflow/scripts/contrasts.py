"""Adapter: the contrast data set of the study."""

from emodrift.contrasts.dataset import DatasetParams, build_dataset
from emodrift.store.job import open_job

with open_job(snakemake) as job:
    build_dataset(DatasetParams(**job.params), job.out)
