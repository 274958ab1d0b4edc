"""Exports read back by the packages they are for, where these are installed.

``pip install steering-vectors "lm-eval[hf]"``; repeng needs NumPy 1 (docs/exports.md).
"""

import numpy as np
import pytest
import torch

from emodrift.exports.formats import FORMATS
from tests.conftest import save_checkpoint
from tests.unit.test_exports import HIDDEN, LAYER, NORM, vectors

__all__ = ["vectors"]
STRENGTH = 0.5


@pytest.fixture
def asked(vectors):
    return STRENGTH * NORM * vectors.direction[0]


def test_steering_vectors_takes_the_file_as_its_arguments(vectors, asked, tmp_path):
    package = pytest.importorskip("steering_vectors")
    path = FORMATS["steering-vectors"](vectors, tmp_path, STRENGTH)[0]
    read = package.SteeringVector(**torch.load(path, weights_only=True))
    assert read.layer_type == "decoder_block"
    np.testing.assert_allclose(read.layer_activations[LAYER - 1].numpy(), asked, rtol=1e-6)


def test_a_steered_model_of_lm_eval_moves_the_locked_layer(vectors, asked, tmp_path):
    steered = pytest.importorskip("lm_eval.models.hf_steered")
    folder = save_checkpoint(tmp_path / "model", seed=0, step=0, hidden=HIDDEN)
    path = FORMATS["lm-eval"](vectors, tmp_path, STRENGTH)[0]
    model = steered.SteeredModel(
        pretrained=str(folder), steer_path=str(path), device="cpu", dtype="float32"
    )
    seen = []
    model.model.model.layers[LAYER].register_forward_pre_hook(
        lambda module, args, named: seen.append((args or (named["hidden_states"],))[0].detach()),
        with_kwargs=True,
    )
    ids = torch.tensor([[1, 5, 6, 7]])
    with torch.no_grad():
        model._model_call(ids)
        model.model(ids)
    shift = (seen[0] - seen[1])[0].numpy()
    np.testing.assert_allclose(shift, np.broadcast_to(asked, shift.shape), atol=1e-3)
