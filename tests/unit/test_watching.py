"""A callback measures a model in training, changes nothing, and stops a run that collapses."""

import copy
import csv
import json
import logging
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
import xarray as xr
import yaml
from transformers import Trainer, TrainingArguments

from emodrift.config.reading import parse_study
from emodrift.contrasts.dataset import DatasetParams, build_dataset
from emodrift.errors import EmodriftError
from emodrift.measure.arrays import save_array
from emodrift.models.memory import TokenBudget
from emodrift.plan.study import plan_study
from emodrift.watching.callback import AuditCallback, Watch
from emodrift.watching.glance import Glance
from emodrift.watching.indicators import compare_snapshots, find_alarms
from emodrift.watching.probe import pause_training, read_probe, take_snapshot, wrap_network
from tests.conftest import ROOT, STUDY, make_llama, save_checkpoint

HIDDEN = 32


@pytest.fixture(scope="module")
def probe(tmp_path_factory):
    """A probe on the grammar's texts, with directions drawn at random."""
    folder = tmp_path_factory.mktemp("probe")
    save_checkpoint(folder / "runs/sft/checkpoint-0", seed=0, step=0)
    values = copy.deepcopy(STUDY)
    values["runs"]["sft"]["checkpoints"] = f"{folder}/runs/sft/checkpoint-*"
    study = parse_study(values)
    (entry,) = plan_study(study, folder / "results").of_stage("contrasts")
    for name in ("contrasts", "lock"):
        (folder / name).mkdir()
    build_dataset(DatasetParams(**entry.params, **entry.context), folder / "contrasts")
    emotions = list(study.contrasts.emotions)
    rows = np.random.default_rng(0).standard_normal((len(emotions), HIDDEN)).astype(np.float32)
    lock = xr.Dataset(
        {"direction": (("direction", "hidden"), rows / np.linalg.norm(rows, axis=1)[:, None])},
        coords={
            "name": ("direction", np.array(emotions, dtype=object)),
            "kind": ("direction", np.array(["emotion"] * len(emotions), dtype=object)),
            "layer": 2,
        },
    )
    save_array(lock, folder / "lock/lock.zarr")
    bundles = {k: list(v) for k, v in study.contrasts.bundles.items()}
    (folder / "lock/bundles.json").write_text(json.dumps(bundles))
    return read_probe(study, folder / "lock", folder / "contrasts", prompts=4, topics=2)


class Texts(torch.utils.data.Dataset):
    """Rows of token ids to be predicted: of many kinds, or one and the same."""

    def __init__(self, same, rows=64):
        generator = torch.Generator().manual_seed(1)
        self.rows = torch.randint(5, 40, (rows, 12), generator=generator)
        if same:
            self.rows[:] = 7

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, item):
        return {"input_ids": self.rows[item], "labels": self.rows[item]}


def train(folder, callback=None, *, same=False, rate=1e-6, steps=8, model=None):
    network, tokenizer = make_llama(seed=0)
    arguments = TrainingArguments(
        output_dir=str(folder), max_steps=steps, per_device_train_batch_size=4, use_cpu=True,
        learning_rate=rate, lr_scheduler_type="constant", save_strategy="no", report_to=[],
        disable_tqdm=True, seed=3, logging_steps=1000, max_grad_norm=0.0,
    )  # fmt: skip
    trainer = Trainer(network, arguments, train_dataset=Texts(same), processing_class=tokenizer)
    if callback is not None:
        callback.attach(trainer)
    trainer.train()
    return trainer


def watch(**more):
    return Watch(**{"every": 2, "share": 1e9, **more})


def test_a_collapsing_run_is_stopped_and_says_why(probe, tmp_path, caplog):
    callback = AuditCallback(Glance(probe), watch(on_alarm="stop"))
    with caplog.at_level(logging.WARNING):
        trainer = train(tmp_path, callback, same=True, rate=0.05, steps=20)
    assert trainer.state.global_step < 20
    (alarm,) = callback.alarms
    assert alarm.step == trainer.state.global_step and "drift" in alarm.indicators
    assert f"emodrift: alarm at step {alarm.step} (" in caplog.text


def test_a_sound_run_is_not_stopped_and_ends_with_the_weights_it_would_have_had(probe, tmp_path):
    callback = AuditCallback(Glance(probe), watch(on_alarm="stop"))
    watched = train(tmp_path / "watched", callback)
    assert watched.state.global_step == 8 and not callback.alarms
    alone = train(tmp_path / "alone")
    for ours, theirs in zip(watched.model.parameters(), alone.model.parameters(), strict=True):
        assert torch.equal(ours, theirs)
        assert ours.requires_grad == theirs.requires_grad
    assert watched.model.training == alone.model.training


