"""Dialogues: prompts and the replies that each may draw, as a checkpoint reads and scores them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from emodrift.corpus.records import Record
from emodrift.measure.trees import Rows, Tree, grow_tree, pack_rows, spread_rows
from emodrift.models.blocks import find_tolerance, is_close
from emodrift.models.language_model import LanguageModel
from emodrift.models.masks import shape_masks
from emodrift.models.memory import TokenBudget, run_within_memory
from emodrift.models.prompts import TokenIds, check_lengths, encode_prompts, encode_replies
from emodrift.models.residual import predict_from, record_residual

HELD_LOGITS = 2**27


@dataclass(frozen=True)
class Dialogues:
    """Prompts and the replies to each.

    Parameters
    ----------
    model
        The checkpoint that reads them.
    encoded
        (prompt,) token ids up to the reply point.
    names
        (prompt,) what a person calls each prompt, for errors.
    tree
        The replies.
    phrasing_score
        See :func:`score_classes`.
    """

    model: LanguageModel
    encoded: Sequence[TokenIds]
    names: Sequence[str]
    tree: Tree
    phrasing_score: str

    @property
    def sizes(self) -> list[int]:
        """(prompt,) tokens of each prompt's rows."""
        if self.model.packs:
            return [len(ids) + len(self.tree.ids) for ids in self.encoded]
        branches = len(self.tree.reply_class)
        return [branches * (len(ids) + self.tree.depth) for ids in self.encoded]

    def lay_out(self, prompts: Sequence[int]) -> Rows:
        """Some of the prompts, by number, in the rows that suit the model."""
        encoded = [self.encoded[prompt] for prompt in prompts]
        return (pack_rows if self.model.packs else spread_rows)(encoded, self.tree)


def open_dialogues(
    model: LanguageModel,
    records: Sequence[Record],
    replies: Mapping[str, Sequence[str]],
    reading: Mapping[str, Any],
    budget: TokenBudget,
    label: str,
) -> Dialogues:
    """Encode prompts and replies, and prove that they can be scored together.

    Parameters
    ----------
    model
        The checkpoint.
    records
        Behaviour prompts.
    replies
        Reply class -> phrasings.
    reading
        ``prompt_format``, ``plain_prompt`` and ``phrasing_score``.
    budget
        Tokens per batch.
    label
        Checkpoint and part, for errors.

    Raises
    ------
    EmodriftError
        A prompt with its longest reply is longer than the model's context, or does not fit in
        memory.
    """
    form = reading["prompt_format"], reading["plain_prompt"]
    encoded = encode_prompts(model, (r["prompt"] for r in records), *form)
    tree = grow_tree(encode_replies(model, replies, *form))
    check_lengths(model, [[*ids, *[0] * tree.depth] for ids in encoded], label)
    names = [f"{label}: prompt {record['id']!r}" for record in records]
    dialogues = Dialogues(model, encoded, names, tree, reading["phrasing_score"])
    return verify_packing(dialogues, budget)


def run_rows(model: LanguageModel, rows: Rows) -> dict[int, Tensor]:
    """Residual stream of rows: layer -> (row, token, hidden)."""
    if rows.visible is None:
        reading = {"attention_mask": rows.real.long().to(model.device)}
    else:
        assert rows.positions is not None
        positions = rows.positions.to(model.device)
        mask = shape_masks(model, rows.visible.to(model.device), positions)
        reading = {"attention_mask": mask, "position_ids": positions}
    with record_residual(model) as residual:
        model.network.base_model(input_ids=rows.ids.to(model.device), use_cache=False, **reading)
    return residual


def verify_packing(dialogues: Dialogues, budget: TokenBudget) -> Dialogues:
    """Check on the longest prompt that replies packed behind it score as they do alone.

    The short probe at loading does not reach the end of an attention window. The first and the last
    reply are checked.

    Returns
    -------
    Dialogues
        The dialogues; their model packs no longer if the scores differ.
    """
    model, encoded, tree = dialogues.model, dialogues.encoded, dialogues.tree
    if not model.packs:
        return dialogues
    longest = max(range(len(encoded)), key=lambda row: len(encoded[row]))
    prompt, last = encoded[longest], model.layers - 1

    @torch.inference_mode()
    def check(_rows: list[int]) -> bool:
        packed = run_rows(model, dialogues.lay_out([longest]))[last][0, len(prompt) :]
        for branch in (1, int(tree.branch[-1])):
            own = tree.branch == branch
            alone = spread_rows([prompt], grow_tree({"": [tree.ids[own].tolist()]}))
            states = run_rows(model, alone)[last][0, len(prompt) :]
            if not is_close(packed[own.to(packed.device)], states, find_tolerance(model.network)):
                return False
        return True

    names = dialogues.names
    tried = run_within_memory(dialogues.sizes, budget, check, names.__getitem__, [longest])
    if all(same for _, same in tried):
        return dialogues
    logging.warning(
        "%s has %d tokens, and replies packed behind it do not score as they do alone: attention "
        "in %s is cut off in a way of its own; each reply is read by itself",
        names[longest],
        len(prompt),
        type(model.network).__name__,
    )
    return replace(dialogues, model=replace(model, packs=False))


def score_replies(dialogues: Dialogues, last: Tensor, rows: Rows) -> Tensor:
    """Class scores of prompts, nats; see :func:`score_classes`.

    The LM head runs over a few prompts at a time, and once more for their gradient, so that the
    logits of a whole batch are never held.

    Parameters
    ----------
    dialogues
        Model and replies.
    last
        (row, token, hidden) residual stream at the last layer.
    rows
        The prompts, laid out.

    Returns
    -------
    Tensor
        (prompt, reply_class).
    """
    model, tree = dialogues.model, dialogues.tree
    predicting = rows.predicting.to(last.device)
    hidden = last.flatten(0, 1).index_select(0, predicting.flatten()).unflatten(0, predicting.shape)

    def score(some: Tensor) -> Tensor:
        return score_classes(predict_from(model, some), tree, dialogues.phrasing_score)

    vocabulary = model.network.config.get_text_config().vocab_size
    at_a_time = max(1, HELD_LOGITS // (len(tree.ids) * vocabulary))
    return torch.cat(
        [
            checkpoint(score, some, use_reentrant=False) if some.requires_grad else score(some)
            for some in hidden.split(at_a_time)
        ]
    )


def score_classes(logits: Tensor, tree: Tree, phrasing_score: str) -> Tensor:
    """Class scores from the logits that predict each token of the tree.

    A phrasing's score is the mean (or sum) of its tokens' log-probabilities; a class's score the
    log of the mean likelihood of its phrasings.

    Parameters
    ----------
    logits
        (prompt, token, vocabulary).
    tree
        The replies.
    phrasing_score
        ``mean`` or ``sum``.

    Returns
    -------
    Tensor
        (prompt, reply_class), nats.
    """
    ids = tree.ids.to(logits.device)
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    chosen = logits.gather(-1, ids[None, :, None].expand(len(logits), -1, 1))[..., 0]
    logp = chosen - logits.logsumexp(-1)
    member = torch.nn.functional.one_hot(tree.branch - 1).to(logits)
    if phrasing_score == "mean":
        member = member / member.sum(0)
    phrasing = logp @ member
    owner = tree.reply_class
    return torch.stack(
        [
            phrasing[:, owner == c].logsumexp(-1) - float((owner == c).sum().log())
            for c in range(len(tree.classes))
        ],
        dim=-1,
    )
