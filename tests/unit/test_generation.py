"""Steered generation is exact, whatever the architecture, batching and padding."""

import contextlib
import copy
import functools

import pytest
import torch
from torch import nn
from transformers import AutoModelForCausalLM, RwkvConfig

from emodrift.errors import EmodriftError
from emodrift.grammar.sampling import sample_prompts
from emodrift.measure import generation
from emodrift.measure.generation import Sampling, Steering, choose_tokens, generate_replies
from emodrift.models import memory
from emodrift.models.loading import verify_network
from emodrift.models.memory import TokenBudget
from emodrift.models.prompts import encode_prompts
from emodrift.models.residual import (
    record_residual,
    resume_residual,
    steer_residual,
    stop_residual,
)
from emodrift.organisms.tokenizer import build_tokenizer
from tests.families import FAMILIES, build_network

NEW, END = 6, 2
GREEDY = Sampling(NEW)


@functools.cache
def build(kind):
    """A verified model whose head is not tied to its embeddings, lest it repeats what it reads."""
    network = copy.deepcopy(build_network(kind, scale=0.3))
    head = network.get_output_embeddings()
    random = torch.randn(head.weight.shape, generator=torch.Generator().manual_seed(4))
    head.weight = nn.Parameter(random / head.weight.shape[1] ** 0.5)
    network.generation_config.eos_token_id = END
    return verify_network(network, build_tokenizer(), kind)


@pytest.fixture(scope="module")
def model():
    return build("llama")


@pytest.fixture(scope="module")
def prompts(model):
    texts = [p["prompt"] for p in sample_prompts(0, 4)[::9]]
    encoded = encode_prompts(model, texts, "chat", "")
    assert len({len(ids) for ids in encoded}) > 2
    return encoded


def measure_norm(model, prompts, layer):
    norms = []
    with torch.inference_mode(), record_residual(model) as residual:
        for ids in prompts:
            model.network(torch.tensor([ids]))
            norms.append(residual[layer][0, -1].norm())
    return torch.stack(norms).mean()


def draw_additions(model, prompts, layer):
    """Nothing, and three vectors of about the residual stream's length."""
    generator = torch.Generator().manual_seed(0)
    vectors = nn.functional.normalize(torch.randn(3, model.hidden, generator=generator), dim=1)
    lengths = torch.tensor([1.0, -1.0, 0.5])[:, None] * measure_norm(model, prompts, layer)
    return torch.cat([torch.zeros(1, model.hidden), lengths * vectors])


@pytest.fixture(scope="module")
def additions(model, prompts):
    return draw_additions(model, prompts, 2)


@contextlib.contextmanager
def add_plainly(model, layer, vector, start):
    """A hook of the test's own, which adds a vector to all tokens from `start` on."""

    def add(hidden):
        where = (torch.arange(hidden.shape[1]) >= start)[None, :, None]
        return hidden + where * vector

    def before(_module, args, kwargs):
        if args:
            return (add(args[0]), *args[1:]), kwargs
        return args, kwargs | {"hidden_states": add(kwargs["hidden_states"])}

    def after(_module, _args, output):
        return (add(output[0]), *output[1:]) if isinstance(output, tuple) else add(output)

    handle = (
        model.blocks[layer - 1].register_forward_hook(after)
        if layer
        else model.blocks[0].register_forward_pre_hook(before, with_kwargs=True)
    )
    try:
        yield
    finally:
        handle.remove()


@torch.inference_mode()
def generate_plainly(model, ids, new=NEW, ends=(END,)):
    """The likeliest tokens after one prompt, which is read anew with every token."""
    written = []
    while len(written) < new:
        logits = model.network(torch.tensor([ids + written]), use_cache=False).logits
        token = int(logits[0, -1].argmax())
        if token in ends:
            break
        written.append(token)
    return written


def generate_by_transformers(model, ids):
    out = model.network.generate(
        torch.tensor([ids]),
        attention_mask=torch.ones(1, len(ids), dtype=torch.long),
        max_new_tokens=NEW,
        do_sample=False,
        pad_token_id=0,
    )
    return [token for token in out[0, len(ids) :].tolist() if token != END]


def generate_all_plainly(model, prompts, additions, layer, positions, **options):
    found = []
    for ids in prompts:
        start = len(ids) - 1 if positions == "reply" else 0
        found.append([])
        for vector in additions:
            with add_plainly(model, layer, vector, start):
                found[-1].append(generate_plainly(model, ids, **options))
    return found


def generate(model, prompts, additions, layer=2, positions="reply", tokens=500, sampling=GREEDY):
    names = [f"p{i}" for i in range(len(prompts))]
    budget = TokenBudget(tokens)
    steering = Steering(additions, layer, positions)
    replies = generate_replies(model, prompts, steering, sampling, budget, names)
    return [[reply.tokens for reply in of_prompt] for of_prompt in replies]


