"""Contrast directions do not depend on padding, batches, order, cache or data type.

They are compared with an unbatched reference in double precision, as contrasts: raw means agree to
many digits even where contrasts are wrong.
"""

import copy

import numpy as np
import pytest
import torch

from emodrift.errors import EmodriftError
from emodrift.grammar.sampling import sample_stories
from emodrift.measure.activations import encode_records, extract_part, pool_mean
from emodrift.models.loading import verify_network
from emodrift.models.masks import shape_masks
from emodrift.models.residual import record_residual
from emodrift.organisms.tokenizer import build_tokenizer
from tests.families import CONFIGS, build_model, build_network

FEW = ("gpt2", "llama", "gemma3")
FROM = 4
READING = {"pooling": "mean", "from_token": FROM}
EXACT, HALF = 0.9999, 0.999


@pytest.fixture(scope="module")
def stories():
    return sample_stories(0, 6)[::2]


def pool(ids, states):
    weights = torch.from_numpy(pool_mean(len(ids), FROM)).to(states.dtype)
    return torch.einsum("t,ltx->lx", weights, states).float().numpy()


@torch.inference_mode()
def refer(network, stories):
    """Unbatched reference in double precision, from ``output_hidden_states``."""
    exact = copy.deepcopy(network).double()
    rows = []
    for ids in encode_records(build_model("llama"), stories, READING):
        states = exact(
            input_ids=torch.tensor([ids]), output_hidden_states=True, use_cache=False
        ).hidden_states
        rows.append(pool(ids, torch.stack([s[0] for s in states])))
    return np.stack(rows)


@pytest.fixture(scope="module")
def references(stories):
    known = {}

    def find(kind):
        if kind not in known:
            known[kind] = refer(build_network(kind), stories)
        return known[kind]

    return find


def contrast(values, stories):
    """(label, layer, hidden), without the last layer, which the reference gives behind a norm."""
    labels = np.array([s["label"] for s in stories])
    means = np.stack([values[labels == name].mean(0) for name in sorted(set(labels))])
    return (means - means.mean(0))[:, :-1]


def agree(found, expected, stories):
    """Smallest cosine between contrasts, over labels and layers."""
    a, b = contrast(found, stories), contrast(expected, stories)
    return float(((a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)).min())


@pytest.mark.parametrize("kind", CONFIGS)
@pytest.mark.parametrize(
    ("dtype", "least"),
    [(torch.float32, EXACT), (torch.bfloat16, HALF), (torch.float16, HALF)],
    ids=["float32", "bfloat16", "float16"],
)
def test_contrasts_equal_an_unbatched_double_reference(kind, dtype, least, stories, references):
    found = extract_part(build_model(kind, dtype), stories, READING, 150, "x").values
    assert agree(found, references(kind), stories) >= least


@pytest.mark.parametrize("kind", FEW)
@pytest.mark.parametrize("batch_tokens", [1, 10_000])
def test_batches_of_any_size_give_the_same_contrasts(kind, batch_tokens, stories, references):
    found = extract_part(build_model(kind), stories, READING, batch_tokens, "x").values
    assert agree(found, references(kind), stories) >= EXACT


@pytest.mark.parametrize("kind", FEW)
def test_the_order_of_texts_does_not_matter(kind, stories):
    model = build_model(kind)
    forward = extract_part(model, stories, READING, 150, "x").values
    backward = extract_part(model, stories[::-1], READING, 150, "x").values[::-1]
    np.testing.assert_allclose(forward, backward, rtol=1e-4, atol=1e-5)


@torch.inference_mode()
def read_left_padded(model, stories, careful=True):
    """All texts in one batch, padded on the left; careless: pads are seen and positions shift."""
    encoded = encode_records(model, stories, READING)
    width = max(map(len, encoded)) + 2
    starts = torch.tensor([width - len(ids) for ids in encoded])
    ids = torch.zeros(len(encoded), width, dtype=torch.long)
    for row, tokens in enumerate(encoded):
        ids[row, starts[row] :] = torch.tensor(tokens)
    options = {}
    if careful:
        column = torch.arange(width)
        visible = (column[:, None] >= column) & (column >= starts[:, None])[:, None]
        positions = (column - starts[:, None]).clamp_min(0)
        visible |= torch.eye(width, dtype=torch.bool)
        masks = shape_masks(model, visible, positions)
        options = {"attention_mask": masks, "position_ids": positions}
    with record_residual(model) as residual:
        model.network(input_ids=ids, use_cache=False, **options)
    states = torch.stack([residual[layer] for layer in range(model.layers)])
    rows = [pool(t, states[:, i, starts[i] :]) for i, t in enumerate(encoded)]
    return np.stack(rows)


