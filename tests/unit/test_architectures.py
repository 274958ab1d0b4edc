"""Every family's residual stream is found, read, steered, resumed and packed exactly."""

import copy

import pytest
import torch
from torch import nn

from emodrift.errors import EmodriftError
from emodrift.models.blocks import check_reading, find_blocks
from emodrift.models.language_model import LanguageModel
from emodrift.models.loading import verify_network
from emodrift.models.masks import shape_masks
from emodrift.models.residual import (
    predict_from,
    record_residual,
    resume_residual,
    steer_residual,
)
from emodrift.models.verification import verify_blocks
from emodrift.organisms.tokenizer import build_tokenizer
from tests.families import CONFIGS, FAMILIES, MASKLESS, WINDOW, build_model, build_network

LENGTH = 3 * WINDOW


@pytest.fixture(scope="module")
def ids():
    return torch.randint(5, 300, (2, LENGTH), generator=torch.Generator().manual_seed(1))


def run(network, ids, **options):
    mask = options.pop("attention_mask", torch.ones_like(ids))
    return network(input_ids=ids, attention_mask=mask, use_cache=False, **options)


def close(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", FAMILIES)
@torch.inference_mode()
def test_hidden_states_are_read_as_transformers_gives_them(kind, ids):
    model = build_model(kind)
    with record_residual(model) as residual:
        states = run(model.network, ids, output_hidden_states=True).hidden_states
    assert list(residual) == list(range(5))
    first = 1 if kind == "mamba" else 0
    for layer in range(4):
        assert torch.equal(residual[first + layer], states[layer])
    close(predict_from(model, residual[4]), run(model.network, ids).logits)


class Shifted(nn.Module):
    """A block that has a vector built in."""

    def __init__(self, block, vector):
        super().__init__()
        self.block = block
        self.vector = vector

    def __getattr__(self, name):
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(self.block, name)

    def forward(self, *args, **kwargs):
        output = self.block(*args, **kwargs)
        if isinstance(output, tuple):
            return output[0] + self.vector, *output[1:]
        return output + self.vector


@pytest.mark.parametrize("kind", FAMILIES)
@torch.inference_mode()
def test_steering_and_resuming_equal_a_network_that_has_the_vector_built_in(kind, ids):
    model = build_model(kind)
    vector = torch.randn(32, generator=torch.Generator().manual_seed(2))
    plain = run(model.network, ids).logits
    for layer in (1, 2, 4):
        block = model.blocks[layer - 1]
        model.blocks[layer - 1] = Shifted(block, vector)
        try:
            expected = run(model.network, ids).logits
        finally:
            model.blocks[layer - 1] = block
        assert (expected - plain).abs().max() > 1e-2
        with steer_residual(model, layer, vector):
            close(run(model.network, ids).logits, expected)
        with record_residual(model) as residual:
            run(model.network, ids)
        with resume_residual(model, layer, residual[layer] + vector):
            close(run(model.network, ids).logits, expected)
    assert torch.equal(run(model.network, ids).logits, plain)


def test_blocks_that_share_keys_with_later_ones_are_not_passed_over():
    assert not build_model("gemma4").resumes
    assert all(build_model(kind).resumes for kind in FAMILIES if kind != "gemma4")


def test_replies_are_packed_where_attention_follows_a_mask():
    assert all(build_model(kind).packs for kind in CONFIGS)
    assert not any(build_model(kind).packs for kind in MASKLESS)


def pack(prompt, branches):
    """Ids, what each token sees, and positions of branches packed behind a prompt, padded left."""
    length = len(prompt)
    ids = torch.tensor([0, 0, *prompt, *(t for branch in branches for t in branch)])[None]
    owner = torch.tensor(
        [-1, -1, *[0] * length, *(k for k, b in enumerate(branches, 1) for _ in b)]
    )
    column = torch.arange(len(owner))
    visible = (column[:, None] >= column) & ((owner == 0) | (owner[:, None] == owner))
    places = [0, 0, *range(length), *(length + i for b in branches for i in range(len(b)))]
    return ids, (visible | torch.eye(len(owner), dtype=torch.bool))[None], torch.tensor([places])


@pytest.mark.parametrize("kind", CONFIGS)
@torch.inference_mode()
def test_branches_longer_than_the_window_give_what_they_give_alone(kind, ids):
    model = build_model(kind)
    prompt, rest = ids[0].tolist(), ids[1].tolist()
    branches = [rest[:4], rest[4:5], rest[5 : 5 + WINDOW + 3]]
    packed, visible, positions = pack(prompt, branches)
    masks = shape_masks(model, visible, positions)
    logits = run(model.network, packed, attention_mask=masks, position_ids=positions).logits[0]
    start = 2 + len(prompt)
    close(logits[2:start], run(model.network, ids[:1]).logits[0])
    for branch in branches:
        alone = run(model.network, torch.tensor([prompt + branch])).logits[0]
        close(logits[start : start + len(branch)], alone[len(prompt) :])
        start += len(branch)


@torch.inference_mode()
def test_a_mask_without_the_window_is_seen_to_be_wrong(ids):
    model = build_model("mistral")
    full = torch.tril(torch.ones(LENGTH, LENGTH, dtype=torch.bool))[None, None]
    wrong = torch.zeros(full.shape).masked_fill(~full, torch.finfo(torch.float32).min)
    logits = run(model.network, ids[:1], attention_mask=wrong).logits
    assert (logits - run(model.network, ids[:1]).logits).abs().max() > 1e-2


def change(kind):
    return copy.deepcopy(build_network(kind))


def verify(network, blocks=None):
    return verify_network(network, build_tokenizer(), "sft step 3", blocks)


def test_blocks_are_found_beside_lists_of_the_same_length():
    network = change("llama")
    network.model.towers = nn.ModuleList(nn.Linear(2, 2) for _ in range(4))
    network.model.attentions = nn.ModuleList(b.self_attn for b in network.model.layers)
    order = [*network.model._modules]
    for name in sorted(order, key=lambda name: name == "layers"):
        network.model._modules[name] = network.model._modules.pop(name)
    assert find_blocks(network, "x") is network.model.layers
    multimodal = build_network("gemma3_multimodal")
    assert find_blocks(multimodal, "x") is multimodal.model.language_model.layers


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("model.attentions", "compute.blocks model.attentions: layer 0 differs"),
        ("model.few", "it has 2 members, the network 5 hidden states"),
        ("model.norm", "which is no list of modules.*model.layers"),
        ("model.idle", "member 0 is not called"),
    ],
)
def test_a_key_that_names_other_modules_is_refused(path, problem):
    network = change("llama")
    layers = network.model.layers
    network.model.attentions = nn.ModuleList(block.self_attn for block in layers)
    network.model.few = nn.ModuleList(block.mlp for block in layers[:2])
    network.model.idle = nn.ModuleList(nn.Identity() for _ in range(4))
    with pytest.raises(EmodriftError, match=rf"sft step 3.*{problem}"):
        verify(network, path)
    assert verify(network, "model.layers").blocks is layers


