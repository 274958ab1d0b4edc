"""Mixed precision changes products with weights alone, and loses less than half precision does."""

import copy

import pytest
import torch
from torch import nn

from emodrift.models.precision import MixedLinear, mix_precision, open_model
from emodrift.plan.measurements import CODE, LOADING
from emodrift.store import machine
from emodrift.store.code import list_modules
from tests.conftest import save_checkpoint
from tests.families import build_network

TOKENS = torch.randint(5, 90, (4, 24), generator=torch.manual_seed(3))


def mix(kind):
    """A network, frozen, and its copy in mixed precision."""
    network = copy.deepcopy(build_network(kind)).eval().requires_grad_(False)
    mixed = copy.deepcopy(network)
    mix_precision(mixed)
    return network, mixed


def differentiate(network):
    """States above all blocks and the slope of a token's probability along the embeddings."""
    embedded = network.get_input_embeddings()(TOKENS).detach().requires_grad_()
    found = network(inputs_embeds=embedded, output_hidden_states=True)
    score = found.logits.float().log_softmax(-1)[:, -1, 7].sum()
    (slope,) = torch.autograd.grad(score, embedded)
    return found.hidden_states[-1], slope.float().flatten(1)


@pytest.mark.parametrize("kind", ["llama", "gemma2"])
def test_all_but_products_stays_in_single_precision(kind):
    network, mixed = mix(kind)
    linear = [m for m in mixed.modules() if isinstance(m, nn.Linear)]
    assert all(type(m) is MixedLinear and m.weight.dtype == torch.bfloat16 for m in linear)
    assert torch.equal(mixed.get_input_embeddings().weight, network.get_input_embeddings().weight)
    states, slope = differentiate(mixed)
    assert states.dtype == slope.dtype == torch.float32


@pytest.mark.parametrize("kind", ["llama", "gemma2", "qwen2"])
def test_states_lose_less_than_in_half_precision_and_slopes_point_where_they_should(kind):
    network, mixed = mix(kind)
    (exact, slope), (found, mixed_slope) = differentiate(network), differentiate(mixed)
    half, _ = differentiate(copy.deepcopy(network).to(torch.bfloat16))
    assert 0 < (found - exact).norm() < (half.float() - exact).norm()
    assert torch.cosine_similarity(mixed_slope, slope).min() > 0.995


def test_weights_that_learn_stay_as_they_are():
    layer = nn.Linear(4, 4)
    mix_precision(layer)
    assert type(layer) is nn.Linear and layer.weight.dtype == torch.float32


@pytest.mark.parametrize(
    ("flags", "said"), [("fpu avx512f avx512_bf16 amx_tile", 0), ("fpu avx512f", 1)]
)
def test_a_processor_without_such_products_is_said_so(tmp_path, monkeypatch, caplog, flags, said):
    (tmp_path / "cpuinfo").write_text(f"flags\t\t: {flags}\n")
    monkeypatch.setattr(machine, "CPU_INFO", tmp_path / "cpuinfo")
    folder = save_checkpoint(tmp_path / "sft", seed=0, step=1)
    loading = {"device": "cpu", "allow_pickle": False}
    model = open_model({"path": str(folder)}, loading, "float32", True, "sft step 1")
    assert any(type(m) is MixedLinear for m in model.network.modules())
    assert caplog.text.count("no instructions for bfloat16") == said


def test_no_key_of_another_precision_rests_on_it():
    for function in CODE.values():
        assert "emodrift.models.precision" not in list_modules(function, LOADING)