def test_values_go_to_a_table_and_to_the_trainers_log(probe, tmp_path):
    callback = AuditCallback(Glance(probe), watch())
    trainer = train(tmp_path, callback, steps=4)
    with (tmp_path / "emodrift.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["2", "4"]
    logged = [entry for entry in trainer.state.log_history if "emodrift/cvdi" in entry]
    assert [entry["step"] for entry in logged] == [2, 4]
    assert logged[1]["emodrift/drift"] == pytest.approx(float(rows[1]["drift"]), abs=1e-5)


def test_a_function_is_called_with_the_alarm_and_the_run_goes_on(probe, tmp_path):
    heard = []
    limits = {"drift": -1.0}
    glance = Glance(probe, limits, consecutive=2)
    callback = AuditCallback(glance, watch(on_alarm=heard.append))
    trainer = train(tmp_path, callback, steps=6)
    assert [alarm.step for alarm in heard] == [4, 6] and trainer.state.global_step == 6


def test_measurements_that_would_exceed_the_share_of_time_are_left_out(probe, tmp_path):
    callback = AuditCallback(Glance(probe), watch(share=1e-9))
    train(tmp_path, callback, steps=6)
    assert (callback.left_out, callback.rows) == ([2, 4, 6], []) and callback.spent < 0.1


def test_a_model_is_no_distance_from_itself_and_a_turned_one_is_told(probe):
    network, tokenizer = make_llama(seed=0)
    with pause_training(network):
        model = wrap_network(network, tokenizer)
        start = take_snapshot(model, probe, TokenBudget(4096))
        same = compare_snapshots(take_snapshot(model, probe, TokenBudget(4096)), start, probe)
        assert (same["cvdi"], same["ebci"]) == (0, 0) and abs(same["drift"]) < 1e-6
        turned = start._replace(vector=-start.vector, slope=0.1 * start.slope)
        found = compare_snapshots(turned, start, probe)
    assert found["drift"] == pytest.approx(2, abs=1e-5)
    assert found["ebci"] >= 0.89 and found["size"] == pytest.approx(0.1 * same["size"])


RANKS = """
import pickle, sys
from pathlib import Path
from emodrift.watching.callback import AuditCallback
from emodrift.watching.glance import Glance
from tests.unit.test_watching import train, watch

folder = Path(sys.argv[1])
probe = pickle.loads((folder / "probe").read_bytes())
callback = AuditCallback(Glance(probe), watch(on_alarm="stop"))
trainer = train(folder, callback, same=True, rate=0.05, steps=20)
rank, measured = trainer.args.process_index, len(callback.rows)
(folder / f"rank{rank}").write_text(f"{trainer.state.global_step} {measured > 0}")
"""


def test_all_ranks_stop_at_the_step_at_which_rank_0_says_so(probe, tmp_path):
    (tmp_path / "probe").write_bytes(pickle.dumps(probe))
    (tmp_path / "ranks.py").write_text(RANKS)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone"]
    subprocess.run(
        [*launcher, tmp_path / "ranks.py", tmp_path],
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        timeout=900,
        check=True,
        capture_output=True,
    )
    first, second = ((tmp_path / f"rank{rank}").read_text().split() for rank in (0, 1))
    assert first[0] == second[0] != "20"
    assert (first[1], second[1]) == ("True", "False")


def test_a_pause_puts_everything_back_even_after_an_error():
    network, _ = make_llama(seed=0)
    network.train()
    network.model.layers[0].eval()
    frozen = next(network.parameters()).requires_grad_(False)
    stream = torch.get_rng_state()
    with pytest.raises(KeyError), pause_training(network):
        assert not network.training and not any(p.requires_grad for p in network.parameters())
        torch.rand(3)
        raise KeyError
    assert network.training and not network.model.layers[0].training
    assert [p.requires_grad for p in network.parameters()].count(False) == 1
    assert not frozen.requires_grad and torch.equal(stream, torch.get_rng_state())


def test_an_alarm_needs_measurements_in_a_row_and_nan_is_one():
    rows = [{"drift": v} for v in (0.5, 0.1, 0.5, float("nan"))]
    assert find_alarms(rows[:3], {"drift": 0.3}, 2) == {}
    assert list(find_alarms(rows, {"drift": 0.3}, 2)) == ["drift"]
    assert find_alarms(rows[:1], {"drift": 0.3}, 2) == {}


def test_a_study_without_a_lock_is_told_how_to_make_it(tmp_path):
    save_checkpoint(tmp_path / "runs/sft/checkpoint-0", seed=0, step=0)
    values = copy.deepcopy(STUDY)
    values["runs"]["sft"]["checkpoints"] = f"{tmp_path}/runs/sft/checkpoint-*"
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(values))
    with pytest.raises(
        EmodriftError, match=r"has no contrasts yet; make its lock .*emodrift run CONFIG"
    ):
        AuditCallback.of_lock(tmp_path / "s.yaml", results=tmp_path / "results")
