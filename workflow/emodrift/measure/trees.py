"""Reply trees: a prompt and all reply phrasings packed in one row.

Every phrasing is a branch that sees the prompt and itself, so one forward pass scores all classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from emodrift.errors import EmodriftError
from emodrift.models.blocks import find_tolerance, is_close
from emodrift.models.language_model import LanguageModel
from emodrift.models.masks import shape_masks
from emodrift.models.memory import TokenBudget, run_within_memory
from emodrift.models.prompts import TokenIds, encode_replies
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


class Packed(NamedTuple):
    """Rows of left-padded prompts, each with the tree behind it.

    ids, positions: (row, token); visible: (row, token, token) whether the first token sees the
    second; width: prompt columns; starts: (row,) first column that is no padding.
    """

    ids: Tensor
    positions: Tensor
    visible: Tensor
    width: int
    starts: Tensor


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


def pack_rows(encoded: Sequence[TokenIds], tree: Tree) -> Packed:
    """Left-pad prompts (token ids) and put the tree behind each."""
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
    return Packed(ids, positions, visible, width, starts)


def measure_sizes(encoded: Sequence[TokenIds], tree: Tree) -> list[int]:
    """Tokens of every packed row."""
    return [len(ids) + len(tree.ids) for ids in encoded]


def mark_steered(packed: Packed, positions: str) -> Tensor:
    """Tokens to which a direction is added, (row, token): from the reply point on, or all."""
    column = torch.arange(packed.ids.shape[1])
    if positions == "reply":
        return (column >= packed.width - 1).expand(packed.ids.shape)
    return column >= packed.starts[:, None]


def run_packed(model: LanguageModel, packed: Packed) -> dict[int, Tensor]:
    """Residual stream of packed rows: layer -> (row, token, hidden)."""
    positions = packed.positions.to(model.device)
    with record_residual(model) as residual:
        model.network.base_model(
            input_ids=packed.ids.to(model.device),
            attention_mask=shape_masks(model, packed.visible.to(model.device), positions),
            position_ids=positions,
            use_cache=False,
        )
    return residual


def verify_trees(
    model: LanguageModel,
    encoded: Sequence[TokenIds],
    tree: Tree,
    budget: TokenBudget,
    names: Sequence[str],
) -> None:
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

    Raises
    ------
    EmodriftError
        They differ.
    """

    @torch.inference_mode()
    def check(rows: list[int]) -> None:
        (row,) = rows
        packed = pack_rows([encoded[row]], tree)
        states = run_packed(model, packed)[model.layers - 1][0, packed.width :]
        for branch in (1, int(tree.branch[-1])):
            own = tree.branch == branch
            ids = torch.tensor([[*encoded[row], *tree.ids[own].tolist()]], device=model.device)
            with record_residual(model) as residual:
                model.network.base_model(
                    input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False
                )
            alone = residual[model.layers - 1][0, len(encoded[row]) :]
            if not is_close(states[own.to(states.device)], alone, find_tolerance(model.network)):
                raise EmodriftError(
                    f"{names[row]} has {len(encoded[row])} tokens, and replies packed behind it do "
                    f"not score as they do alone: attention in {type(model.network).__name__} is "
                    "cut off in a way of its own; shorten or drop prompts of this length"
                )

    sizes = measure_sizes(encoded, tree)
    longest = max(range(len(encoded)), key=lambda row: len(encoded[row]))
    list(run_within_memory(sizes, budget, check, names.__getitem__, [longest]))


def score_replies(
    model: LanguageModel, last: Tensor, packed: Packed, tree: Tree, phrasing_score: str
) -> Tensor:
    """Class scores of packed rows, nats; see :func:`score_classes`.

    The LM head runs over a few rows at a time, and once more for their gradient, so that the
    logits of a whole batch are never held.

    Parameters
    ----------
    model
        The checkpoint.
    last
        (row, token, hidden) residual stream at the last layer.
    packed, tree
        The rows.
    phrasing_score
        ``mean`` or ``sum``.

    Returns
    -------
    Tensor
        (row, reply_class).
    """
    predicting = torch.where(tree.parent < 0, packed.width - 1, packed.width + tree.parent)
    hidden = last[:, predicting.to(last.device)]

    def score(rows: Tensor) -> Tensor:
        return score_classes(predict_from(model, rows), tree, phrasing_score)

    vocabulary = model.network.config.get_text_config().vocab_size
    at_a_time = max(1, HELD_LOGITS // (len(tree.ids) * vocabulary))
    return torch.cat(
        [
            checkpoint(score, rows, use_reentrant=False) if rows.requires_grad else score(rows)
            for rows in hidden.split(at_a_time)
        ]
    )


def score_classes(logits: Tensor, tree: Tree, phrasing_score: str) -> Tensor:
    """Class scores from the logits that predict each token of the tree.

    A phrasing's score is the mean (or sum) of its tokens' log-probabilities; a class's score the
    log of the mean likelihood of its phrasings.

    Parameters
    ----------
    logits
        (row, token, vocabulary).
    tree
        The replies.
    phrasing_score
        ``mean`` or ``sum``.

    Returns
    -------
    Tensor
        (row, reply_class), nats.
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
