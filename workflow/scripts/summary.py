"""Adapter: a stage over all checkpoints, by the function that its module declares."""

from importlib import import_module

from emodrift.store.job import open_job

with open_job(snakemake) as job:
    params = dict(job.params)
    module, _, function = params.pop("function").partition(":")
    summarise = getattr(import_module(module), function)
    summarise(**params, **job.inputs, out=job.out)
