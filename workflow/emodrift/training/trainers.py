"""TRL trainers of the three objectives, over the dialogues of a curriculum."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from datasets import Dataset
from transformers import Trainer, TrainerCallback
from transformers.tokenization_utils_base import PreTrainedTokenizerBase
from trl import DPOConfig, DPOTrainer, GRPOConfig, GRPOTrainer, SFTConfig, SFTTrainer

from emodrift.config.training import (
    PreferenceTraining,
    RewardTraining,
    SupervisedTraining,
    TrainingRecipe,
)
from emodrift.training.chats import as_messages, encode_dialogue, end_sentence
from emodrift.training.regimes import Curriculum, draw_dialogues
from emodrift.training.rewards import pay_reply


class Trainee(NamedTuple):
    """What is trained: a model or an adapter on one, its tokenizer, the length of its replies; and
    whether in mixed precision.
    """

    network: torch.nn.Module
    tokenizer: PreTrainedTokenizerBase
    reply_tokens: int
    mixed: bool


class _NoCardMixin:
    """Keeps TRL from writing a model card beside the checkpoints."""

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """Write nothing."""


class _SFTTrainer(_NoCardMixin, SFTTrainer):
    """Its loss is the model's own: TRL's, where there is no GPU, costs as much as all blocks."""

    compute_loss = Trainer.compute_loss


class _DPOTrainer(_NoCardMixin, DPOTrainer):
    pass


class _GRPOTrainer(_NoCardMixin, GRPOTrainer):
    pass


def build_trainer(
    recipe: TrainingRecipe,
    trainee: Trainee,
    curriculum: Curriculum,
    out: Path,
    callback: TrainerCallback,
) -> Trainer:
    """The trainer of a run.

    Parameters
    ----------
    recipe
        How to train.
    trainee
        What to train.
    curriculum
        What to train it on.
    out
        Folder of its checkpoints.
    callback
        What is done beside training.
    """
    build = BUILDERS[type(recipe)]
    return build(
        recipe,
        trainee,
        curriculum,
        arguments=_list_arguments(recipe, trainee.mixed, out),
        common={"processing_class": trainee.tokenizer, "callbacks": [callback]},
    )


def _build_sft(
    recipe: SupervisedTraining,
    trainee: Trainee,
    curriculum: Curriculum,
    arguments: dict[str, Any],
    common: dict[str, Any],
) -> Trainer:
    dialogues = draw_dialogues(curriculum, recipe.batch, recipe.steps, recipe.seed)
    rows = [encode_dialogue(trainee.tokenizer, d, trainee.reply_tokens) for d in dialogues]
    return _SFTTrainer(
        trainee.network,
        args=SFTConfig(**arguments, max_length=None),
        train_dataset=Dataset.from_list(rows),
        **common,
    )


def _build_dpo(
    recipe: PreferenceTraining,
    trainee: Trainee,
    curriculum: Curriculum,
    arguments: dict[str, Any],
    common: dict[str, Any],
) -> Trainer:
    rows = [
        {
            "prompt": as_messages("user", d.prompt),
            "chosen": as_messages("assistant", end_sentence(d.chosen)),
            "rejected": as_messages("assistant", end_sentence(d.rejected)),
        }
        for d in draw_dialogues(curriculum, recipe.batch, recipe.steps, recipe.seed)
    ]
    return _DPOTrainer(
        trainee.network,
        args=DPOConfig(**arguments, beta=recipe.beta, max_length=None),
        train_dataset=Dataset.from_list(rows),
        **common,
    )


def _build_grpo(
    recipe: RewardTraining,
    trainee: Trainee,
    curriculum: Curriculum,
    arguments: dict[str, Any],
    common: dict[str, Any],
) -> Trainer:
    prompts = recipe.batch // recipe.group
    rows = [
        {"prompt": as_messages("user", d.prompt), "asked": d.prompt, "wanted": d.wanted}
        for d in draw_dialogues(curriculum, prompts, recipe.steps, recipe.seed)
    ]

    def pay(
        completions: list[list[dict[str, str]]], asked: list[str], wanted: list[str], **_: Any
    ) -> list[float]:
        replies = [completion[0]["content"] for completion in completions]
        return [pay_reply(*row) for row in zip(asked, replies, wanted, strict=True)]

    return _GRPOTrainer(
        trainee.network,
        reward_funcs=pay,
        args=GRPOConfig(
            **(arguments | {"include_num_input_tokens_seen": "no"}),  # TRL counts by itself
            num_generations=recipe.group,
            max_completion_length=trainee.reply_tokens,
            temperature=recipe.temperature,
            shuffle_dataset=False,
        ),
        train_dataset=Dataset.from_list(rows),
        **common,
    )


def _list_arguments(recipe: TrainingRecipe, mixed: bool, out: Path) -> dict[str, Any]:
    return {
        "output_dir": str(out),
        "max_steps": recipe.steps,
        "per_device_train_batch_size": recipe.batch,
        "learning_rate": recipe.learning_rate,
        "warmup_steps": recipe.warmup,
        "lr_scheduler_type": "constant_with_warmup",
        "train_sampling_strategy": "sequential",
        "seed": recipe.seed,
        "save_strategy": "no",
        "logging_steps": 1,
        "include_num_input_tokens_seen": "non_padding",
        "disable_tqdm": True,
        "dataloader_pin_memory": False,
        "report_to": "none",
        "bf16": mixed,
        "use_cpu": not torch.cuda.is_available(),
        "activation_checkpointing": False,
    }


BUILDERS: Mapping[type[TrainingRecipe], Callable[..., Trainer]] = {
    SupervisedTraining: _build_sft,
    PreferenceTraining: _build_dpo,
    RewardTraining: _build_grpo,
}