def test_a_last_block_whose_output_is_not_what_is_read_out_is_refused():
    network = change("llama")
    blocks = nn.ModuleList([*network.model.layers[:3], network.model.layers[3].mlp])
    assert check_reading(network, blocks) is None
    with pytest.raises(EmodriftError, match=r"do not follow from.*last block.*compute\.blocks"):
        verify_blocks(LanguageModel(network, build_tokenizer(), blocks), "sft step 3")


def test_an_unknown_architecture_is_told_to_name_its_blocks():
    network = change("llama")
    network.model.layers = nn.Sequential(*network.model.layers)
    with pytest.raises(EmodriftError, match=r"no list of 4 modules.*name it with compute\.blocks"):
        verify(network)


def test_a_residual_stream_that_is_changed_in_place_is_refused():
    network = change("llama")
    block = network.model.layers[2]
    forward = block.forward

    def overwrite(hidden_states, **options):
        return hidden_states.add_(forward(hidden_states, **options))

    block.forward = overwrite
    with pytest.raises(EmodriftError, match="layer 2 is changed in place"):
        verify(network)


def test_a_text_that_sees_the_padding_behind_it_is_refused():
    network = change("llama")
    block = network.model.layers[1]
    forward = block.forward

    def look_ahead(hidden_states, **options):
        return forward(hidden_states, **options) + hidden_states.mean(1, keepdim=True)

    block.forward = look_ahead
    with pytest.raises(EmodriftError, match="padding behind a text changes its activations"):
        verify(network)
