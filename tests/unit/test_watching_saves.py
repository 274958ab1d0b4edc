"""A callback measures what a Trainer saves, and a study that reads it later measures nothing."""

import copy
import csv
import logging
import os
import shutil
import subprocess
import sys

import pandas as pd
import pytest
import torch
import yaml
from transformers import Trainer, TrainerCallback, TrainingArguments

from emodrift.config.reading import parse_study
from emodrift.errors import EmodriftError
from emodrift.models.precision import MixedLinear
from emodrift.models.sharing import are_saved, share_model
from emodrift.plan.study import plan_study
from emodrift.plan.watched import list_measurements, plan_watched
from emodrift.store.entry import entry_exists, read_content, read_manifest
from emodrift.training import AuditCallback, Watch
from emodrift.watching.instrument import Found, Training
from emodrift.watching.saves import open_save, read_judgement
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


def make_network():
    """The base, with dropout in training."""
    network, tokenizer = make_llama(seed=0)
    network.config.attention_dropout = 0.2
    for module in network.modules():
        if hasattr(module, "attention_dropout"):
            module.attention_dropout = 0.2
    return network, tokenizer


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A folder with a base, dropout in its config, that a study has locked and measured."""
    folder = tmp_path_factory.mktemp("base")
    network, tokenizer = make_network()
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
    network, tokenizer = make_network()
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


def test_indicators_are_those_that_the_study_tells_and_an_alarm_of_its_stops(place, monkeypatch):
    rows = []
    monkeypatch.setattr(
        "emodrift.watching.saves.read_judgement",
        lambda table, sentence: rows.append(table) or Found({"cvdi": 0.5}, {"cvdi": 0.5}, sentence),
    )
    callback = watch(place, on_alarm="stop")
    trainer = train(place, callback)
    assert trainer.state.global_step == 2 and [a.step for a in callback.alarms] == [2]
    assert set(rows[0]["run"]) == {"sft-watched"} and set(rows[0]["step"]) == {2}
    assert "sft-watched" in callback.alarms[0].sentence
    with (place / "runs/sft/emodrift.csv").open() as file:
        (told,) = csv.DictReader(file)
    assert told.items() >= {"step": "2", "alarm": "1", "cvdi": "0.5"}.items()
    assert {"step": 2, "emodrift/cvdi": 0.5}.items() <= trainer.state.log_history[-2].items()


def test_only_indicators_that_apply_are_told():
    rows = pd.DataFrame({
        "indicator": ["cvdi", "ebci", "lock_in"], "value": [0.4, 0.1, None],
        "alarm": [True, False, False], "applicable": [True, True, False],
    })  # fmt: skip
    found = read_judgement(rows, "said")
    assert found == Found({"cvdi": 0.4, "ebci": 0.1}, {"cvdi": 0.4}, "said")


def test_a_checkpoint_that_does_not_fit_into_the_share_is_left_to_the_study(place, caplog):
    callback = watch(place, share=1e-9)
    with caplog.at_level(logging.WARNING):
        train(place, callback, max_steps=2)
    assert callback.left_out == [2] and not callback.instrument.made
    assert "step 2 is not measured: that takes about" in caplog.text
    plan = plan_watched(open_config(write_config(place)), place / "results")
    assert list_visits(plan) == ["sft step 0, sft step 2"]


def test_a_save_that_cannot_be_measured_does_not_end_the_training(place, caplog):
    callback = watch(place)

    def break_it(args, state, control, **kwargs):
        next((place / "runs/sft/checkpoint-2").glob("tokenizer.json")).write_text("{")

    class Breaking(TrainerCallback):
        on_save = staticmethod(break_it)

    network, tokenizer = make_llama(seed=0)
    arguments = TrainingArguments(
        output_dir=str(place / "runs/sft"), max_steps=3, save_steps=2, use_cpu=True, report_to=[],
        disable_tqdm=True, save_strategy="steps",
    )  # fmt: skip
    trainer = Trainer(
        network, arguments, train_dataset=Texts(), processing_class=tokenizer, callbacks=[Breaking]
    )
    callback.attach(trainer)
    with caplog.at_level(logging.WARNING):
        trainer.train()
    assert trainer.state.global_step == 3 and len(callback.failures) >= 1
    assert "nothing is measured at step 2" in caplog.text


def test_a_training_that_is_watched_ends_with_the_weights_it_would_have_had(place):
    watched = train(place, watch(place), max_steps=3)
    alone = train(place / "alone", None, max_steps=3)
    for ours, theirs in zip(watched.model.parameters(), alone.model.parameters(), strict=True):
        assert torch.equal(ours, theirs) and ours.requires_grad == theirs.requires_grad


def test_weights_are_shared_only_where_the_folder_holds_them(base, tmp_path):
    network, _ = make_llama(seed=0)
    folder, loading = base / "runs/base", {"device": "auto", "allow_pickle": False}
    chat = {"template": None, "system_prompt": None, "template_arguments": {}}
    shared = share_model(network.train(), folder, loading, "float32", "base", chat)
    places = {w.data_ptr() for w in network.parameters()}
    assert {w.data_ptr() for w in shared.network.parameters()} <= places
    assert network.training and not shared.network.training
    assert all(w.requires_grad for w in network.parameters())
    half = share_model(network, folder, loading, "bfloat16", "base", chat)
    assert half.network.dtype == torch.bfloat16 and network.dtype == torch.float32
    with torch.no_grad():
        next(network.parameters())[0, 0] += 1
    assert not are_saved(network.state_dict(), folder)
    assert share_model(network, folder, loading, "float32", "base", chat) is None


def test_a_save_is_measured_in_the_precision_of_the_study(base, tmp_path):
    network, tokenizer = make_llama(seed=1)
    folder = tmp_path / "runs/sft/checkpoint-2"
    network.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    values = copy.deepcopy(STUDY) | {"compute": {"dtype": "bfloat16-mixed"}}
    values["runs"]["sft"]["checkpoints"] = [{"path": str(folder), "step": 0}]
    plan = plan_study(parse_study(values), tmp_path / "results")
    model = open_save(Training(network, tokenizer, 2, folder), plan.checkpoints[0], plan)
    layers = [m for m in model.network.modules() if isinstance(m, torch.nn.Linear)]
    assert layers and all(type(layer) is MixedLinear for layer in layers)
    assert model.network.get_input_embeddings().weight.dtype == torch.float32
    assert {w.dtype for w in network.parameters()} == {torch.float32}
    assert not any(type(m) is MixedLinear for m in network.modules())


def test_a_study_whose_reference_is_not_measured_is_told_so(base, tmp_path):
    with pytest.raises(EmodriftError, match="has no contrasts yet; make its lock before"):
        AuditCallback.of_study(write_config(base, trained=False), results=tmp_path / "results")


RANKS = """
import sys
from pathlib import Path
import emodrift.watching.saves as saves
from emodrift.watching.instrument import Found
from tests.unit.test_watching_saves import train, watch

folder = Path(sys.argv[1])
judge = saves.read_judgement
saves.read_judgement = lambda rows, said: Found({"cvdi": 1.0}, {"cvdi": 1.0}, said)
callback = watch(folder, on_alarm="stop")
trainer = train(folder, callback, max_steps=6, ddp_backend="gloo")
rank, made = trainer.args.process_index, len(callback.instrument.made)
(folder / f"rank{rank}").write_text(f"{trainer.state.global_step} {made > 0}")
"""


def test_two_processes_stop_together_and_the_first_alone_measures(place):
    (place / "ranks.py").write_text(RANKS)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone"]
    subprocess.run(
        [*launcher, place / "ranks.py", place],
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        timeout=1800,
        check=True,
        capture_output=True,
    )
    first, second = ((place / f"rank{rank}").read_text().split() for rank in (0, 1))
    assert first == ["2", "True"] and second == ["2", "False"]
