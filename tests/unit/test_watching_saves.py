"""A callback measures what a Trainer saves, and a study that reads it later measures nothing."""

import copy
import csv
import logging
import os
import pickle
import shutil
import subprocess
import sys

import pytest
import torch
import yaml
from transformers import Trainer, TrainingArguments

from emodrift.config.reading import parse_study
from emodrift.errors import EmodriftError
from emodrift.models.sharing import are_saved, share_model
from emodrift.plan.watched import list_measurements, plan_watched
from emodrift.store.entry import entry_exists, read_content, read_manifest
from emodrift.training import AuditCallback, Watch
from tests.conftest import ROOT, STUDY, make_llama
from tests.jobs import list_visits, make_stages

GENERATION = {"prompts_per_cell": 1, "max_new_tokens": 6, "judge": "replies", "strengths": [0.5]}


def write_config(folder, trained=True):
    """A study of a base and of what a training in ``runs/sft`` saves."""
    values = copy.deepcopy(STUDY)
    checkpoints = [{"path": f"{folder}/runs/base", "step": 0}]
    if trained:
        checkpoints.append(f"{folder}/runs/sft/checkpoint-*")
    values["runs"]["sft"]["checkpoints"] = checkpoints
    values["generation"] = GENERATION
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def open_config(path):
    return parse_study(yaml.safe_load(path.read_text()))


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A folder with a base, dropout in its config, that a study has locked and measured."""
    folder = tmp_path_factory.mktemp("base")
    network, tokenizer = make_llama(seed=0)
    network.config.attention_dropout = 0.2
    network.save_pretrained(folder / "runs/base")
    tokenizer.save_pretrained(folder / "runs/base")
    make_stages(open_config(write_config(folder, trained=False)), folder / "results", "visit")
    return folder


@pytest.fixture
def place(base, tmp_path):
    """A copy of it in which a training may write."""
    folder = tmp_path / "place"
    shutil.copytree(base, folder)
    make_stages(open_config(write_config(folder, trained=False)), folder / "results", "visit")
    return folder


class Texts(torch.utils.data.Dataset):
    """Rows of token ids to be predicted: of many kinds, or one and the same."""

    def __init__(self, same=False):
        self.rows = torch.randint(5, 40, (64, 12), generator=torch.Generator().manual_seed(1))
        if same:
            self.rows[:] = 7

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, item):
        return {"input_ids": self.rows[item], "labels": self.rows[item]}


def train(folder, callback, same=False, change=lambda network: network, **more):
    """Train the base by a real Trainer, saving every other step."""
    network, tokenizer = make_llama(seed=0)
    network.config.attention_dropout = 0.2
    settings = {
        "output_dir": str(folder / "runs/sft"), "max_steps": 4, "save_steps": 2, "use_cpu": True,
        "save_strategy": "steps", "per_device_train_batch_size": 4, "learning_rate": 1e-3,
        "report_to": [], "disable_tqdm": True, "seed": 3, "lr_scheduler_type": "constant",
    }  # fmt: skip
    arguments = TrainingArguments(**settings | more)
    trainer = Trainer(
        change(network), arguments, train_dataset=Texts(same), processing_class=tokenizer
    )
    if callback is not None:
        callback.attach(trainer)
    trainer.train()
    return trainer


def watch(folder, **more):
    given = Watch(**{"share": 1e9, **more})
    return AuditCallback.of_study(folder / "study.yaml", given, folder / "results")


def test_a_study_that_reads_what_was_watched_runs_no_visit_and_finds_its_own_bytes(place, tmp_path):
    elsewhere = tmp_path / "results"
    shutil.copytree(place / "results", elsewhere)
    callback = watch(place)
    trainer = train(place, callback, bf16=True)
    assert not callback.failures and len(callback.rows) == 2

    study = open_config(write_config(place))
    plan = plan_watched(study, place / "results")
    assert [c.step for c in plan.checkpoints] == [0, 2, 4] and list_visits(plan) == []

    made = make_stages(study, elsewhere, "visit")
    watched = [e for number in (1, 2) for e in list_measurements(plan, number)]
    stages = {entry.stage for entry in watched}
    assert stages == {"activations", "gradients", "responses", "replies"}
    for entry in watched:
        ours, theirs = plan.store / entry.place, made.store / entry.place
        assert ours in callback.instrument.made and entry_exists(theirs)
        assert read_content(ours) == read_content(theirs), entry.place
        for name in ("params", "inputs", "context", "code", "key"):
            assert read_manifest(ours)[name] == read_manifest(theirs)[name]
    assert trainer.model.training
