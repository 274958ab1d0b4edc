"""One checkpoint's whole measurement, beside a careful script of plain transformers.

``python -m benchmarks.whole_checkpoint config/examples/real.yaml "collapse step 24"``, once that
study is finished, measures the checkpoint anew in both ways, on the same texts, and fills in the
section of docs/benchmarks.md. The script reads texts sorted by length in batches of the size that
suits it, runs the LM head on reply tokens alone, and ends its backward passes at the locked layer;
each phrasing stands behind its prompt in a row of its own.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pandas as pd
import torch
import xarray as xr
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedModel

from benchmarks.machine import describe_machine
from emodrift.config.reading import read_study
from emodrift.corpus.reading import load_part, load_prompts, load_replies
from emodrift.measure.activations import POOLINGS, encode_records
from emodrift.measure.arrays import ACTIVATIONS, GRADIENTS
from emodrift.measure.replies import REPLIES
from emodrift.measure.responses import choose_spread
from emodrift.measure.visit import measure_entries
from emodrift.models.language_model import LanguageModel
from emodrift.models.loading import load_model, load_network
from emodrift.models.prompts import TokenIds, encode_prompts, encode_replies, pad_rows
from emodrift.plan.entries import Plan
from emodrift.plan.measurements import CODE
from emodrift.plan.study import plan_study
from emodrift.plan.watched import list_measurements
from emodrift.store.entry import Entry
from validation.parts import fill_parts

RESULTS, PAGE = Path("results"), Path("docs/benchmarks.md")
ROWS = {"activations": (4, 16), "gradients": (1, 2), "samples": (8, 16)}
"""Texts or prompts in a batch of the script, to choose from."""
LOADED = ("location", "loading", "dtype", "chat")
"""How both load the checkpoint: in float32, whatever the study's products are in."""
TRIED = {"activations": 16, "gradients": 2, "samples": 16}
"""Texts of an entry on which that is tried."""
Found = TypeVar("Found")


class Network(NamedTuple):
    """A checkpoint as the script uses it, and emodrift's model for its tokens."""

    network: PreTrainedModel
    model: LanguageModel

    @property
    def blocks(self) -> Sequence[torch.nn.Module]:
        """Its decoder blocks."""
        return self.network.model.layers


class Timed(NamedTuple):
    """Seconds of a stage in both ways, and in a word how well their numbers agree."""

    stage: str
    ours: float
    theirs: float
    agreement: str


def main() -> None:
    """Measure in both ways and fill in the page."""
    options = read_options(__doc__, PAGE)
    plan, entries, loading = find_measured(options.config, options.label)
    with tempfile.TemporaryDirectory() as folder:
        store = link_sources(plan.store, Path(folder))
        rows = time_stages(plan, entries, loading, store)
    text = options.page.read_text(encoding="utf-8")
    part = describe(rows, options.label)
    options.page.write_text(fill_parts(text, {"checkpoint": part}, all_of_them=False))


def read_options(purpose: str, page: Path) -> argparse.Namespace:
    """A study's config, the label of one of its checkpoints, and the page that is filled in."""
    parser = argparse.ArgumentParser(description=purpose.partition("\n")[0])
    parser.add_argument("config", type=Path)
    parser.add_argument("label", help='such as "collapse step 24"')
    parser.add_argument("--page", type=Path, default=page)
    return parser.parse_args()


def find_measured(config: Path, label: str) -> tuple[Plan, list[Entry], Mapping[str, Any]]:
    """A study's plan, the measurements of one of its checkpoints, and how that is loaded."""
    plan = plan_study(read_study(config), RESULTS)
    number = [c.label for c in plan.checkpoints].index(label)
    entries = list_measurements(plan, number)
    asked = plan.makers[entries[0].place].context["checkpoints"]
    return plan, entries, next(c for c in asked if c["label"] == label)["model"]


def link_sources(store: Path, folder: Path) -> Path:
    """A store with what measurements read, and no measurement."""
    for stage in store.iterdir():
        if stage.is_dir() and stage.name not in CODE:
            (folder / stage.name).symlink_to(stage.resolve())
    return folder


