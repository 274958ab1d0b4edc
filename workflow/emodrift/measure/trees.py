"""Reply trees: all reply phrasings as branches behind a prompt.

Each phrasing sees the prompt and itself. Where attention follows a mask, a prompt and its whole
tree are packed in one row, so that the prompt is read once for all phrasings; elsewhere (recurrent
blocks, ALiBi) each phrasing has a row of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from emodrift.models.prompts import TokenIds, pad_rows


class Tree(NamedTuple):
    """Reply phrasings as branches behind a prompt.

    ids, branch, offset, parent: (token,) token id, branch number from 1, place in the branch, and
    the column of the token before it (-1: the prompt's last). reply_class: (branch,). classes:
    names of the reply classes.
    """

    ids: Tensor
    branch: Tensor
    offset: Tensor
    parent: Tensor
    reply_class: Tensor
    classes: tuple[str, ...]

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


def grow_tree(classes: Mapping[str, Sequence[TokenIds]]) -> Tree:
    """Lay out every phrasing of every class as a branch."""
    columns: tuple[list[int], ...] = ([], [], [], [], [])
    ids, branch, offset, parent, owner = columns
    for number, phrasings in enumerate(classes.values()):
        for phrasing in phrasings:
            owner.append(number)
            for place, token in enumerate(phrasing):
                parent.append(len(ids) - 1 if place else -1)
                ids.append(token)
                branch.append(len(owner))
                offset.append(place)
    laid = [torch.tensor(column) for column in columns]
    return Tree(laid[0], laid[1], laid[2], laid[3], laid[4], tuple(classes))


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


def mark_steered(rows: Rows, positions: str) -> Tensor:
    """Tokens to which a direction is added, (row, token): from the reply point on, or all."""
    if positions == "all":
        return rows.real
    return rows.real & (torch.arange(rows.ids.shape[1]) >= rows.points[:, None])
