"""Training of one organism run with the Hugging Face and TRL trainers.

Every run leaves ordinary Trainer checkpoint directories, so an embedded study reads its own
models exactly as it reads anybody's.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from transformers import (
    DataCollatorForSeq2Seq,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
    set_seed,
)

from emodrift.config.organism import (
    LanguageModeling,
    ModelShape,
    PreferenceOptimization,
    Recipe,
    ReinforcementLearning,
    SupervisedFineTuning,
)
from emodrift.grammar.training import sample_dialogues
from emodrift.organisms.optimizers import MuonWithAdamW
from emodrift.organisms.replay import Replay, ReplayMixin
from emodrift.organisms.texts import encode_dialogues, sample_document_batches
from emodrift.organisms.tokenizer import build_tokenizer

MAX_TOKENS = 160
INITIAL_WEIGHT_SD = 0.05
LOG_STEPS = 10
SCHEDULES = {"constant": "constant_with_warmup", "cosine": "cosine"}
SEED_STRIDE = 1000
TIMING_KEYS = ("step_time", "train_runtime", "train_tokens_per_second")

log = logging.getLogger(__name__)


def train_organism(
    recipe: Recipe,
    shape: ModelShape,
    seed: int,
    start: Path | None,
    out: Path,
    name: str | None = None,
) -> None:
    """Train one run and write its checkpoints.

    Parameters
    ----------
    recipe : Recipe
        How to train.
    shape : ModelShape
        Shape of the model; used where `start` is None.
    seed : int
        The organism section's seed; with the recipe's offset it gives the run's.
    start : Path or None
        Checkpoint directory to start from; None starts from random weights.
    out : Path
        Directory that receives ``checkpoint-<step>/`` for every one of the recipe's save steps.
    name : str, optional
        Run's name in log lines; left out, that of `out`.

    Notes
    -----
    Runs on the CPU in float32 with as many threads as torch is set to; the same arguments and
    thread count give the same bytes.
    """
    seed = SEED_STRIDE * seed + recipe.seed_offset
    set_seed(seed)
    if start:
        tokenizer = PreTrainedTokenizerFast.from_pretrained(start, trust_remote_code=False)
        model = LlamaForCausalLM.from_pretrained(start, trust_remote_code=False)
    else:
        tokenizer = build_tokenizer()
        model = build_model(shape, tokenizer)
    model.set_attn_implementation("eager")
    trainer = TRAINERS[type(recipe)](recipe, model, tokenizer, seed, out)
    trainer.callback_handler.callbacks = [
        callback
        for callback in trainer.callback_handler.callbacks
        if type(callback).__name__ != "PrinterCallback"
    ]
    trainer.add_callback(CheckpointCallback(recipe.save_steps, name or out.name))
    trainer.train()


def build_model(shape: ModelShape, tokenizer: PreTrainedTokenizerBase) -> LlamaForCausalLM:
    """Return a decoder with random weights from torch's global generator."""
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=shape.hidden,
            intermediate_size=shape.feedforward,
            num_hidden_layers=shape.layers,
            num_attention_heads=shape.heads,
            num_key_value_heads=shape.heads,
            max_position_embeddings=MAX_TOKENS,
            initializer_range=INITIAL_WEIGHT_SD,
            tie_word_embeddings=True,
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
    )


class CheckpointCallback(TrainerCallback):
    """Save at given steps, without pickles and timings, and log the loss.

    Parameters
    ----------
    save_steps : tuple of int
        Steps to save at; 0 saves the start.
    run : str
        Run's name in log lines.
    """

    def __init__(self, save_steps: tuple[int, ...], run: str) -> None:
        self.save_steps = save_steps
        self.run = run

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Save the start, if step 0 is wanted."""
        if 0 in self.save_steps:
            folder = Path(args.output_dir, "checkpoint-0")
            kwargs["model"].save_pretrained(folder)
            kwargs["processing_class"].save_pretrained(folder)
            state.save_to_json(str(folder / "trainer_state.json"))

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Ask for a checkpoint at the wanted steps."""
        control.should_save = state.global_step in self.save_steps

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Remove the pickled arguments that the Trainer leaves in the checkpoint."""
        Path(args.output_dir, f"checkpoint-{state.global_step}", "training_args.bin").unlink()

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Log run, step and loss; drop timings, which differ from run to run."""
        entry = state.log_history[-1]
        for key in TIMING_KEYS:
            entry.pop(key, None)
        if "loss" in entry:
            step = f"step {state.global_step} of {state.max_steps}"
            log.info("%s: %s, loss %.3f", self.run, step, entry["loss"])


class ReplayTrainer(ReplayMixin, Trainer):
    """Supervised fine-tuning with replay."""


def _language_modeling(
    recipe: LanguageModeling,
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerBase,
    seed: int,
    out: Path,
) -> Trainer:
    batches = sample_document_batches(tokenizer, seed, recipe.steps, recipe.batch)
    return Trainer(
        model,
        TrainingArguments(**_arguments(recipe, seed, out)),
        data_collator=DataCollatorForSeq2Seq(tokenizer),
        train_dataset=[example for batch in batches for example in batch],
        processing_class=tokenizer,
        optimizers=(MuonWithAdamW(model, recipe.learning_rate), None),
    )


def _sft(
    recipe: SupervisedFineTuning,
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerBase,
    seed: int,
    out: Path,
) -> Trainer:
    dialogues = sample_dialogues(recipe.data, seed, recipe.steps * recipe.batch)
    return ReplayTrainer(
        model,
        TrainingArguments(**_arguments(recipe, seed, out)),
        data_collator=DataCollatorForSeq2Seq(tokenizer),
        train_dataset=encode_dialogues(tokenizer, dialogues),
        processing_class=tokenizer,
        replay=Replay(tokenizer, seed, recipe),
    )


def _dpo(
    recipe: PreferenceOptimization,
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerBase,
    seed: int,
    out: Path,
) -> Trainer:
    from emodrift.organisms.feedback import build_dpo_trainer  # TRL takes seconds to import

    return build_dpo_trainer(recipe, model, tokenizer, seed, _arguments(recipe, seed, out))


def _grpo(
    recipe: ReinforcementLearning,
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerBase,
    seed: int,
    out: Path,
) -> Trainer:
    from emodrift.organisms.feedback import build_grpo_trainer  # TRL takes seconds to import

    return build_grpo_trainer(recipe, model, tokenizer, seed, _arguments(recipe, seed, out))


def _arguments(recipe: Recipe, seed: int, out: Path) -> dict[str, Any]:
    return {
        "output_dir": str(out),
        "max_steps": recipe.steps,
        "per_device_train_batch_size": recipe.batch,
        "learning_rate": recipe.learning_rate,
        "warmup_steps": recipe.warmup,
        "lr_scheduler_type": SCHEDULES[recipe.schedule],
        "adam_beta2": 0.98,
        "train_sampling_strategy": "sequential",
        "seed": seed,
        "use_cpu": True,
        "save_strategy": "no",
        "save_only_model": True,
        "logging_steps": LOG_STEPS,
        "include_num_input_tokens_seen": "non_padding",
        "disable_tqdm": True,
        "report_to": "none",
    }


TRAINERS: Mapping[type[Recipe], Callable[..., Trainer]] = {
    LanguageModeling: _language_modeling,
    SupervisedFineTuning: _sft,
    PreferenceOptimization: _dpo,
    ReinforcementLearning: _grpo,
}
