"""One training run: loaded, trained or taken up again, and its checkpoints written."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import Any, NamedTuple

from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
    set_seed,
)

from emodrift.checkpoints.checkpoint import find_last_checkpoint
from emodrift.config.training import TrainingRecipe
from emodrift.models.loading import fetch_folder
from emodrift.models.products import speed_products
from emodrift.training.base import REPLIES
from emodrift.training.chats import check_template
from emodrift.training.dialogues import read_dialogues, read_own_replies
from emodrift.training.regimes import Curriculum
from emodrift.training.trainers import Trainee, build_trainer

ADAPTER_SCALE = 2
STATE = "trainer_state.json"
RESUMING = ("optimizer.pt", "scheduler.pt", "rng_state.pth")
CLUTTER = ("training_args.bin", "README.md", "ref", *RESUMING)
TIMING_KEYS = ("step_time", "train_runtime", "train_tokens_per_second")

log = logging.getLogger(__name__)


class Course(NamedTuple):
    """What all runs of a `training` section share.

    Parameters
    ----------
    base
        Location of the base, as in :func:`emodrift.models.loading.load_model`; a directory or a
        place on the hub.
    replies
        Entry with the base's own replies.
    data
        Folder of dialogues.
    replay, reply_tokens, dtype
        As in the config.
    """

    base: dict[str, Any]
    replies: Path
    data: Path
    replay: float
    reply_tokens: int
    dtype: str


def train_run(
    recipe: TrainingRecipe,
    course: Course,
    start: Path | None,
    workplace: Path,
    out: Path,
    label: str,
) -> None:
    """Train one run and write its checkpoints.

    Parameters
    ----------
    recipe
        How to train.
    course
        The base and the data.
    start
        Entry of the run that this one goes on from; None starts from the base.
    workplace
        Folder of the run while it is unfinished. A job that finds checkpoints of a killed one there
        goes on from the last whole one, and comes to the same result.
    out
        Receives ``checkpoint-<step>/`` for every one of the recipe's save steps.
    label
        The run, to name in log lines and errors.

    Raises
    ------
    EmodriftError
        The base has no chat template.
    """
    set_seed(recipe.seed)
    trainee = _load_trainee(recipe, course, start and find_last_checkpoint(start), label)
    curriculum = Curriculum(
        recipe.regime,
        read_dialogues(course.data, "training.data"),
        read_own_replies(course.replies / REPLIES),
        course.replay,
    )
    workplace.mkdir(parents=True, exist_ok=True)
    last = find_whole_checkpoint(workplace)
    trainer = build_trainer(
        recipe, trainee, curriculum, workplace, CheckpointCallback(recipe.save_steps, label)
    )
    trainer.callback_handler.callbacks = [
        callback
        for callback in trainer.callback_handler.callbacks
        if type(callback).__name__ != "PrinterCallback"
    ]
    if last:
        log.info("%s: goes on from step %s", label, last.name.rpartition("-")[2])
    trainer.train(resume_from_checkpoint=str(last) if last else None)
    for step in recipe.save_steps:
        folder = out / f"checkpoint-{step}"
        shutil.copytree(workplace / folder.name, folder, ignore=shutil.ignore_patterns(*CLUTTER))


def find_whole_checkpoint(folder: Path) -> Path | None:
    """Last checkpoint from which training can go on; half-written ones are deleted.

    The Trainer writes its state last, so that a checkpoint with a readable one is whole.
    """
    whole = []
    for checkpoint in folder.glob("checkpoint-*"):
        try:
            step = json.loads((checkpoint / STATE).read_text())["global_step"]
        except (OSError, ValueError, KeyError):
            shutil.rmtree(checkpoint)
            continue
        if step and all((checkpoint / name).is_file() for name in RESUMING):
            whole.append((step, checkpoint))
    return max(whole)[1] if whole else None


class CheckpointCallback(TrainerCallback):
    """Save at given steps, keep what resuming takes of the last one alone, and log the loss.

    Parameters
    ----------
    save_steps
        Steps to save at; 0 saves the start.
    label
        The run, to name in log lines.
    """

    def __init__(self, save_steps: tuple[int, ...], label: str) -> None:
        self.save_steps = save_steps
        self.label = label

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Save the start, if step 0 is wanted."""
        if 0 in self.save_steps and state.global_step == 0:
            folder = Path(args.output_dir, "checkpoint-0")
            kwargs["model"].save_pretrained(folder)
            kwargs["processing_class"].save_pretrained(folder)
            state.save_to_json(str(folder / STATE))

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Ask for a checkpoint at the wanted steps."""
        control.should_save = state.global_step in self.save_steps

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Delete what resuming from earlier checkpoints would take."""
        for earlier in Path(args.output_dir).glob("checkpoint-*"):
            if earlier.name != f"checkpoint-{state.global_step}":
                for name in RESUMING:
                    (earlier / name).unlink(missing_ok=True)

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Log run, step and loss; drop timings, which differ from run to run."""
        entry = state.log_history[-1]
        for key in TIMING_KEYS:
            entry.pop(key, None)
        if "loss" in entry:
            step = f"step {state.global_step} of {state.max_steps}"
            log.info("%s: %s, loss %.3f", self.label, step, entry["loss"])


def _load_trainee(
    recipe: TrainingRecipe, course: Course, start: Path | None, label: str
) -> Trainee:
    from peft import LoraConfig, PeftModel, get_peft_model

    model = fetch_folder(course.base, allow_pickle=False, label=label)
    tokenizer = AutoTokenizer.from_pretrained(model, trust_remote_code=False)
    check_template(tokenizer, label)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    lora = recipe.method == "lora"
    place = model if lora or start is None else start
    network = AutoModelForCausalLM.from_pretrained(place, trust_remote_code=False, dtype="float32")
    if lora and start:
        network = PeftModel.from_pretrained(network, start, is_trainable=True)
    elif lora:
        network = get_peft_model(
            network,
            LoraConfig(
                r=recipe.rank,
                lora_alpha=ADAPTER_SCALE * recipe.rank,
                target_modules="all-linear",
                task_type="CAUSAL_LM",
            ),
        )
    mixed = course.dtype == "bfloat16-mixed"
    if lora and not mixed:
        speed_products(network)
    if lora:
        named = network.peft_config["default"]
        named.base_model_name_or_path = course.base.get("repo", str(model))
        named.revision = course.base.get("commit")
    return Trainee(network, tokenizer, course.reply_tokens, mixed)
