"""A config that names its checkpoints alone, and gets everything else that is shipped.

Texts are as few as they may be, and the models are of random weights: what is held is that all
emotions, bundles and metrics get through to the report.
"""

import shutil

import pandas as pd
import yaml

from emodrift.config.reading import parse_study
from tests.conftest import ROOT, copy_project, save_checkpoint

FEWEST = {"stories": 14, "neutral": 8, "controls": 6, "prompts": 2, "phrasings": 1}


def test_a_config_of_checkpoints_alone_gets_through_to_its_report(tmp_path):
    project = copy_project(tmp_path)
    shutil.copytree(ROOT / "resources", project.folder / "resources", dirs_exist_ok=True)
    for step in (0, 5):
        save_checkpoint(project.folder / f"runs/mine/checkpoint-{step}", seed=step, step=step)
    values = {
        "name": "mine",
        "runs": {"mine": {"checkpoints": "runs/mine/checkpoint-*"}},
        "reference": {"run": "mine", "step": 0},
        "contrasts": {"amounts": FEWEST},
        "behaviours": {"minimum_prompts": FEWEST["prompts"]},
    }
    project.config.write_text(yaml.safe_dump(values, sort_keys=False))
    project.run()
    study = parse_study(values)
    published = project.folder / "results/mine"
    effects = pd.read_csv(published / "tables/effects.csv")
    names = {*study.contrasts.emotions, *study.contrasts.bundles}
    assert len(names) > 30 and set(effects["concept"]) == names
    assert set(effects["metric"]) == set(study.behaviours.metrics)
    assert "No run could be judged" in (published / "report.html").read_text()
