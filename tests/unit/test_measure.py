"""Reading and steering are exact, whatever the batching, padding and architecture."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr
from transformers import AutoConfig, AutoModelForCausalLM

from emodrift.errors import EmodriftError
from emodrift.grammar.sampling import REPLY_CLASSES, sample_prompts, sample_stories
from emodrift.measure import gradients
from emodrift.measure.activations import encode_records, extract_part, pool_mean
from emodrift.measure.arrays import compress, join_parts
from emodrift.measure.dialogues import Dialogues, run_rows, score_replies
from emodrift.measure.gradients import Question, compute_odds, differentiate_prompts
from emodrift.measure.responses import choose_spread, score_steered
from emodrift.measure.session import Session
from emodrift.measure.trees import grow_tree, mark_steered
from emodrift.models.loading import load_model, verify_network
from emodrift.models.memory import TokenBudget
from emodrift.models.prompts import encode_prompts, encode_replies
from emodrift.models.residual import steer_residual
from tests.conftest import make_llama, save_checkpoint
from tests.families import build_model

LOADING = {"device": "cpu", "allow_pickle": False, "batch_tokens": 512}
READINGS = {
    "reply": {"pooling": "reply", "from_token": 0},
    "mean": {"pooling": "mean", "from_token": 8},
    "last": {"pooling": "last", "from_token": 0},
}
FAMILIES = ("llama", "gpt2", "gpt_neox", "qwen3", "gemma2", "olmo2", "olmo3", "mistral", "phi3")


def build():
    return verify_network(*make_llama(0), "x")


@pytest.fixture(scope="module")
def model():
    return build()


@pytest.fixture(scope="module")
def stories():
    return sample_stories(0, 12)[::3]


def read_one_by_one(model, stories, reading):
    """Unbatched float64 reference by ``output_hidden_states``."""
    network = model.network.double()
    try:
        rows = []
        for ids in encode_records(model, stories, reading):
            states = network(torch.tensor([ids]), output_hidden_states=True).hidden_states
            layers = torch.stack([s[0] for s in states])
            if reading["pooling"] == "mean":
                weights = torch.from_numpy(pool_mean(len(ids), reading["from_token"])).double()
                rows.append(torch.einsum("t,ltx->lx", weights, layers).numpy())
            else:
                rows.append(layers[:, -1].numpy())
        return np.stack(rows)
    finally:
        model.network.float()


def contrast(values, stories):
    labels = np.array([s["label"] for s in stories])
    means = np.stack([values[labels == name].mean(0) for name in sorted(set(labels))])
    return means - means.mean(0)


@pytest.mark.parametrize("pooling", READINGS)
@pytest.mark.parametrize("batch_tokens", [1, 200, 10_000])
def test_contrasts_equal_an_unbatched_double_reference(model, stories, pooling, batch_tokens):
    reading = READINGS[pooling]
    expected = contrast(read_one_by_one(model, stories, reading), stories)
    found = extract_part(model, stories, reading, batch_tokens, "x").values
    found = contrast(found, stories)
    for layer in range(1, 3):
        a, b = expected[:, layer], found[:, layer]
        cosine = (a * b).sum(1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))
        assert cosine.min() >= 0.9999


def test_the_order_of_texts_does_not_matter(model, stories):
    forward = extract_part(model, stories, READINGS["mean"], 300, "x").values
    backward = extract_part(model, stories[::-1], READINGS["mean"], 300, "x").values[::-1]
    np.testing.assert_allclose(forward, backward, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", FAMILIES)
def test_architectures_are_scored_and_steered_like_plain_transformers(kind):
    model = build_model(kind, scale=0.3)
    prompts, classes = encode(model)
    tree = grow_tree(classes)
    found = differentiate(model, prompts, tree, (), "all", "mean", 2_000)
    np.testing.assert_allclose(found.scores, score_plainly(model, prompts, classes), atol=2e-4)

    direction = torch.nn.functional.normalize(torch.randn(1, 32), dim=1)
    steered = steer(model, prompts, tree, direction, 2, [3.0], "all", "mean", 2_000)
    with steer_residual(model, 2, 3.0 * direction[0]):
        expected = score_plainly(model, prompts, classes)
    np.testing.assert_allclose(steered[0, 0], expected, atol=5e-4)


def pose(model, prompts, tree, score="mean"):
    return Dialogues(model, prompts, [f"p{i}" for i in range(len(prompts))], tree, score)


def differentiate(model, prompts, tree, targets, positions, score, budget, recompute=False):
    dialogues = pose(model, prompts, tree, score)
    session = Session(model, TokenBudget(budget), "x", recompute=recompute)
    return differentiate_prompts(dialogues, Question(targets, positions), session)


def steer(model, prompts, tree, directions, layer, lengths, positions, score, budget):
    dialogues = pose(model, prompts, tree, score)
    return score_steered(dialogues, directions, layer, lengths, positions, TokenBudget(budget))


def encode(model):
    prompts = [p["prompt"] for p in sample_prompts(0, 2)[:6]]
    encoded = encode_prompts(model, prompts, "plain", "user : {prompt} assistant :")
    return encoded, encode_replies(model, {k: list(v) for k, v in REPLY_CLASSES.items()}, "plain")


@torch.inference_mode()
def score_plainly(model, prompts, classes):
    """One forward pass for each prompt and phrasing, no packing."""
    table = []
    for prompt in prompts:
        row = []
        for phrasings in classes.values():
            scores = []
            for reply in phrasings:
                logits = model.network(torch.tensor([prompt + reply])).logits[0]
                logp = logits.log_softmax(-1)[len(prompt) - 1 : -1]
                scores.append(logp[torch.arange(len(reply)), reply].mean())
            row.append(torch.stack(scores).logsumexp(0) - np.log(len(scores)))
        table.append(row)
    return np.array(table, dtype=np.float32)


@pytest.mark.parametrize("layer", [0, 1, 3])
@pytest.mark.parametrize("positions", ["reply", "all"])
def test_steering_equals_adding_the_vector_by_hand(model, layer, positions):
    prompts, classes = encode(model)
    tree = grow_tree(classes)
    directions = torch.nn.functional.normalize(torch.randn(2, 32), dim=1)
    lengths = [-4.0, 4.0]
    scores = steer(model, prompts, tree, directions, layer, lengths, positions, "sum", 900)
    one = prompts[3]
    for d in range(2):
        for s, length in enumerate(lengths):
            row = []
            for phrasings in classes.values():
                values = []
                for reply in phrasings:
                    ids = torch.tensor([one + reply])
                    where = torch.zeros(1, ids.shape[1], 1)
                    where[:, len(one) - 1 if positions == "reply" else 0 :] = 1
                    with (
                        torch.inference_mode(),
                        steer_residual(model, layer, where * length * directions[d]),
                    ):
                        logp = model.network(ids).logits[0].log_softmax(-1)[len(one) - 1 : -1]
                    values.append(logp[torch.arange(len(reply)), reply].sum())
                row.append(torch.stack(values).logsumexp(0) - np.log(len(values)))
            np.testing.assert_allclose(scores[d, s, 3], np.array(row), atol=5e-4)


@pytest.mark.parametrize("kind", FAMILIES)
@pytest.mark.parametrize("positions", ["reply", "all"])
def test_gradients_equal_central_finite_differences_at_every_layer(kind, positions):
    model = build_model(kind, torch.float64, 0.3)
    prompts, classes = encode(model)
    tree = grow_tree(classes)
    targets = [(0, 1), (0, 3), (2, 0), (5, 2)]
    found = differentiate(model, prompts, tree, targets, positions, "mean", 700, kind == "llama")
    directions = torch.nn.functional.normalize(torch.randn(2, 32, dtype=torch.float64), dim=1)
    for layer in range(model.layers):
        length = 1e-3 * float(found.norms[layer])
        moved = score_added(model, prompts, tree, directions, layer, length, positions)
        for number, (row, reply_class) in enumerate(targets):
            expected = (moved[:, 1, row, reply_class] - moved[:, 0, row, reply_class]) / 2e-3
            slopes = directions.numpy() @ found.gradients[number, layer]
            scale = np.abs(expected).max()
            assert np.abs(slopes - expected).max() < 0.01 * scale, (layer, number)


@torch.no_grad()
def score_added(model, prompts, tree, directions, layer, length, positions):
    """Log-odds (direction, sign, prompt, reply_class) with vectors added by a hook."""
    table = np.empty((len(directions), 2, len(prompts), len(tree.classes)))
    dialogues = pose(model, prompts, tree)
    rows = dialogues.lay_out(range(len(prompts)))
    steered = mark_steered(rows, positions)[..., None].double()
    for d, direction in enumerate(directions):
        for s, sign in enumerate((-1, 1)):
            with steer_residual(model, layer, sign * length * direction * steered):
                last = run_rows(model, rows)[model.layers - 1]
            table[d, s] = compute_odds(score_replies(dialogues, last, rows)).numpy()
    return table


@pytest.mark.parametrize(
    ("dtype", "least"), [(torch.float16, 0.9998), (torch.bfloat16, 0.996)], ids=str
)
@pytest.mark.parametrize("kind", ["llama", "gpt2", "gemma2"])
def test_gradients_in_half_precision_point_where_those_in_double_precision_do(kind, dtype, least):
    half = build_model(kind, dtype)
    double = verify_network(copy.deepcopy(half.network).double(), half.tokenizer, kind)
    prompts, classes = encode(half)
    targets = [(0, 1), (2, 0), (5, 2)]
    found, expected = (
        differentiate(m, prompts, grow_tree(classes), targets, "reply", "mean", 700).gradients
        for m in (half, double)
    )
    cosine = (found * expected).sum(-1) / np.linalg.norm(found, axis=-1)
    assert (cosine / np.linalg.norm(expected, axis=-1)).min() > least


def test_recomputed_blocks_give_the_same_gradients(model):
    prompts, classes = encode(model)
    tree, targets = grow_tree(classes), [(0, 1), (0, 3), (4, 2)]
    kept, again = (
        differentiate(model, prompts, tree, targets, "reply", "sum", 900, recompute)
        for recompute in (False, True)
    )
    np.testing.assert_allclose(again.gradients, kept.gradients, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(again.scores, kept.scores, rtol=1e-5)
    assert not any("forward" in vars(block) for block in model.blocks)


def test_gradients_do_not_depend_on_the_batch(model):
    prompts, classes = encode(model)
    tree, targets = grow_tree(classes), [(3, 1), (0, 3), (3, 2), (5, 0)]
    one, many = (
        differentiate(model, prompts, tree, targets, "reply", "sum", budget)
        for budget in (1, 10_000)
    )
    np.testing.assert_allclose(one.gradients, many.gradients, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(one.norms, many.norms, rtol=1e-5)


@pytest.mark.parametrize("layer", [1, 3])
@pytest.mark.parametrize("recompute", [False, True])
def test_a_backward_pass_that_ends_at_a_layer_gives_the_gradients_from_there_up(
    model, layer, recompute
):
    prompts, classes = encode(model)
    targets = [(3, 1), (0, 3), (3, 2), (5, 0)]
    dialogues = pose(model, prompts, grow_tree(classes), "sum")
    session = Session(model, TokenBudget(500), "x", recompute=recompute)
    whole, upper = (
        differentiate_prompts(dialogues, Question(targets, "all", first), session)
        for first in (0, layer)
    )
    assert upper.gradients.shape[1] == model.layers - layer
    np.testing.assert_allclose(upper.gradients, whole.gradients[:, layer:], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(upper.norms, whole.norms[layer:], rtol=1e-6)
    np.testing.assert_allclose(upper.scores, whole.scores, rtol=1e-6)


def test_gradients_of_an_interrupted_job_are_not_taken_again(model, tmp_path, monkeypatch):
    prompts, classes = encode(model)
    tree, targets = grow_tree(classes), [(3, 1), (0, 3), (3, 2), (5, 0)]
    asked = pose(model, prompts, tree, "sum"), Question(targets, "reply")
    session = Session(model, TokenBudget(1), "x")
    expected = differentiate_prompts(*asked, session)
    session = replace(session, partial=tmp_path)
    original, calls = gradients.differentiate_rows, []

    def stop_after_four(*arguments):
        if len(calls) == 4:
            raise KeyboardInterrupt
        calls.append(arguments)
        return original(*arguments)

    monkeypatch.setattr(gradients, "differentiate_rows", stop_after_four)
    with pytest.raises(KeyboardInterrupt):
        differentiate_prompts(*asked, session)
    calls.clear()
    found = differentiate_prompts(*asked, session)
    assert len(calls) == 2
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)


def test_no_vector_stays_behind_after_steering_even_after_an_error(model):
    ids = torch.tensor([[1, 5, 6, 7]])
    with torch.inference_mode():
        before = model.network(ids).logits
        with pytest.raises(RuntimeError), steer_residual(model, 2, torch.ones(32)):
            raise RuntimeError
        prompts, classes = encode(model)
        steer(model, prompts, grow_tree(classes), torch.eye(32)[:2], 2, [1.0], "all", "sum", 500)
        after = model.network(ids).logits
    assert torch.equal(before, after)
    assert not any("forward" in vars(block) for block in model.blocks)


def test_the_mean_starts_at_a_third_of_a_short_text():
    np.testing.assert_allclose(pool_mean(9, 50), [0] * 3 + [1 / 6] * 6)
    np.testing.assert_allclose(pool_mean(200, 50)[[49, 50]], [0, 1 / 150], rtol=1e-6)


def test_half_precision_is_used_unless_it_would_overflow(model, stories):
    array = extract_part(model, stories[:4], READINGS["last"], 300, "x")
    assert compress(array.to_dataset(), "activation")["activation"].dtype == np.float16
    loud = (array * 1e6).to_dataset(name="activation")
    assert compress(loud, "activation")["activation"].dtype == np.float32


def test_a_spread_of_prompts_takes_families_in_turn():
    prompts = sample_prompts(0, 12)
    chosen = [prompts[i] for i in choose_spread(prompts, 4)]
    cells = {(p["suite"], p["split"]) for p in prompts}
    assert len(chosen) == 4 * len(cells)
    for cell in cells:
        families = [p["family"] for p in chosen if (p["suite"], p["split"]) == cell]
        of_cell = {p["family"] for p in prompts if (p["suite"], p["split"]) == cell}
        assert len(set(families)) == min(4, len(of_cell))


def test_a_story_without_reply_cue_cannot_be_pooled_at_the_reply_point(model, stories):
    bare = [{k: v for k, v in s.items() if k != "reply_cue"} for s in stories]
    with pytest.raises(EmodriftError, match="has no reply_cue"):
        extract_part(model, bare, READINGS["reply"], 300, "x")


def test_an_activation_that_is_not_finite_names_checkpoint_layer_and_prompt(stories):
    broken = build()
    broken.blocks[1].mlp.down_proj.weight[0, 0] = float("inf")
    with pytest.raises(EmodriftError, match=r"sft step 3.*layer 2 at prompt 'emotion-"):
        extract_part(broken, stories[:2], READINGS["last"], 300, "sft step 3")


def test_broken_weights_are_refused_at_loading(tmp_path):
    folder = save_checkpoint(tmp_path / "checkpoint-1", seed=0, step=1)
    network, _ = make_llama(0)
    with torch.no_grad():
        network.model.layers[0].mlp.up_proj.weight[0, 0] = float("nan")
    network.save_pretrained(folder)
    with pytest.raises(EmodriftError, match="holds NaN or infinity"):
        load_model({"path": str(folder)}, LOADING, "float32", "sft step 1")


def test_an_adapter_is_merged_into_its_base(tmp_path):
    from peft import LoraConfig, get_peft_model

    base = save_checkpoint(tmp_path / "base", seed=0, step=0)
    torch.manual_seed(1)
    network = AutoModelForCausalLM.from_pretrained(base)
    adapted = get_peft_model(
        network, LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False)
    )
    adapted.save_pretrained(tmp_path / "adapter")
    ids = torch.tensor([[1, 5, 6, 7]])
    expected = adapted.eval()(ids).logits
    location = {"path": str(tmp_path / "adapter"), "base": {"path": str(base)}}
    loaded = load_model(location, LOADING, "float32", "lora step 1")
    torch.testing.assert_close(loaded.network(ids).logits, expected, atol=1e-4, rtol=1e-4)
    assert AutoConfig.from_pretrained(base).hidden_size == loaded.hidden


def test_parts_with_and_without_a_label_are_joined():
    def make(**labels):
        coords = {
            name: ("prompt", np.array([value], dtype=object)) for name, value in labels.items()
        }
        return xr.DataArray(np.ones((1, 2)), dims=("prompt", "hidden"), coords=coords)

    joined = join_parts([make(id="a", pair="x"), make(id="b")])
    assert joined["pair"].values.tolist() == ["x", ""]
