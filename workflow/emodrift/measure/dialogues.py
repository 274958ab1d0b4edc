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
        branches = len(self.tree.phrasings)
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

    The short probe at loading does not reach the end of an attention window. The first reply and
    the one that lies furthest behind are checked.

    Returns
    -------
    Dialogues
        The dialogues; their model packs no longer if the scores differ.
    """
    model, encoded, tree = dialogues.model, dialogues.encoded, dialogues.tree
    if not model.packs:
        return dialogues
    longest = max(range(len(encoded)), key=lambda row: len(encoded[row]))
    prompt = encoded[longest]

    @torch.inference_mode()
    def check(_rows: list[int]) -> bool:
        packed = _read_predicting(model, dialogues.lay_out([longest]))[0]
        for number in {0, int(tree.reader[-1])}:
            only = grow_tree({"": [tree.phrasings[number]]})
            alone = _read_predicting(model, spread_rows([prompt], only))[0]
            places = tree.before[tree.member[:, number]].to(packed.device)
            if not is_close(packed[places], alone, find_tolerance(model.network)):
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

    Where a batch has more logits than may be held, the LM head runs over a few prompts at a time,
    and once more for their gradient.

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
    hidden = _pick_predicting(last, rows)

    def score(some: Tensor) -> Tensor:
        return score_classes(predict_from(model, some), tree, dialogues.phrasing_score)

    vocabulary = model.network.config.get_text_config().vocab_size
    at_a_time = max(1, HELD_LOGITS // (len(tree.reader) * vocabulary))
    parts = hidden.split(at_a_time)
    if len(parts) > 1 and hidden.requires_grad:
        return torch.cat([checkpoint(score, some, use_reentrant=False) for some in parts])
    return torch.cat([score(some) for some in parts])


def score_classes(logits: Tensor, tree: Tree, phrasing_score: str) -> Tensor:
    """Class scores from the logits behind the prompt and each token of the tree.

    A phrasing's score is the mean (or sum) of its tokens' log-probabilities; a class's score the
    log of the mean likelihood of its phrasings.

    Parameters
    ----------
    logits
        (prompt, 1 + token, vocabulary).
    tree
        The replies.
    phrasing_score
        ``mean`` or ``sum``.

    Returns
    -------
    Tensor
        (prompt, reply_class), nats.
    """
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    before, predicted = tree.before.to(logits.device), tree.predicted.to(logits.device)
    logp = logits[:, before, predicted] - logits.logsumexp(-1)[:, before]
    member = tree.member.to(logits)
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


def _read_predicting(model: LanguageModel, rows: Rows) -> Tensor:
    return _pick_predicting(run_rows(model, rows)[model.layers - 1], rows)


def _pick_predicting(last: Tensor, rows: Rows) -> Tensor:
    """States (prompt, 1 + token, hidden) at the reply point and the tokens of the tree."""
    places = rows.predicting.to(last.device)
    return last.flatten(0, 1).index_select(0, places.flatten()).unflatten(0, places.shape)
