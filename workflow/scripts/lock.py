"""Adapter: lock the reference's vectors."""

from emodrift.store.job import open_job
from emodrift.vectors.lock import LockParams, lock_vectors

with open_job(snakemake) as job:
    lock_vectors(LockParams(**job.params), **job.inputs, out=job.out)
