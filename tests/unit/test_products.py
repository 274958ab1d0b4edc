"""Products by oneDNN are those of torch, for values and for gradients."""

import copy

import pytest
import torch
from torch import nn

from emodrift.models import products
from emodrift.models.products import OneDnnLinear, prefers_onednn, speed_products

pytestmark = pytest.mark.skipif(
    not torch.backends.mkldnn.is_available(), reason="this torch has no oneDNN"
)


@pytest.fixture
def pair(monkeypatch):
    """A small network, and its copy with oneDNN's products."""
    monkeypatch.setattr(products, "prefers_onednn", lambda: True)
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Linear(48, 80), nn.SiLU(), nn.Linear(80, 24, bias=False))
    plain.requires_grad_(False)
    fast = copy.deepcopy(plain)
    speed_products(fast)
    assert [type(module) for module in fast] == [OneDnnLinear, nn.SiLU, OneDnnLinear]
    return plain, fast


@pytest.mark.parametrize("shape", [(48,), (1, 48), (7, 48), (3, 5, 48), (0, 48)])
def test_values_are_those_of_torch_in_any_shape(pair, shape):
    plain, fast = pair
    hidden = torch.randn(shape)
    torch.testing.assert_close(fast(hidden), plain(hidden), rtol=1e-5, atol=1e-6)


def test_values_do_not_depend_on_the_layout_in_memory(pair):
    plain, fast = pair
    hidden = torch.randn(48, 5, 3).transpose(0, 2)
    assert not hidden.is_contiguous()
    torch.testing.assert_close(fast(hidden), plain(hidden), rtol=1e-5, atol=1e-6)


def test_rounding_is_that_of_single_precision(pair):
    plain, fast = pair
    hidden = torch.randn(2_000, 48)
    exact = copy.deepcopy(plain).double()(hidden.double())
    errors = [float((found(hidden) - exact).abs().max()) for found in (plain, fast)]
    assert errors[1] < 4 * errors[0]


def test_gradients_are_those_of_torch(pair):
    plain, fast = pair
    slopes = []
    for network in (plain, fast):
        hidden = torch.randn(4, 6, 48, generator=torch.manual_seed(1)).requires_grad_()
        network(hidden).sin().sum().backward()
        slopes.append(hidden.grad)
    torch.testing.assert_close(slopes[1], slopes[0], rtol=1e-5, atol=1e-6)


def test_other_data_types_stay_with_torch(pair):
    plain, fast = pair
    hidden = torch.randn(3, 48, dtype=torch.float64)
    assert torch.equal(fast.double()(hidden), plain.double()(hidden))


def test_weights_that_are_trained_stay_with_torch(monkeypatch):
    monkeypatch.setattr(products, "prefers_onednn", lambda: True)
    layer = nn.Linear(4, 4)
    speed_products(layer)
    assert type(layer) is nn.Linear


@pytest.mark.parametrize("maker, wanted", [("GenuineIntel", False), ("AuthenticAMD", True)])
def test_processors_of_other_makers_than_intel_use_onednn(monkeypatch, tmp_path, maker, wanted):
    path = tmp_path / "cpuinfo"
    path.write_text(f"vendor_id\t: {maker}\n")
    monkeypatch.setattr(products, "PROCESSORS", path)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    assert prefers_onednn.__wrapped__() is wanted
