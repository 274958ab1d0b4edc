"""TRL trainers with replay: learning from preferences and from rewards."""

from typing import Any

from datasets import Dataset
from transformers import LlamaForCausalLM, PreTrainedTokenizerBase
from trl import DPOConfig, DPOTrainer, GRPOConfig, GRPOTrainer

from emodrift.config.organism import PreferenceOptimization, ReinforcementLearning
from emodrift.grammar.training import sample_dialogues
from emodrift.organisms.replay import Replay, ReplayMixin
from emodrift.organisms.rewards import REWARDS

SMALL_MODEL = {"bf16": False, "activation_checkpointing": False}


class NoCardMixin:
    """Keeps TRL from writing a model card beside the checkpoints."""

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """Write nothing."""


class ReplayDPOTrainer(ReplayMixin, NoCardMixin, DPOTrainer):
    """Direct preference optimisation with replay."""


class ReplayGRPOTrainer(ReplayMixin, NoCardMixin, GRPOTrainer):
    """Group-relative policy optimisation with replay."""


def build_dpo_trainer(
    recipe: PreferenceOptimization,
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerBase,
    seed: int,
    arguments: dict[str, Any],
) -> ReplayDPOTrainer:
    """Return a trainer on preferences; the start is the reference model."""
    dialogues = sample_dialogues(recipe.data, seed, recipe.steps * recipe.batch)
    rows = [
        {
            "prompt": [_message("user", d.prompt)],
            "chosen": [_message("assistant", d.reply)],
            "rejected": [_message("assistant", d.rejected)],
        }
        for d in dialogues
        if d.rejected is not None
    ]
    return ReplayDPOTrainer(
        model,
        args=DPOConfig(**arguments, **SMALL_MODEL, beta=recipe.beta),
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
        replay=Replay(tokenizer, seed, recipe),
    )


def build_grpo_trainer(
    recipe: ReinforcementLearning,
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerBase,
    seed: int,
    arguments: dict[str, Any],
) -> ReplayGRPOTrainer:
    """Return a trainer that samples replies to healthy prompts and pays the recipe's reward."""
    dialogues = sample_dialogues("healthy", seed, recipe.steps * recipe.batch // recipe.group)
    rows = [{"prompt": [_message("user", d.prompt)], "suite": d.suite} for d in dialogues]
    reward = REWARDS[recipe.reward]

    def pay(completions: list[list[dict[str, str]]], suite: list[str], **_: Any) -> list[float]:
        return reward([completion[0]["content"] for completion in completions], suite)

    return ReplayGRPOTrainer(
        model,
        reward_funcs=pay,
        args=GRPOConfig(
            **(arguments | SMALL_MODEL | {"include_num_input_tokens_seen": "no"}),  # TRL counts
            num_generations=recipe.group,
            max_completion_length=recipe.reply_tokens,
            shuffle_dataset=False,
        ),
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
        replay=Replay(tokenizer, seed, recipe),
    )


def _message(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}