def time_stages(
    plan: Plan, entries: Sequence[Entry], loading: Mapping[str, Any], store: Path
) -> list[Timed]:
    """Make a checkpoint's measurements in both ways, stage by stage."""
    model = load_model(**{n: loading[n] for n in LOADED}, label="emodrift")
    plain, _ = load_network(loading["location"], loading["loading"], loading["dtype"], "plain")
    network = Network(plain.eval().requires_grad_(False), model)
    found = []
    for stage in dict.fromkeys(entry.stage for entry in entries):
        own = [entry for entry in entries if entry.stage == stage]
        way = getattr(Script(network, plan.store), stage)
        tried = {rows: _time(partial(way, own, rows, TRIED[stage]))[0] for rows in ROWS[stage]}
        theirs, numbers = _time(partial(way, own, min(tried, key=tried.__getitem__)))
        ours, _ = _time(partial(measure_entries, model, own, loading["loading"], "emodrift", store))
        agreement = COMPARED[stage]([store / entry.place for entry in own], numbers)
        found.append(Timed(stage, ours, theirs, agreement))
        print(found[-1], flush=True)
    return found


class Script:
    """The script: a way for each stage, over its entries, with so many rows in a batch.

    Each takes ``some``, the number of texts of an entry to try it on; left out, all.
    """

    def __init__(self, network: Network, store: Path) -> None:
        self.network, self.store = network, store

    def activations(
        self, entries: Sequence[Entry], rows: int, some: int | None = None
    ) -> list[np.ndarray]:
        """Pooled residual stream (text, layer, hidden) of each part."""
        found = []
        for entry in entries:
            reading = entry.params["reading"]
            records = load_part(self.store / entry.context["contrasts"], entry.context["part"])
            encoded = encode_records(self.network.model, records[:some], reading)
            weigh = POOLINGS[reading["pooling"]]
            weights = [weigh(len(ids), reading.get("from_token", 0)) for ids in encoded]
            found.append(pool_layers(self.network, encoded, weights, rows))
        return found

    def gradients(
        self, entries: Sequence[Entry], rows: int, some: int | None = None
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """Scores (prompt, reply_class), and gradients (target, layer, hidden), of each part."""
        found = []
        for entry in entries:
            reading, context = entry.params["reading"], entry.context
            form = reading["prompt_format"], reading["plain_prompt"]
            prompts = load_part(self.store / context["contrasts"], context["part"])[:some]
            place = context.get("phrasings", context["contrasts"])
            replies = encode_replies(self.network.model, load_replies(self.store / place), *form)
            encoded = encode_prompts(self.network.model, (p["prompt"] for p in prompts), *form)
            (toward,) = {tuple(reading["toward"][p["suite"]]) for p in prompts}
            targets = [list(replies).index(name) for name in toward]
            first = reading["first_layer"]
            found.append(differentiate(self.network, encoded, replies, targets, first, rows))
        return found

    def samples(
        self, entries: Sequence[Entry], rows: int, some: int | None = None
    ) -> list[list[str]]:
        """Greedy replies of each entry's prompts."""
        found = []
        for entry in entries:
            reading = entry.params["reading"]
            form = reading["prompt_format"], reading["plain_prompt"]
            prompts = load_prompts(self.store / entry.context["contrasts"])
            chosen = choose_spread(prompts, reading["prompts_per_cell"])[:some]
            texts = (prompts[i]["prompt"] for i in chosen)
            encoded = encode_prompts(self.network.model, texts, *form)
            found.append(write_replies(self.network, encoded, reading["max_new_tokens"], rows))
        return found


@torch.inference_mode()
def pool_layers(
    network: Network, encoded: Sequence[TokenIds], weights: Sequence[np.ndarray], rows: int
) -> np.ndarray:
    """Weighted sums over tokens of every layer (text, layer, hidden), without the LM head."""
    found: list[np.ndarray] = [np.zeros(0)] * len(encoded)
    for some in split_sorted(encoded, rows):
        ids, mask = pad_rows([encoded[i] for i in some])
        states = network.network.model(
            input_ids=ids, attention_mask=mask, output_hidden_states=True, use_cache=False
        ).hidden_states
        weighing = pad_sequence([torch.from_numpy(weights[i]) for i in some], batch_first=True)
        pooled = torch.stack([torch.bmm(weighing[:, None], s)[:, 0] for s in states], 1).numpy()
        for row, i in enumerate(some):
            found[i] = pooled[row]
    return np.stack(found)


def differentiate(
    network: Network,
    encoded: Sequence[TokenIds],
    replies: Mapping[str, Sequence[TokenIds]],
    targets: Sequence[int],
    first_layer: int,
    rows: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Scores of reply classes and gradients of their log-odds, summed from the reply point on.

    Parameters
    ----------
    network
        The checkpoint.
    encoded, replies
        Tokens of prompts, and of each class's phrasings.
    targets
        Reply classes that are differentiated.
    first_layer
        Where backward passes end.
    rows
        Prompts in a batch; each brings a row for every phrasing.
    """
    phrasings = [ids for of_class in replies.values() for ids in of_class]
    owner = np.repeat(np.arange(len(replies)), [len(of_class) for of_class in replies.values()])
    scores, gradients = np.zeros((len(encoded), len(replies)), np.float32), {}
    for some in split_sorted(encoded, rows):
        prompts = [encoded[i] for i in some]
        ids, mask = pad_rows([prompt + reply for prompt in prompts for reply in phrasings])
        with record_from(network, first_layer) as states:
            network.network.model(input_ids=ids, attention_mask=mask, use_cache=False)
        logp = score_phrasings(network, states[-1], prompts, phrasings)
        of_class = [logp[:, owner == c] for c in range(len(replies))]
        found = torch.stack([s.logsumexp(1) - np.log(s.shape[1]) for s in of_class], 1)
        scores[some] = found.detach().numpy()
        points = torch.tensor([len(prompt) - 1 for prompt in prompts])
        behind = torch.arange(ids.shape[1]) >= points.repeat_interleave(len(phrasings))[:, None]
        for turn, target in enumerate(targets):
            others = [c for c in range(len(replies)) if c != target]
            odds = found[:, target] - found[:, others].logsumexp(1)
            last = turn + 1 == len(targets)
            slopes = torch.autograd.grad(odds.sum(), states, retain_graph=not last)
            weighing = behind.float()
            summed = [torch.einsum("rt,rth->rh", weighing, slope) for slope in slopes]
            by_prompt = torch.stack([s.unflatten(0, (len(some), -1)).sum(1) for s in summed], 1)
            for row, i in enumerate(some):
                gradients[i, turn] = by_prompt[row].numpy()
    order = [(i, turn) for i in range(len(encoded)) for turn in range(len(targets))]
    return scores, np.stack([gradients[key] for key in order])


def score_phrasings(
    network: Network, last: Tensor, prompts: Sequence[TokenIds], phrasings: Sequence[TokenIds]
) -> Tensor:
    """Log-probability (prompt, phrasing) of every phrasing, from states of the last block."""
    texts = [(prompt, reply) for prompt in prompts for reply in phrasings]
    row = [r for r, (_, reply) in enumerate(texts) for _ in reply]
    column = [len(prompt) - 1 + k for prompt, reply in texts for k in range(len(reply))]
    logits = network.network.lm_head(network.network.model.norm(last[row, column]))
    tokens = torch.tensor([token for _, reply in texts for token in reply])
    logp = logits.log_softmax(-1).gather(1, tokens[:, None])[:, 0]
    summed = torch.zeros(len(texts)).index_add(0, torch.tensor(row), logp)
    return summed.unflatten(0, (len(prompts), -1))


@torch.inference_mode()
def write_replies(
    network: Network, encoded: Sequence[TokenIds], new_tokens: int, rows: int
) -> list[str]:
    """Greedy replies, batches padded left."""
    tokenizer = network.model.tokenizer
    found = [""] * len(encoded)
    for some in split_sorted(encoded, rows):
        width = max(len(encoded[i]) for i in some)
        ids = torch.zeros(len(some), width, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for row, i in enumerate(some):
            ids[row, width - len(encoded[i]) :] = torch.tensor(encoded[i])
            mask[row, width - len(encoded[i]) :] = 1
        written = network.network.generate(
            input_ids=ids, attention_mask=mask, max_new_tokens=new_tokens, do_sample=False
        )[:, width:]
        for row, i in enumerate(some):
            found[i] = tokenizer.decode(written[row], skip_special_tokens=True)
    return found


@contextlib.contextmanager
def record_from(network: Network, first_layer: int) -> Iterator[list[Tensor]]:
    """States from a layer on, where autograd's graph begins."""
    states: list[Tensor] = []

    def begin(_module: Any, _args: Any, output: Tensor) -> Tensor:
        states.append(output.detach().requires_grad_())
        return states[-1]

    handles = [network.blocks[first_layer - 1].register_forward_hook(begin)]
    handles += [
        block.register_forward_hook(lambda _m, _a, output: states.append(output))
        for block in network.blocks[first_layer:]
    ]
    try:
        yield states
    finally:
        for handle in handles:
            handle.remove()


def split_sorted(encoded: Sequence[TokenIds], rows: int) -> Iterator[list[int]]:
    """Texts in batches, longest first."""
    order = sorted(range(len(encoded)), key=lambda i: -len(encoded[i]))
    return (order[k : k + rows] for k in range(0, len(order), rows))


def compare_activations(places: Sequence[Path], theirs: Sequence[np.ndarray]) -> str:
    """Least cosine; the script's last layer has a norm behind it and is left out."""
    ours = [open_array(place / ACTIVATIONS)["activation"].values for place in places]
    pairs = zip(ours, theirs, strict=True)
    return f"least cosine {min(find_least_cosine(a[:, :-1], b[:, :-1]) for a, b in pairs):.5f}"


def compare_gradients(
    places: Sequence[Path], theirs: Sequence[tuple[np.ndarray, np.ndarray]]
) -> str:
    """Largest difference of scores, least cosine of gradients."""
    ours = [open_array(place / GRADIENTS) for place in places]
    pairs = list(zip(ours, theirs, strict=True))
    apart = max(float(np.abs(a["score"].values - b[0]).max()) for a, b in pairs)
    cosine = min(find_least_cosine(a["gradient"].values, b[1]) for a, b in pairs)
    return f"scores to {apart:.1g} nats, least cosine {cosine:.5f}"


def compare_samples(places: Sequence[Path], theirs: Sequence[Sequence[str]]) -> str:
    """Share of replies that are the same."""
    said = [text for of_entry in theirs for text in of_entry]
    return f"{share_equal(read_texts(places), said):.0%} of replies the same"


def read_texts(places: Sequence[Path]) -> list[str]:
    """Replies of entries, in their order."""
    lines = [(place / REPLIES).read_text(encoding="utf-8").splitlines() for place in places]
    return [json.loads(line)["text"] for of_entry in lines for line in of_entry]


def share_equal(ours: Sequence[str], theirs: Sequence[str]) -> float:
    """Share of texts that are the same."""
    return float(np.mean([a == b for a, b in zip(ours, theirs, strict=True)]))


COMPARED: dict[str, Callable[[Sequence[Path], Any], str]] = {
    "activations": compare_activations,
    "gradients": compare_gradients,
    "samples": compare_samples,
}


def describe(rows: Sequence[Timed], label: str) -> str:
    """The section: what was measured where, and a row for each stage and for all."""
    machine = describe_machine("cpu", torch.get_num_threads())
    ours, theirs = (sum(getattr(row, name) for row in rows) for name in ("ours", "theirs"))
    shown = [*rows, Timed("all", ours, theirs, "")]
    table = pd.DataFrame(
        {
            "stage": [row.stage for row in shown],
            "share of emodrift's time": [f"{row.ours / ours:.0%}" for row in shown],
            "emodrift is × as fast": [f"{row.theirs / row.ours:.1f}" for row in shown],
            "agreement": [row.agreement for row in shown],
        }
    ).to_markdown(index=False, disable_numparse=True)
    where = f"{machine['processor']}, {machine['threads']} threads, float32"
    return f"{label} of the study of SmolLM2-135M; {where}.\n\n{table}"


def _time(call: Callable[[], Found]) -> tuple[float, Found]:
    started = time.perf_counter()
    found = call()
    return time.perf_counter() - started, found


def open_array(path: Path) -> xr.Dataset:
    """A measured array."""
    return xr.open_dataset(path, engine="zarr", consolidated=False)


def find_least_cosine(a: np.ndarray, b: np.ndarray) -> float:
    """Least cosine of vectors (..., hidden), those of no length left out."""
    a, b = (v.astype(np.float64) for v in (a, b))
    length = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
    whole = length > 0
    return float(((a * b).sum(-1)[whole] / length[whole]).min())


if __name__ == "__main__":
    main()
