"""Adapter: a stage over all checkpoints, by the function that its module declares."""

from importlib import import_module
from typing import get_type_hints

from pydantic import TypeAdapter

from emodrift.store.job import open_job

with open_job(snakemake) as job:
    params = dict(job.params)
    module, _, function = params.pop("function").partition(":")
    summarise = getattr(import_module(module), function)
    types = get_type_hints(summarise)
    asked = TypeAdapter(types["params"]).validate_python(params)
    summarise(asked, types["inputs"](**job.inputs), job.out)
