"""Adapter: a judge's verdicts on the replies of some checkpoints."""

from emodrift.judging.verdicts import judge_replies
from emodrift.store.job import make_missing, open_job

with open_job(snakemake) as job:
    make_missing(
        job.params["entries"],
        job.store,
        lambda each: judge_replies(
            **each.params, **each.inputs, cache=each.store / "judge-verdicts", out=each.out
        ),
    )
