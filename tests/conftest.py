"""Fixtures: tiny models, a copy of the project to run, and the shared test data."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
import yaml
from filelock import FileLock
from threadpoolctl import threadpool_limits
from xdist.scheduler import LoadScopeScheduling

from emodrift.organisms.tokenizer import build_tokenizer
from emodrift.store.entry import write_entry

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared"

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # of the studies that tests start
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # their jobs import the same again and again
torch.set_num_threads(1)
threadpool_limits(1)


SPREAD = ("tests/workflow/test_what_reruns.py",)
"""Files whose tests may run in several processes; others share what they build for a file."""


class FileScheduling(LoadScopeScheduling):
    """A file's tests go to one worker, in order, but those of files that are spread."""

    def _split_scope(self, nodeid):
        file = nodeid.partition("::")[0]
        return nodeid if file in SPREAD else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    return FileScheduling(config, log)


def pytest_collection_modifyitems(config, items):
    """Where workers share the tests, studies come first: they take longest.

    The first test of a spread file comes before them, for it makes what the others wait for.
    """
    if not hasattr(config, "workerinput"):
        return
    begun = set()

    def rank(item):
        file = item.nodeid.partition("::")[0]
        if file not in SPREAD:
            return 3 if file.startswith("tests/unit/") else 1
        begins = file not in begun
        begun.add(file)
        return 0 if begins else 2

    items.sort(key=rank)


@pytest.fixture(scope="session")
def shared_data():
    """Folder of the shared test data, or a skip."""
    folder = SHARED / "data"
    if not folder.is_dir():
        pytest.skip(f"shared test data is not at {folder}")
    return folder


def make_llama(seed, hidden=32, layers=3):
    """A Llama with random weights and the grammar's vocabulary."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    tokenizer = build_tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=160,
        initializer_range=0.3,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    return LlamaForCausalLM(config), tokenizer


def save_checkpoint(folder, seed, step, **shape):
    """An ordinary Trainer checkpoint directory with random weights."""
    model, tokenizer = make_llama(seed, **shape)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    state = {"global_step": step, "num_input_tokens_seen": 100 * step}
    (folder / "trainer_state.json").write_text(json.dumps(state))
    return folder


@dataclass
class Project:
    """A copy of the project in a folder of its own, with a study over tiny checkpoints."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def study(self):
        return yaml.safe_load(self.config.read_text())

    @property
    def config(self):
        return self.folder / "config" / "study.yaml"

    def edit_study(self, change):
        study = self.study
        change(study)
        self.config.write_text(yaml.safe_dump(study, sort_keys=False))

    @property
    def command(self):
        return [sys.executable, "-m", "snakemake", "--configfile", "config/study.yaml"]

    @property
    def place(self):
        own = {"PYTHONPATH": str(self.folder / "workflow")}
        return {"cwd": self.folder, "env": os.environ | self.environment | own}

    def start(self):
        """Start Snakemake in a process group of its own."""
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        return subprocess.Popen(self.command, start_new_session=True, **self.place, **quiet)

    def run(self, *arguments, check=True):
        """Run Snakemake on the study."""
        done = subprocess.run(
            [*self.command, *arguments], capture_output=True, text=True, **self.place
        )
        if check and done.returncode:
            raise AssertionError(f"snakemake failed:\n{done.stdout}\n{done.stderr}")
        return done

    def copy_untouched(self, folder):
        """A copy of the study's config and checkpoints, without its results."""
        left = shutil.ignore_patterns("results", ".snakemake")
        shutil.copytree(self.folder, folder, ignore=left, copy_function=shutil.copy2)
        return Project(folder, dict(self.environment))

    def read_tables(self):
        """Published tables, byte for byte, by their place."""
        published = self.folder / "results" / self.study["name"]
        return {p.relative_to(published): p.read_bytes() for p in published.rglob("*.csv")}

    def list_jobs(self):
        """Stage -> number of jobs that would run now."""
        output = self.run("--dry-run", "--quiet", "host").stdout
        lines = (
            output[output.find("Job stats:") :].splitlines()[3:] if "Job stats" in output else []
        )
        jobs = {}
        for line in lines:
            words = line.split()
            if len(words) != 2 or words[0] == "total":
                break
            jobs[words[0]] = int(words[1])
        jobs.pop("all", None)
        return jobs


