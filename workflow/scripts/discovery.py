"""Adapter: a bundle and rival directions, found at the reference."""

from emodrift.store.job import open_job
from emodrift.vectors.discovery import DiscoveryParams, discover

with open_job(snakemake) as job:
    discover(DiscoveryParams(**job.params), **job.inputs, out=job.out)