@pytest.mark.parametrize("kind", FEW)
def test_padding_on_the_left_gives_the_same_contrasts(kind, stories, references):
    found = read_left_padded(build_model(kind), stories)
    assert agree(found, references(kind), stories) >= EXACT


def test_careless_padding_shows_in_contrasts_and_not_in_raw_means(stories):
    network = add_outliers(build_network("gpt2"))
    model = verify_network(network, build_tokenizer(), "x")
    found, expected = read_left_padded(model, stories, careful=False), refer(network, stories)
    a, b = found.mean(0)[1], expected.mean(0)[1]
    assert a @ b / np.linalg.norm(a) / np.linalg.norm(b) > 0.99
    assert agree(found, expected, stories) < 0.9


@pytest.mark.parametrize("kind", FEW)
@torch.inference_mode()
def test_a_pass_in_pieces_with_a_cache_gives_the_same_contrasts(kind, stories, references):
    model = build_model(kind)
    rows = []
    for ids in encode_records(model, stories, READING):
        cache, pieces = None, []
        with record_residual(model) as residual:
            for start in range(0, len(ids), 6):
                piece = torch.tensor([ids[start : start + 6]])
                cache = model.network(
                    input_ids=piece, past_key_values=cache, use_cache=True
                ).past_key_values
                pieces.append(torch.stack([residual[layer][0] for layer in range(model.layers)]))
        rows.append(pool(ids, torch.cat(pieces, dim=1)))
    assert agree(np.stack(rows), references(kind), stories) >= EXACT
    found = extract_part(model, stories, READING, 150, "x").values
    assert agree(found, np.stack(rows), stories) >= EXACT


def add_outliers(network):
    """Dimensions of the residual stream hundreds of times as large as the others, as in LLMs."""
    network = copy.deepcopy(network)
    with torch.no_grad():
        weight = network.get_input_embeddings().weight
        weight[:, 5] += 30
        weight[1, 7] += 100
    return network


@pytest.mark.parametrize(
    ("dtype", "least"),
    [(torch.float32, EXACT), (torch.bfloat16, 0.95), (torch.float16, HALF)],
    ids=["float32", "bfloat16", "float16"],
)
@pytest.mark.parametrize("kind", FEW)
def test_massive_dimensions_cost_what_the_data_type_costs(kind, dtype, least, stories):
    network = add_outliers(build_network(kind))
    expected = refer(network, stories)
    model = verify_network(network.to(dtype), build_tokenizer(), kind)
    found = extract_part(model, stories, READING, 150, "x").values
    alone = extract_part(model, stories, READING, 1, "x").values
    assert agree(found, expected, stories) >= least
    assert agree(found, expected, stories) >= agree(alone, expected, stories) - 1e-3


@pytest.mark.parametrize(
    ("dtype", "remedy"),
    [(torch.float16, "compute.dtype to bfloat16 or float32"), (torch.float32, "drop it")],
    ids=["float16", "float32"],
)
def test_an_overflow_names_checkpoint_layer_prompt_and_remedy(dtype, remedy, stories):
    network = copy.deepcopy(build_network("llama")).to(dtype)
    model = verify_network(network, build_tokenizer(), "x")
    with torch.no_grad():
        network.model.layers[1].mlp.up_proj.weight *= 100
        network.model.layers[1].mlp.down_proj.weight.fill_(torch.finfo(dtype).max)
    with pytest.raises(
        EmodriftError, match=rf"sft step 3: the activation of layer 2 at prompt 'emo.*{remedy}"
    ):
        extract_part(model, stories, READING, 150, "sft step 3")
