"""Two controls of the vectors' worth: words alone, and a model that has learnt nothing."""

import numpy as np
import pytest
import torch

from emodrift.grammar.sampling import sample_stories
from emodrift.measure.activations import encode_records, extract_part
from emodrift.measure.words import average_words
from emodrift.models.loading import load_model
from emodrift.vectors.estimators import label_texts, subtract_emotion_mean
from emodrift.vectors.quality import score_pairs
from tests.conftest import save_checkpoint

LOADING = {"device": "cpu", "allow_pickle": False, "batch_tokens": 512}
READING = {"pooling": "reply", "from_token": 0}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return save_checkpoint(tmp_path_factory.mktemp("checkpoint"), seed=3, step=0)


def load(checkpoint, **location):
    return load_model({"path": str(checkpoint), **location}, LOADING, "auto", "x")


def test_words_are_the_mean_embedding_of_all_tokens_and_know_no_order(checkpoint):
    model = load(checkpoint)
    encoded = encode_records(model, sample_stories(0, 2), READING)
    words = average_words(model, encoded)
    table = model.network.get_input_embeddings().weight.numpy()
    for ids, found in zip(encoded, words, strict=True):
        np.testing.assert_allclose(found, table[ids].mean(0), atol=1e-6)
    shuffled = [list(np.random.default_rng(0).permutation(ids)) for ids in encoded]
    np.testing.assert_array_equal(average_words(model, shuffled), words)


def test_words_alone_are_at_chance_on_minimal_pairs_of_the_same_words(checkpoint):
    model = load(checkpoint)
    stories = sample_stories(0, 24)
    pairs = {}
    for story in stories:
        if story.get("pair"):
            pairs.setdefault(story["pair"], []).append(story["text"].split())
    assert all(sorted(a) == sorted(b) for a, b in pairs.values())
    texts = extract_part(model, stories, READING, 512, "x").isel(layer=0, drop=True)
    texts = texts.copy(data=average_words(model, encode_records(model, stories, READING)))
    labelled = label_texts(texts)
    vector = subtract_emotion_mean(labelled).mean(0)
    assert score_pairs(texts, vector, labelled.labels).accuracy == 0.5


def test_a_twin_has_the_shape_of_the_checkpoint_and_weights_of_its_seed_alone(checkpoint):
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    twin, again, other = (load(checkpoint, initialise=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.rand(3), expected)
    own = load(checkpoint)
    weights = [m.network.state_dict() for m in (own, twin, again, other)]
    assert all(weights[0][n].shape == w.shape for n, w in weights[1].items())
    name = "model.layers.1.mlp.up_proj.weight"
    assert torch.equal(weights[1][name], weights[2][name])
    assert not torch.equal(weights[1][name], weights[3][name])
    assert not torch.equal(weights[1][name], weights[0][name])
    assert twin.tokenizer("the lamp").input_ids == own.tokenizer("the lamp").input_ids