def write_stand_in(plan, entry):
    """Write an entry of a plan as a finished one, with no more in it than a plan reads."""
    files = {"file": entry.key}
    if entry.stage == "contrasts":
        kinds = {name: part["kind"] for name, part in entry.params["parts"].items()}
        record = {"reply_cue": "so"}
        files = {f"parts/{n}.jsonl": json.dumps(record | {"id": n}) + "\n" for n in kinds}
        files |= {"replies.json": "{}", "parts.json": json.dumps(kinds)}
    if entry.stage == "phrasings":
        files = {"replies.json": '{"refuse": ["no"]}'}
    if entry.stage == "lock":
        arrays = {f"lock.zarr/{name}/c": name for name in ("direction", "name", "layer")}
        files = arrays | {"layer.json": '{"layer": 2}', "bundles.json": "{}"}
    with write_entry(plan.store / entry.place, entry.describe()) as out:
        for name, text in files.items():
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            (out / name).write_text(text)


STUDY = {
    "name": "tiny",
    "runs": {"sft": {"checkpoints": "runs/sft/checkpoint-*", "stage": "sft"}},
    "reference": {"run": "sft", "step": 0},
    "contrasts": {
        "emotions": ["happy", "afraid", "worried", "eager"],
        "bundles": {"caution": ["afraid", "worried"], "eagerness": ["eager", "happy"]},
        "stories": {"generator": "grammar", "seed": 1, "amount": 12},
        "neutral": {"generator": "grammar", "seed": 2, "amount": 12},
        "controls": {"generator": "grammar", "seed": 3, "amount": 12},
        "prompts": {"generator": "grammar", "seed": 4, "amount": 8},
        "replies": "grammar",
    },
    "activations": {"pooling": "reply"},
    "vectors": {"layer": 2},
    "behaviours": {
        "phrasing_score": "sum",
        "metrics": {
            "refusal": {"suite": "harmful", "toward": "refuse", "bundles": ["caution"]},
            "over_refusal": {"suite": "benign", "toward": "refuse", "desired": "less"},
            "boundary_pushing": {"suite": "harmful", "toward": "comply", "desired": "less"},
            "overconfidence": {"suite": "unanswerable", "toward": "comply", "desired": "less"},
        },
    },
    "steering": {"random_directions": 4, "prompts_per_cell": 2},
    "statistics": {"draws": 100},
}


def copy_project(folder):
    """Copy what a study needs of the project."""
    for name in ("Snakefile", "workflow", "profiles"):
        source = ROOT / name
        if source.is_dir():
            ignore = shutil.ignore_patterns("__pycache__", "*.egg-info")
            shutil.copytree(source, folder / name, ignore=ignore)
        else:
            shutil.copy(source, folder / name)
    (folder / "resources").mkdir()
    shutil.copy(ROOT / "resources" / "emotions.yaml", folder / "resources")
    (folder / "config").mkdir()
    project = Project(folder)
    project.config.write_text(yaml.safe_dump(STUDY, sort_keys=False))
    return project


GENERATION = {"prompts_per_cell": 1, "max_new_tokens": 4, "judge": "replies"}


@pytest.fixture(scope="session")
def finished(tmp_path_factory, worker_id):
    """A finished study over two checkpoints, to be read or copied, never changed.

    Workers share it: the first to ask runs it while others wait.
    """
    root = tmp_path_factory.getbasetemp()
    place = (root if worker_id == "master" else root.parent) / "finished"
    with FileLock(f"{place}.lock"):
        if not place.exists():
            project = copy_project(tmp_path_factory.mktemp("project"))
            for step in (0, 10):
                folder = project.folder / f"runs/sft/checkpoint-{step}"
                save_checkpoint(folder, seed=step, step=step)
            project.edit_study(lambda s: s.update(generation=GENERATION))
            project.run()
            project.folder.rename(place)
    return Project(place)


@pytest.fixture
def study(finished, tmp_path):
    """A private copy of the finished study, times kept."""
    folder = tmp_path / "copy"
    shutil.copytree(finished.folder, folder, copy_function=shutil.copy2)
    return Project(folder)