@pytest.mark.parametrize("kind", FAMILIES)
@pytest.mark.parametrize(("layer", "positions"), [(3, "reply"), (2, "all")])
def test_replies_are_those_of_one_prompt_and_vector_at_a_time_without_a_cache(
    kind, layer, positions, prompts
):
    model, prompts = build(kind), prompts[:4]
    additions = draw_additions(model, prompts, layer)
    found = generate(model, prompts, additions, layer, positions)
    assert len({tuple(tokens) for of_prompt in found for tokens in of_prompt}) > 2 * len(prompts)
    assert found == generate_all_plainly(model, prompts, additions, layer, positions)


@pytest.mark.parametrize("kind", ["llama", "gemma4"])
@pytest.mark.parametrize("positions", ["reply", "all"])
@pytest.mark.parametrize("layer", [0, 4])
def test_the_embeddings_and_the_last_layer_can_be_steered(kind, layer, positions, prompts):
    model, prompts = build(kind), prompts[:3]
    additions = draw_additions(model, prompts, layer)
    found = generate(model, prompts, additions, layer, positions)
    assert found == generate_all_plainly(model, prompts, additions, layer, positions)


@pytest.mark.parametrize("tokens", [1, 100, 10_000])
@pytest.mark.parametrize("temperature", [0.0, 1.5])
def test_batching_and_order_do_not_change_a_reply(model, tokens, temperature, prompts, additions):
    sampling = Sampling(NEW, temperature, seed=5)
    expected = generate(model, prompts, additions, sampling=sampling)
    found = generate(model, prompts[::-1], additions, sampling=sampling, tokens=tokens)
    assert found[::-1] == expected


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_vector_of_zeros_is_no_steering(model, temperature, prompts):
    nothing = torch.zeros(2, model.hidden)
    found = generate(model, prompts, nothing, sampling=Sampling(NEW, temperature))
    assert all(first == second for first, second in found)
    if temperature == 0:
        assert [first for first, _ in found] == [
            generate_by_transformers(model, ids) for ids in prompts
        ]


def test_a_reply_ends_before_an_end_token_and_rows_that_end_leave_the_others_alone(
    monkeypatch, prompts
):
    model, ends = build("gemma3"), list(range(10, 110))
    monkeypatch.setattr(model.network.generation_config, "eos_token_id", ends)
    additions = draw_additions(model, prompts, 2)
    names = [f"p{i}" for i in range(len(prompts))]
    replies = generate_replies(
        model, prompts, Steering(additions, 2, "reply"), Sampling(12), TokenBudget(10_000), names
    )
    sizes = {len(reply.tokens) for of_prompt in replies for reply in of_prompt}
    assert len(sizes) > 4 and 0 in sizes
    expected = generate_all_plainly(model, prompts, additions, 2, "reply", new=12, ends=ends)
    assert [[reply.tokens for reply in of_prompt] for of_prompt in replies] == expected
    for of_prompt in replies:
        assert all(reply.ended == (len(reply.tokens) < 12) for reply in of_prompt)


def test_the_seed_decides_what_is_sampled(model, prompts, additions):
    one, same, other = (
        generate(model, prompts, additions, sampling=Sampling(NEW, 1.0, seed)) for seed in (1, 1, 2)
    )
    assert one == same != other


def test_tokens_are_sampled_at_the_rate_of_their_probability():
    logits = torch.tensor([1.0, -torch.inf, 0.0, 2.0, -torch.inf])
    draws = (torch.arange(20_000) + 0.5) / 20_000
    chosen = choose_tokens(logits.expand(len(draws), -1), 2.0, draws.double())
    rates = torch.bincount(chosen, minlength=5) / len(draws)
    torch.testing.assert_close(rates, (logits / 2).softmax(0), atol=1e-4, rtol=0)
    edges = torch.tensor([0, 1 - 1e-16], dtype=torch.double)
    assert choose_tokens(logits.expand(2, -1), 2.0, edges).tolist() == [0, 3]


@pytest.mark.parametrize(("positions", "above"), [("reply", 1), ("all", 4)])
def test_what_no_vector_touches_is_read_once_for_each_prompt(
    model, positions, above, prompts, additions, monkeypatch
):
    monkeypatch.setattr(generation, "verify_cache", lambda _model: None)
    read = {0: 0, 2: 0}

    def count(block):
        def hook(_module, args, kwargs):
            hidden = args[0] if args else kwargs["hidden_states"]
            read[block] += hidden.shape[0] * (hidden.shape[1] > 1)

        return hook

    with contextlib.ExitStack() as stack:
        for block in read:
            attention = model.blocks[block].self_attn
            hook = attention.register_forward_pre_hook(count(block), with_kwargs=True)
            stack.callback(hook.remove)
        generate(model, prompts, additions, positions=positions, tokens=100)
    assert read == {0: len(prompts), 2: above * len(prompts)}


@pytest.mark.parametrize("positions", ["reply", "all"])
def test_a_prompt_of_one_token_is_answered(model, positions, prompts, additions):
    for some in ([[1]], [[1], prompts[0]]):
        found = generate(model, some, additions, positions=positions)
        assert found == generate_all_plainly(model, some, additions, 2, positions)


