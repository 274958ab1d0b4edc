"""Reply trees: all reply phrasings behind a prompt, with what they begin alike in common.

Each phrasing sees the prompt and itself. Where attention follows a mask, a prompt and the whole
tree are packed in one row, so that the prompt, and every beginning that phrasings share, is read
once; elsewhere (recurrent blocks, ALiBi) each phrasing has a row of its own. No phrasing's last
token is read, for nothing follows it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from emodrift.models.prompts import TokenIds, pad_rows


class Tree(NamedTuple):
    """Reply phrasings as branches behind a prompt.

    A token of the tree is read by a model; a step is a token that is predicted.

    ids: (token,) token ids. offset: (token,) place in a phrasing. above: (token, token) whether the
    first is the second or comes after it in a phrasing. predicted: (step,) token ids. before:
    (step,) what each follows: 0 the prompt, else 1 + a token of the tree. member: (step, phrasing)
    whether a step is of a phrasing. reader: (1 + token,) a phrasing that reads the prompt, and each
    token. phrasings: token ids of each. reply_class: (phrasing,). classes: names of the reply
    classes.
    """

    ids: Tensor
    offset: Tensor
    above: Tensor
    predicted: Tensor
    before: Tensor
    member: Tensor
    reader: Tensor
    phrasings: tuple[TokenIds, ...]
    reply_class: Tensor
    classes: tuple[str, ...]

    @property
    def depth(self) -> int:
        """Tokens of the longest phrasing."""
        return max(map(len, self.phrasings))


class Rows(NamedTuple):
    """Prompts with the tree behind each, as rows of a network's input.

    As many rows in turn belong to each prompt: one if the tree is packed, else one for each
    phrasing.

    ids: (row, token). real: (row, token) whether a token is no padding. points: (row,) column of
    the reply point. predicting: (prompt, 1 + tree token) places of the reply point and of each
    token of the tree, counted through all rows. positions, visible: (row, token) place of each
    token in its text and (row, token, token) whether the first token sees the second, where the
    network's own would be wrong.
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
    """Lay out every phrasing of every class; what phrasings begin with alike is laid out once."""
    phrasings = tuple(ids for of_class in classes.values() for ids in of_class)
    owner = [number for number, of_class in enumerate(classes.values()) for _ in of_class]
    paths = [[tuple(ids[:length]) for length in range(len(ids) + 1)] for ids in phrasings]
    read = list(dict.fromkeys(start for path in paths for start in path[:-1]))
    steps = list(dict.fromkeys(start for path in paths for start in path[1:]))
    tokens = [start for start in read if start]
    above = [[later[: len(start)] == start for start in tokens] for later in tokens]
    return Tree(
        ids=torch.tensor([start[-1] for start in tokens], dtype=torch.long),
        offset=torch.tensor([len(start) - 1 for start in tokens], dtype=torch.long),
        above=torch.tensor(above, dtype=torch.bool).reshape(len(tokens), len(tokens)),
        predicted=torch.tensor([start[-1] for start in steps]),
        before=torch.tensor([read.index(start[:-1]) for start in steps]),
        member=torch.tensor([[start in path for path in paths] for start in steps]),
        reader=torch.tensor([[start in path[:-1] for path in paths].index(True) for start in read]),
        phrasings=phrasings,
        reply_class=torch.tensor(owner),
        classes=tuple(classes),
    )


def pack_rows(encoded: Sequence[TokenIds], tree: Tree) -> Rows:
    """Left-pad prompts and put the whole tree behind each."""
    width = max(map(len, encoded))
    rows, behind = len(encoded), len(tree.ids)
    starts = torch.tensor([width - len(ids) for ids in encoded])
    ids = torch.zeros(rows, width + behind, dtype=torch.long)
    for i, prompt in enumerate(encoded):
        ids[i, starts[i] : width] = torch.tensor(prompt)
    ids[:, width:] = tree.ids
    of_prompt = (torch.arange(width) - starts[:, None]).clamp_min(0)
    positions = torch.cat([of_prompt, width - starts[:, None] + tree.offset], dim=1)
    column = torch.arange(width + behind)
    visible = (column[:, None] >= column) & (column < width)
    visible[width:, width:] = tree.above
    real = column >= starts[:, None]
    visible = (visible & real[:, None]) | torch.eye(width + behind, dtype=torch.bool)
    predicting = torch.arange(rows)[:, None] * len(column) + column[width - 1 :]
    return Rows(ids, real, torch.full((rows,), width - 1), predicting, positions, visible)


def spread_rows(encoded: Sequence[TokenIds], tree: Tree) -> Rows:
    """Put each phrasing behind each prompt by itself, padded right."""
    branches = len(tree.phrasings)
    ids, real = pad_rows([prompt + reply[:-1] for prompt in encoded for reply in tree.phrasings])
    points = torch.tensor([len(prompt) - 1 for prompt in encoded])
    row = torch.arange(len(encoded))[:, None] * branches + tree.reader
    behind = torch.cat([torch.zeros(1, dtype=torch.long), 1 + tree.offset])
    predicting = row * ids.shape[1] + points[:, None] + behind
    return Rows(ids, real.bool(), points.repeat_interleave(branches), predicting)


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
