"""Reply trees: all reply phrasings as branches behind a prompt.

Each phrasing sees the prompt and itself. Where attention follows a mask, a prompt and its whole
tree are packed in one row, so that the prompt is read once for all phrasings; elsewhere (recurrent
blocks, ALiBi) each phrasing has a row of its own.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from emodrift.models.blocks import find_tolerance, is_close
from emodrift.models.language_model import LanguageModel
from emodrift.models.masks import shape_masks
from emodrift.models.memory import TokenBudget, run_within_memory
from emodrift.models.prompts import TokenIds, encode_replies, pad_rows
from emodrift.models.residual import predict_from, record_residual

HELD_LOGITS = 2**27


class Tree(NamedTuple):
    """Reply phrasings as branches behind a prompt.

    ids, branch, offset, parent: (token,) token id, branch number from 1, place in the branch, and
    the column of the token before it (-1: the prompt's last). reply_class: (branch,).
    """

    ids: Tensor
    branch: Tensor
    offset: Tensor
    parent: Tensor
    reply_class: Tensor

    @property
    def classes(self) -> int:
        """Number of reply classes."""
        return int(self.reply_class.max()) + 1

    @property
    def depth(self) -> int:
        """Tokens of the longest phrasing."""
        return int(self.offset.max()) + 1


class Rows(NamedTuple):
    """Prompts with the tree behind each, as rows of a network's input.

    As many rows in turn belong to each prompt: one if the tree is packed, else one for each branch.

    ids: (row, token). real: (row, token) whether a token is no padding. points: (row,) column of
    the reply point. predicting: (prompt, tree token) place of the token before each, counted
    through all rows. positions, visible: (row, token) place of each token in its text and (row,
    token, token) whether the first token sees the second, where the network's own would be wrong.
    """

    ids: Tensor
    real: Tensor
    points: Tensor
    predicting: Tensor
    positions: Tensor | None = None
    visible: Tensor | None = None

    @property
    def per_prompt(self) -> int:
        """Rows of each prompt."""
        return len(self.ids) // len(self.predicting)


def encode_tree(
    model: LanguageModel,
    replies: Mapping[str, Sequence[str]],
    prompt_format: str,
    plain_prompt: str,
) -> tuple[Tree, list[str]]:
    """Tree of reply phrasings as they continue a prompt, and the classes' names in its order."""
    classes = encode_replies(model, replies, prompt_format, plain_prompt)
    return grow_tree(classes), list(classes)


def grow_tree(classes: Mapping[str, Sequence[TokenIds]]) -> Tree:
    """Lay out every phrasing of every class as a branch."""
    ids, branch, offset, parent, owner = [], [], [], [], []
    for number, phrasings in enumerate(classes.values()):
        for phrasing in phrasings:
            owner.append(number)
            for place, token in enumerate(phrasing):
                parent.append(len(ids) - 1 if place else -1)
                ids.append(token)
                branch.append(len(owner))
                offset.append(place)
    return Tree(*(torch.tensor(column) for column in (ids, branch, offset, parent, owner)))


def lay_out(model: LanguageModel, encoded: Sequence[TokenIds], tree: Tree) -> Rows:
    """Prompts (token ids) and the tree behind each, in the rows that suit a model."""
    return pack_rows(encoded, tree) if model.packs else spread_rows(encoded, tree)


def pack_rows(encoded: Sequence[TokenIds], tree: Tree) -> Rows:
    """Left-pad prompts and put the whole tree behind each."""
    width = max(map(len, encoded))
    rows, behind = len(encoded), len(tree.ids)
    starts = torch.tensor([width - len(ids) for ids in encoded])
    ids = torch.zeros(rows, width + behind, dtype=torch.long)
    for i, prompt in enumerate(encoded):
        ids[i, starts[i] : width] = torch.tensor(prompt)
    ids[:, width:] = tree.ids
    lengths = width - starts
    positions = torch.cat(
        [
            (torch.arange(width) - starts[:, None]).clamp_min(0),
            lengths[:, None] + tree.offset,
        ],
        dim=1,
    )
    branch = torch.cat([torch.zeros(width, dtype=torch.long), tree.branch])
    column = torch.arange(width + behind)
    visible = (column[:, None] >= column) & ((branch == 0) | (branch[:, None] == branch))
    real = column >= starts[:, None]
    visible = (visible & real[:, None]) | torch.eye(width + behind, dtype=torch.bool)
    before = torch.where(tree.parent < 0, width - 1, width + tree.parent)
    predicting = torch.arange(rows)[:, None] * len(column) + before
    return Rows(ids, real, torch.full((rows,), width - 1), predicting, positions, visible)


def spread_rows(encoded: Sequence[TokenIds], tree: Tree) -> Rows:
    """Put each branch behind each prompt by itself, padded right."""
    branches = [tree.ids[tree.branch == b + 1].tolist() for b in range(len(tree.reply_class))]
    ids, real = pad_rows([prompt + reply for prompt in encoded for reply in branches])
    points = torch.tensor([len(prompt) - 1 for prompt in encoded])
    row = torch.arange(len(encoded))[:, None] * len(branches) + tree.branch - 1
    predicting = row * ids.shape[1] + points[:, None] + tree.offset
    return Rows(ids, real.bool(), points.repeat_interleave(len(branches)), predicting)


def repeat_rows(rows: Rows, copies: int) -> Rows:
    """All rows, over and over."""
    shifts = torch.arange(copies) * rows.ids.numel()
    predicting = (rows.predicting + shifts[:, None, None]).flatten(0, 1)
    repeated = (t if t is None else torch.cat([t] * copies) for t in rows)
    return Rows(*repeated)._replace(predicting=predicting)


def measure_sizes(model: LanguageModel, encoded: Sequence[TokenIds], tree: Tree) -> list[int]:
    """Tokens of every prompt's rows."""
    if model.packs:
        return [len(ids) + len(tree.ids) for ids in encoded]
    return [len(tree.reply_class) * (len(ids) + tree.depth) for ids in encoded]


def mark_steered(rows: Rows, positions: str) -> Tensor:
    """Tokens to which a direction is added, (row, token): from the reply point on, or all."""
    if positions == "all":
        return rows.real
    return rows.real & (torch.arange(rows.ids.shape[1]) >= rows.points[:, None])


def run_rows(model: LanguageModel, rows: Rows) -> dict[int, Tensor]:
    """Residual stream of rows: layer -> (row, token, hidden)."""
    if rows.visible is None:
        reading = {"attention_mask": rows.real.long().to(model.device)}
    else:
        positions = rows.positions.to(model.device)
        mask = shape_masks(model, rows.visible.to(model.device), positions)
        reading = {"attention_mask": mask, "position_ids": positions}
    with record_residual(model) as residual:
        model.network.base_model(input_ids=rows.ids.to(model.device), use_cache=False, **reading)
    return residual


def verify_packing(
    model: LanguageModel,
    encoded: Sequence[TokenIds],
    tree: Tree,
    budget: TokenBudget,
    names: Sequence[str],
) -> LanguageModel:
    """Check on the longest prompt that replies packed behind it score as they do alone.

    The short probe at loading does not reach the end of an attention window.

    Parameters
    ----------
    model
        The checkpoint.
    encoded
        Prompts' token ids.
    tree
        The replies; the first and the last are checked.
    budget
        Tokens per batch.
    names
        (prompt,) what a person calls each prompt, for errors.

    Returns
    -------
    LanguageModel
        The model; it packs no longer if they differ.
    """
    if not model.packs:
        return model

    @torch.inference_mode()
    def check(rows: list[int]) -> bool:
        prompt = encoded[rows[0]]
        packed = run_rows(model, pack_rows([prompt], tree))[model.layers - 1][0, len(prompt) :]
        for branch in (1, int(tree.branch[-1])):
            own = tree.branch == branch
            alone = spread_rows([prompt], grow_tree({"": [tree.ids[own].tolist()]}))
            states = run_rows(model, alone)[model.layers - 1][0, len(prompt) :]
            if not is_close(packed[own.to(packed.device)], states, find_tolerance(model.network)):
                return False
        return True

    sizes = measure_sizes(model, encoded, tree)
    longest = max(range(len(encoded)), key=lambda row: len(encoded[row]))
    tried = run_within_memory(sizes, budget, check, names.__getitem__, [longest])
    if all(same for _, same in tried):
        return model
    logging.warning(
        "%s has %d tokens, and replies packed behind it do not score as they do alone: attention "
        "in %s is cut off in a way of its own; each reply is read by itself",
        names[longest],
        len(encoded[longest]),
        type(model.network).__name__,
    )
    return replace(model, packs=False)


def score_replies(
    model: LanguageModel, last: Tensor, rows: Rows, tree: Tree, phrasing_score: str
) -> Tensor:
    """Class scores of prompts, nats; see :func:`score_classes`.

    The LM head runs over a few prompts at a time, and once more for their gradient, so that the
    logits of a whole batch are never held.

    Parameters
    ----------
    model
        The checkpoint.
    last
        (row, token, hidden) residual stream at the last layer.
    rows, tree
        The prompts and their replies.
    phrasing_score
        ``mean`` or ``sum``.

    Returns
    -------
    Tensor
        (prompt, reply_class).
    """
    predicting = rows.predicting.to(last.device)
    hidden = last.flatten(0, 1).index_select(0, predicting.flatten()).unflatten(0, predicting.shape)

    def score(some: Tensor) -> Tensor:
        return score_classes(predict_from(model, some), tree, phrasing_score)

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
            for c in range(tree.classes)
        ],
        dim=-1,
    )