def test_a_batch_that_does_not_fit_is_halved_and_an_interrupted_job_goes_on(
    model, monkeypatch, tmp_path, prompts, additions
):
    expected = generate(model, prompts, additions, positions="all")
    names = [f"p{i}" for i in range(len(prompts))]
    given = (model, prompts, Steering(additions, 2, "all"), GREEDY)
    work, done = generation._continue_prompts, []

    def run_out(model, prefill, vectors, *rest):
        size = len(prefill.ids) * len(vectors)
        if size > 8:
            raise torch.OutOfMemoryError
        if sum(done) == 24:
            raise KeyboardInterrupt
        done.append(size)
        return work(model, prefill, vectors, *rest)

    monkeypatch.setattr(generation, "_continue_prompts", run_out)
    monkeypatch.setattr(memory, "release_memory", lambda: None)
    budget = TokenBudget(10_000)
    with pytest.raises(KeyboardInterrupt):
        generate_replies(*given, budget, names, tmp_path)
    assert budget.lowered
    done.append(1)
    replies = generate_replies(*given, TokenBudget(250), names, tmp_path)
    assert sum(done) < 25 + 4 * len(prompts)
    assert [[r.tokens for r in of_prompt] for of_prompt in replies] == expected


@torch.inference_mode()
def predict(model):
    return model.network(torch.tensor([[1, 5, 6, 7]])).logits


def test_no_vector_stays_behind_after_generation_even_after_an_error(model, prompts, additions):
    before = predict(model)
    for layer, positions in ((2, "reply"), (2, "all"), (0, "all")):
        generate(model, prompts[:2], additions, layer, positions)
        handle = model.blocks[2].mlp.register_forward_pre_hook(lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            generate(model, prompts[:2], additions, layer, positions)
        handle.remove()
    assert torch.equal(predict(model), before)
    assert not any("forward" in vars(block) for block in model.blocks)


@pytest.mark.parametrize("layer", [0, 1, 4])
def test_nested_steering_adds_each_vector_once(model, layer):
    before = predict(model)
    one, two = torch.randn(2, 32, generator=torch.Generator().manual_seed(1))
    with steer_residual(model, layer, one + two):
        expected = predict(model)
    with steer_residual(model, layer, one), steer_residual(model, layer, two):
        nested = predict(model)
    torch.testing.assert_close(nested, expected, atol=1e-4, rtol=1e-4)
    inner, outer = steer_residual(model, layer, one), steer_residual(model, layer, two)
    with pytest.raises(RuntimeError), outer, inner:
        raise RuntimeError
    assert torch.equal(predict(model), before)


def test_generation_inside_a_steered_block_adds_both_vectors(model, prompts, additions):
    alone = generate(model, prompts, additions)
    with steer_residual(model, 3, additions[1].flip(0)):
        found = generate(model, prompts, additions)
        assert found == generate_all_plainly(model, prompts, additions, 2, "reply")
    assert found != alone


def test_nested_stops_and_resumptions_of_the_residual_stream_are_undone_one_by_one(model):
    before = predict(model)
    with torch.inference_mode(), record_residual(model) as residual:
        model.network(torch.tensor([[1, 5, 6, 7]]))
        below = residual[2].clone()
    with resume_residual(model, 2, below):
        torch.testing.assert_close(predict(model), before)
        with stop_residual(model, 1), resume_residual(model, 1, 2 * below):
            assert not torch.equal(predict(model), before)
        torch.testing.assert_close(predict(model), before)
        with pytest.raises(RuntimeError), stop_residual(model, 1):
            raise RuntimeError
        torch.testing.assert_close(predict(model), before)
    assert torch.equal(predict(model), before)
    assert not any("forward" in vars(block) for block in model.blocks)


def test_a_context_too_short_for_the_reply_names_prompt_and_key(model, prompts, additions):
    expected = r"p\d.*190 tokens of generation\.max_new_tokens.*context holds 200"
    with pytest.raises(EmodriftError, match=expected):
        generate(model, prompts, additions, sampling=Sampling(190))


def test_a_prompt_of_one_token_is_refused_where_a_state_is_kept(additions):
    with pytest.raises(EmodriftError, match="p1 has one token, and MambaForCausalLM"):
        generate(build("mamba"), [[5, 6], [5]], additions)


def test_a_model_that_reads_otherwise_with_a_cache_is_refused(model, prompts, additions):
    config = RwkvConfig(
        vocab_size=len(build_tokenizer()), hidden_size=32, num_hidden_layers=4, context_length=200
    )
    network = verify_network(AutoModelForCausalLM.from_config(config), build_tokenizer(), "x")
    with pytest.raises(EmodriftError, match=r"RwkvForCausalLM reads otherwise.*`generation`"):
        generate(network, prompts, additions)


def test_a_cache_that_goes_wrong_at_the_second_token_is_seen(monkeypatch):
    monkeypatch.setattr(generation, "holds_keys_alone", lambda _cache: True)  # hands on the mask
    with pytest.raises(EmodriftError, match="MambaForCausalLM reads otherwise"):
        generation.verify_cache(build("mamba"))
