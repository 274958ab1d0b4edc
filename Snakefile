"""emodrift: from training checkpoints to emotion-vector drift, indicators, figures and a report.

The study is config/config.yaml, or the file given with --configfile.
"""

import gc
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.logging import logger
from snakemake.settings.enums import Quietness

from emodrift.errors import EmodriftError
from emodrift.store.digest import digest_value
from emodrift.store.downloads import release_downloads
from emodrift.store.entry import MANIFEST
from emodrift.store.files import check_disk
from emodrift.store.job import spare_retries
from emodrift.store.stamps import forget_incomplete
from emodrift.config.reading import parse_study
from emodrift.plan.graph import read_meanings
from emodrift.plan.jobs import forget_unmade
from emodrift.plan.needs import Needs
from emodrift.plan.study import plan_study
from emodrift.plan.until import is_known, list_until
from emodrift.plan.disk import check_free_space

if not workflow.overwrite_configfiles:

    configfile: "config/config.yaml"


include: "workflow/rules/plan.smk"
include: "workflow/rules/cluster.smk"
include: "workflow/rules/organism.smk"
include: "workflow/rules/training.smk"
include: "workflow/rules/contrasts.smk"
include: "workflow/rules/measure.smk"
include: "workflow/rules/vectors.smk"
include: "workflow/rules/drift.smk"
include: "workflow/rules/warning.smk"
include: "workflow/rules/show.smk"


rule all:
    default_target: True
    input:
        published,


forget_groups()
