"""Replies packed as a tree behind prompts score as they do alone, in every family and place."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
import transformers
from accelerate import dispatch_model
from torch.utils.checkpoint import checkpoint

from emodrift.measure.dialogues import Dialogues, run_rows, score_replies, verify_packing
from emodrift.measure.gradients import Question, differentiate_prompts
from emodrift.measure.responses import score_steered
from emodrift.measure.session import Session
from emodrift.measure.trees import grow_tree
from emodrift.models.loading import verify_network
from emodrift.models.memory import TokenBudget
from emodrift.organisms.tokenizer import build_tokenizer
from tests.families import FAMILIES, WINDOW, build_model, build_network

REPLIES = {
    "no": [[20, 21, 22], [23], [20, 21, 25, 26]],
    "yes": [list(range(30, 30 + WINDOW + 2)), [20, 24], [20, 21]],
}


@pytest.fixture(scope="module")
def prompts():
    """Token ids, from shorter to longer than the attention window."""
    generator = torch.Generator().manual_seed(3)
    lengths = (3, WINDOW, 2 * WINDOW, 4 * WINDOW)
    return [torch.randint(5, 300, (n,), generator=generator).tolist() for n in lengths]


@pytest.fixture(scope="module")
def tree():
    return grow_tree(REPLIES)


@torch.inference_mode()
def score_alone(model, prompts):
    """Mean log-probability of each phrasing, one pass each, averaged in likelihood."""
    table = np.empty((len(prompts), len(REPLIES)))
    for row, prompt in enumerate(prompts):
        for column, phrasings in enumerate(REPLIES.values()):
            scores = []
            for reply in phrasings:
                ids = torch.tensor([prompt + reply])
                logits = model.network(
                    input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False
                ).logits[0]
                logp = logits.log_softmax(-1)[len(prompt) - 1 : -1]
                scores.append(logp[torch.arange(len(reply)), reply].mean())
            table[row, column] = torch.stack(scores).logsumexp(0) - np.log(len(scores))
    return table


def test_what_phrasings_begin_with_alike_is_read_once_and_no_last_token(tree):
    assert tree.ids[:3].tolist() == [20, 21, 25]
    assert len(tree.ids) == 3 + WINDOW + 1
    assert tree.above.sum(1).tolist()[:3] == [1, 2, 3]
    assert tree.predicted.tolist()[:7] == [20, 21, 22, 23, 25, 26, 30]
    assert tree.before.tolist()[:7] == [0, 1, 2, 0, 2, 3, 0]
    assert tree.member.sum(0).tolist() == [3, 1, 4, WINDOW + 2, 2, 2]


def pose(model, prompts, tree, phrasing_score="mean"):
    return Dialogues(model, prompts, [f"prompt {row}" for row in range(4)], tree, phrasing_score)


@torch.inference_mode()
def score_laid_out(dialogues):
    rows = dialogues.lay_out(range(len(dialogues.encoded)))
    last = run_rows(dialogues.model, rows)[dialogues.model.layers - 1]
    return score_replies(dialogues, last, rows).numpy()


@pytest.mark.parametrize("kind", FAMILIES)
def test_replies_laid_out_in_rows_score_as_they_do_alone(kind, prompts, tree):
    dialogues = pose(build_model(kind), prompts, tree)
    expected = score_alone(dialogues.model, prompts)
    np.testing.assert_allclose(score_laid_out(dialogues), expected, atol=2e-4)
    assert verify_packing(dialogues, TokenBudget(64)) is dialogues


@pytest.mark.parametrize("positions", ["reply", "all"])
@pytest.mark.parametrize("kind", ["gpt2", "gemma3", "smollm3"])
def test_a_row_for_each_reply_gives_what_a_packed_row_gives(kind, positions, prompts, tree):
    model = build_model(kind)
    packed, spread = (
        differentiate_prompts(
            pose(some, prompts, tree, "sum"),
            Question([(0, 1), (2, 0), (3, 1), (3, 0)], positions),
            Session(some, TokenBudget(300), "x"),
        )
        for some in (model, replace(model, packs=False))
    )
    for one, other in zip(packed, spread, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-3, atol=1e-3)


def test_logits_that_may_not_be_held_are_computed_again_with_the_same_result(
    prompts, tree, monkeypatch
):
    model = build_model("llama")
    again = []

    def recompute(*given, **options):
        again.append(given)
        return checkpoint(*given, **options)

    def differentiate():
        session = Session(model, TokenBudget(10_000), "x")
        question = Question([(0, 0), (2, 1), (3, 0)], "reply")
        return differentiate_prompts(pose(model, prompts, tree), question, session)

    monkeypatch.setattr("emodrift.measure.dialogues.checkpoint", recompute)
    held = differentiate()
    assert not again
    monkeypatch.setattr("emodrift.measure.dialogues.HELD_LOGITS", 1)
    for found, expected in zip(differentiate(), held, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert again


@pytest.mark.parametrize("kind", ["mistral", "gemma4", "gpt2", "bloom", "mamba", "qwen3_5"])
def test_slopes_of_log_odds_are_those_of_finite_steering(kind, prompts, tree):
    dialogues, budget = pose(build_model(kind), prompts, tree), TokenBudget(200)
    question = Question([(row, 0) for row in range(len(prompts))], "all")
    found = differentiate_prompts(dialogues, question, Session(dialogues.model, budget, "x"))
    direction = torch.nn.functional.normalize(
        torch.randn(1, 32, generator=torch.Generator().manual_seed(4)), dim=1
    )
    for layer in (1, 3):
        norm = float(found.norms[layer])
        step = 2e-3
        lengths = [-step * norm, step * norm]
        scores = score_steered(dialogues, direction, layer, lengths, "all", budget)
        odds = scores[0, :, :, 0] - scores[0, :, :, 1]
        slope = (odds[1] - odds[0]) / (2 * step)
        expected = found.gradients[:, layer] @ direction[0].numpy()
        np.testing.assert_allclose(slope, expected, rtol=0.01, atol=0.01)


def test_replies_are_read_alone_where_attention_is_cut_off_in_a_way_of_its_own(prompts, tree):
    config = transformers.GPTNeoConfig(
        vocab_size=len(build_tokenizer()),
        hidden_size=32,
        num_layers=2,
        num_heads=4,
        attention_types=[[["global", "local"], 1]],
        window_size=12,
        max_position_embeddings=100,
        initializer_range=0.3,
        bos_token_id=1,
        eos_token_id=1,
    )
    torch.manual_seed(0)
    model = verify_network(transformers.GPTNeoForCausalLM(config), build_tokenizer(), "sft step 3")
    short = grow_tree({"no": [[20, 21]], "yes": [[22]]})
    assert verify_packing(pose(model, prompts[:2], short), TokenBudget(64)).model.packs
    dialogues = pose(model, prompts, tree)
    found = verify_packing(dialogues, TokenBudget(64))
    assert not found.model.packs
    expected = score_alone(model, prompts)
    np.testing.assert_allclose(score_laid_out(found), expected, atol=2e-4)
    assert np.abs(score_laid_out(dialogues) - expected).max() > 0.01


@pytest.mark.parametrize("recompute", [False, True])
def test_a_model_in_pieces_gives_the_same_scores_and_gradients(recompute, prompts, tree, tmp_path):
    places = {"lm_head": "disk", "model.norm": "cpu", "model.rotary_emb": "cpu"}
    places |= {f"model.layers.{k}": "disk" if k % 2 else "cpu" for k in range(4)}
    places["model.embed_tokens"] = "disk"
    network = dispatch_model(
        copy.deepcopy(build_network("llama")), places, "cpu", offload_dir=str(tmp_path)
    )
    results = []
    for model in (build_model("llama"), verify_network(network, build_tokenizer(), "x")):
        dialogues = pose(model, prompts, tree)
        session = Session(model, TokenBudget(max(dialogues.sizes)), "x", recompute=recompute)
        question = Question([(0, 0), (0, 1), (2, 1)], "reply")
        results.append(differentiate_prompts(dialogues, question, session))
    for whole, spread in zip(*results, strict=True):
        np.testing.assert_allclose(spread, whole, rtol=1e-4, atol=1e-5)
