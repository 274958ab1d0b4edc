"""emodrift's stages, called as the workflow calls them, and bare passes to hold them against."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from benchmarks.inputs import STRENGTH
from emodrift.measure.activations import extract_part
from emodrift.measure.dialogues import Dialogues
from emodrift.measure.gradients import Derivatives, Question, differentiate_prompts
from emodrift.measure.responses import score_steered
from emodrift.measure.session import Session
from emodrift.measure.trees import grow_tree
from emodrift.models.language_model import LanguageModel
from emodrift.models.loading import load_model
from emodrift.models.memory import TokenBudget, run_within_memory
from emodrift.models.prompts import encode_replies, encode_texts, pad_rows

PACKAGES = ("emodrift", "transformers", "torch")
LABEL = "benchmark"
Replies = Mapping[str, Sequence[str]]


def load(folder: str, device: str, dtype: str) -> LanguageModel:
    """The checkpoint, verified."""
    loading = {"device": device, "allow_pickle": False}
    return load_model({"path": folder}, loading, dtype, LABEL)


def extract(
    model: LanguageModel, texts: Sequence[str], batch: int, pooling: str = "mean"
) -> np.ndarray:
    """Pooled activations (text, layer, hidden)."""
    records = [{"id": str(number), "text": text} for number, text in enumerate(texts)]
    reading = {"pooling": pooling, "from_token": 0}
    return extract_part(model, records, reading, batch, LABEL).values


def pass_forward(model: LanguageModel, texts: Sequence[str], batch: int) -> None:
    """The blocks' forward pass over the same batches, with nothing read."""
    encoded = encode_texts(model, texts)

    @torch.inference_mode()
    def work(rows: list[int]) -> None:
        ids, mask = (t.to(model.device) for t in pad_rows([encoded[row] for row in rows]))
        model.network.base_model(input_ids=ids, attention_mask=mask, use_cache=False)

    for _ in run_within_memory(list(map(len, encoded)), TokenBudget(batch), work, str):
        pass


def measure_unit(model: LanguageModel, prompts: Sequence[str], layer: int) -> dict[str, float]:
    """Mean norm of a layer at the prompts' last token, the unit of strengths."""
    last = extract(model, prompts, 512, "last")
    return {"norm": float(np.linalg.norm(last[:, layer], axis=-1).mean())}


def score_replies(
    model: LanguageModel,
    prompts: Sequence[str],
    replies: Replies,
    vectors: Tensor,
    layer: int,
    batch: int,
) -> np.ndarray:
    """Class scores (condition, prompt, reply_class), each vector added at every token."""
    dialogues = _open(model, prompts, replies)
    scores = score_steered(dialogues, vectors, layer, [1.0], "all", TokenBudget(batch))
    return scores[:, 0]


def generate_replies(
    model: LanguageModel,
    prompts: Sequence[str],
    vectors: Tensor,
    layer: int,
    new_tokens: int,
    batch: int,
) -> np.ndarray:
    """Greedy replies (condition, prompt, token), each vector added at every token; -1 behind."""
    from emodrift.measure import generation

    replies = generation.generate_replies(
        model,
        encode_texts(model, prompts),
        generation.Steering(vectors, layer, "all"),
        generation.Sampling(new_tokens),
        TokenBudget(batch),
        prompts,
    )
    found = np.full((len(vectors), len(prompts), new_tokens), -1)
    for prompt, of_prompt in enumerate(replies):
        for condition, reply in enumerate(of_prompt):
            found[condition, prompt, : len(reply.tokens)] = reply.tokens
    return found


def pass_prompts(
    model: LanguageModel,
    prompts: Sequence[str],
    replies: Replies,
    targets: Sequence[tuple[int, int]],
    layer: int,
    batch: int,
) -> np.ndarray:
    """Class scores (prompt, reply_class) by a forward pass alone."""
    dialogues = _open(model, prompts, replies)
    return _differentiate(dialogues, [], batch).scores


def measure_slopes(
    model: LanguageModel,
    prompts: Sequence[str],
    replies: Replies,
    targets: Sequence[tuple[int, int]],
    layer: int,
    directions: Tensor,
    batch: int,
) -> np.ndarray:
    """Slope of every target (prompt, reply class) along every direction, (direction, target)."""
    dialogues = _open(model, prompts, replies)
    found = _differentiate(dialogues, [tuple(target) for target in targets], batch)
    return directions.numpy() @ found.gradients[:, layer].T


def measure_finite(
    model: LanguageModel,
    prompts: Sequence[str],
    replies: Replies,
    targets: Sequence[tuple[int, int]],
    layer: int,
    directions: Tensor,
    batch: int,
) -> np.ndarray:
    """The same slopes from steering each direction up and down, (direction, target)."""
    dialogues = _open(model, prompts, replies)
    length = STRENGTH * measure_unit(model, prompts, layer)["norm"]
    budget, ends = TokenBudget(batch), [-length, length]
    scores = score_steered(dialogues, directions, layer, ends, "reply", budget)
    rows, classes = np.array(targets).T
    own = scores[:, :, rows, classes]
    others = np.ma.masked_array(
        scores[:, :, rows],
        np.broadcast_to(np.eye(scores.shape[-1])[classes], scores[:, :, rows].shape),
    )
    odds = own - np.log(np.exp(others).sum(-1)).data
    return (odds[:, 1] - odds[:, 0]) / (2 * STRENGTH)


def measure_checkpoints(model: LanguageModel, texts: Sequence[str], batch: int, count: int) -> None:
    """Load and measure a checkpoint so many times."""
    folder, dtype = model.network.name_or_path, str(model.network.dtype).removeprefix("torch.")
    for _ in range(count):
        extract(load(folder, str(model.device), dtype), texts, batch)


def multiply(model: LanguageModel, size: int) -> dict[str, float]:
    """Floating-point operations a second in a product of large matrices, the best of five."""
    kind = {"device": model.device, "dtype": model.network.dtype}
    matrix, linear = torch.randn(size, size, **kind), torch.nn.Linear(size, size, **kind)
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        with torch.inference_mode():
            linear(matrix).sum().item()
        seconds.append(time.perf_counter() - start)
    return {"flops": 2 * size**3 / min(seconds)}


def _open(model: LanguageModel, prompts: Sequence[str], replies: Replies) -> Dialogues:
    encoded = encode_texts(model, prompts)
    tree = grow_tree(encode_replies(model, replies, "plain"))
    return Dialogues(model, encoded, prompts, tree, "mean")


def _differentiate(
    dialogues: Dialogues, targets: Sequence[tuple[int, int]], batch: int
) -> Derivatives:
    session = Session(dialogues.model, TokenBudget(batch), "benchmark")
    return differentiate_prompts(dialogues, Question(targets, "reply"), session)
