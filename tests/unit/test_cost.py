"""What a study will take is counted before it runs, and what is left of it while it runs."""

import copy
import time

import pytest
import torch
from transformers import AutoTokenizer

from emodrift.config.reading import parse_study
from emodrift.cost import estimate as estimating
from emodrift.cost.estimate import describe, estimate_study
from emodrift.cost.pace import Pace, probe_machine
from emodrift.cost.probe import time_products
from emodrift.cost.shapes import Shape, read_shape
from emodrift.cost.tokens import count_words, open_counter
from emodrift.cost.work import (
    Replies,
    Work,
    count_differentiating,
    count_phrasings,
    count_reading,
    count_steering,
    count_training,
    count_writing,
)
from emodrift.errors import EmodriftError
from emodrift.grammar.sampling import REPLY_CLASSES, sample_prompts, sample_stories
from emodrift.measure.activations import extract_part
from emodrift.measure.dialogues import open_dialogues
from emodrift.measure.generation import Sampling, Steering, generate_replies, verify_cache
from emodrift.measure.responses import score_steered
from emodrift.models.loading import load_model
from emodrift.models.memory import TokenBudget
from emodrift.models.prompts import encode_prompts
from emodrift.plan.study import plan_study
from emodrift.store.entry import entry_exists, write_entry
from tests.conftest import STUDY, save_checkpoint, write_stand_in

LOADING = {"device": "cpu", "allow_pickle": False, "batch_tokens": 16}
ONE_BY_ONE = 1
"""Tokens per batch: no text is padded."""
PLAIN = "User: {prompt}\n\nAssistant:"
FORM = {"prompt_format": "auto", "plain_prompt": PLAIN}
PACE = Pace(1e9, 1e8, 2, efficiency=0.5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_checkpoint(tmp_path_factory.mktemp("counted") / "checkpoint-5", seed=0, step=5)


@pytest.fixture(scope="module")
def model(folder):
    return load_model({"path": str(folder)}, LOADING, "float32", "tiny")


@pytest.fixture(scope="module")
def counter(folder):
    return open_counter({"path": str(folder)}, {})


@pytest.fixture(scope="module")
def shape(folder):
    return read_shape({"path": str(folder)}, 32, 3)


class Hooks:
    """Counts rows and operations of a network's linear layers, forward."""

    def __init__(self, model):
        self.tokens = self.blocks = self.head = 0
        self.handles = [model.blocks[0].register_forward_hook(self.note_tokens)]
        for block in model.blocks:
            self.handles += [
                part.register_forward_hook(self.note_block)
                for part in block.modules()
                if isinstance(part, torch.nn.Linear)
            ]
        self.handles.append(
            model.network.get_output_embeddings().register_forward_hook(self.note_head)
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for handle in self.handles:
            handle.remove()

    @staticmethod
    def measure(part, given):
        return 2 * given[0].numel() // part.in_features * part.weight.numel()

    def note_tokens(self, _part, given, _out):
        self.tokens += given[0].shape[0] * given[0].shape[1]

    def note_block(self, part, given, _out):
        self.blocks += self.measure(part, given)

    def note_head(self, part, given, _out):
        self.head += self.measure(part, given)


def pick_prompts():
    return sample_prompts(0, 1)


def measure_prompts(counter, prompts):
    return [counter.count_prompt(p["prompt"], PLAIN, "auto") for p in prompts]


def test_the_shape_is_that_of_the_loaded_network(model, shape):
    linear = [
        m.weight.numel() for b in model.blocks for m in b.modules() if hasattr(m, "in_features")
    ]
    assert shape == Shape(model.hidden, len(model.blocks), sum(linear), model.network.vocab_size)


def test_tokens_are_those_that_a_checkpoint_reads(model, counter):
    prompts = pick_prompts()
    encoded = encode_prompts(model, (p["prompt"] for p in prompts), "auto", PLAIN)
    assert measure_prompts(counter, prompts) == [len(ids) for ids in encoded]


def test_tokens_of_a_chat_are_counted_with_the_template_around_them(folder, tmp_path):
    template = "{% for m in messages %}afraid {{ m.content | trim }} happy{% endfor %} calm"
    chatty = open_counter({"path": str(folder)}, {"template": template, "system_prompt": None})
    tokenizer = AutoTokenizer.from_pretrained(folder)
    words = pick_prompts()[0]["prompt"]
    said = tokenizer.apply_chat_template(
        [{"role": "user", "content": words}], chat_template=template, tokenize=False
    )
    expected = tokenizer(said, add_special_tokens=False)["input_ids"]
    assert chatty.count_prompt(words, PLAIN, "auto") == len(expected)


def test_reading_takes_the_counted_tokens_and_operations(model, counter, shape):
    stories = sample_stories(0, 1)[:5]
    reading = {"pooling": "mean", "from_token": 2}
    with Hooks(model) as hooks:
        extract_part(model, stories, reading, ONE_BY_ONE, "tiny")
    work = count_reading([counter.count_text(s["text"]) for s in stories], shape)
    assert (hooks.tokens, hooks.blocks) == (work.tokens, work.reading)


def test_steering_takes_the_counted_operations_above_the_layer_alone(model, counter, shape):
    prompts, budget, layer = pick_prompts()[:3], TokenBudget(ONE_BY_ONE), 2
    reading = {**FORM, "phrasing_score": "mean"}
    dialogues = open_dialogues(model, prompts, REPLY_CLASSES, reading, budget, "tiny")
    directions = torch.eye(model.hidden)[:2]
    with Hooks(model) as hooks:
        score_steered(dialogues, directions, layer, [-1.0, 1.0], "reply", budget)
    lengths, replies = measure_prompts(counter, prompts), count_phrasings(REPLY_CLASSES, counter)
    assert count_steering(lengths, 4, replies, layer, shape).reading == hooks.blocks + hooks.head


def test_writing_takes_the_counted_operations_at_the_most(model, counter, shape):
    prompts, new = pick_prompts()[:2], 4
    encoded = encode_prompts(model, (p["prompt"] for p in prompts), "auto", PLAIN)
    steering = Steering(torch.zeros(3, model.hidden), 2, "reply")
    arguments = (steering, Sampling(new), TokenBudget(ONE_BY_ONE), ["a", "b"])
    with Hooks(model) as proof:
        verify_cache(model)
    with Hooks(model) as hooks:
        generate_replies(model, encoded, *arguments)
    work = count_writing(measure_prompts(counter, prompts), 3, new, 0, shape)
    most = work.reading + 2 * 6 * new * shape.weights
    assert 0.6 * most < hooks.blocks - proof.blocks <= most
    assert work.writing == 2 * 6 * new * (shape.weights + shape.head)


@pytest.mark.parametrize(
    ("words", "tokens"),
    [
        ("It was a bright cold day in April, and the clocks were striking thirteen.", 16),
        ("How do I make my sister laugh when she has lost her job and cannot sleep?", 17),
    ],
)
def test_words_stand_for_tokens_where_there_is_no_tokenizer(words, tokens):
    assert count_words(words) == pytest.approx(tokens, rel=0.15)  # tokens: SmolLM2's


SHAPE = Shape(64, 4, 4 * 12 * 64**2, 1000)
REPLIES = Replies(50, 5)


def test_work_follows_each_lever():
    read = count_reading([30] * 10, SHAPE)
    assert count_reading([30] * 20, SHAPE).operations == 2 * read.operations

    def differentiate(turns=1, tokens=50, first=0):
        return count_differentiating([30] * 10, [turns] * 10, Replies(tokens, 5), first, SHAPE)

    one, two, three = (differentiate(turns=t).reading for t in (1, 2, 3))
    assert three - two == two - one > 0
    assert differentiate(tokens=100).tokens - differentiate().tokens == 500
    whole, half, none = (differentiate(first=k).reading for k in (0, 2, 4))
    assert whole - half == half - none == 2 * 800 * SHAPE.weights / 2

    def steer(conditions, layer=2):
        return count_steering([30] * 10, conditions, REPLIES, layer, SHAPE).reading

    assert steer(40) - steer(20) == steer(60) - steer(40)
    assert steer(40, 3) < steer(40, 2)
    assert count_writing([30], 3, 48, 0, SHAPE).writing == pytest.approx(
        2 * count_writing([30], 3, 24, 0, SHAPE).writing
    )
    assert count_writing([30], 3, 48, 0.5, SHAPE).reading == 2 * 29 * 2.0 * SHAPE.weights
    assert count_training(16, 60, 3, SHAPE).operations == pytest.approx(
        1.5 * count_training(16, 60, 2, SHAPE).operations
    )


PROBED = Shape(256, 2, 2 * 12 * 256**2, 10)


@pytest.mark.parametrize("mixed", [False, True])
def test_products_are_timed_no_longer_than_asked_and_do_more_over_many_rows(mixed):
    started = time.process_time()
    rates = time_products(PROBED, mixed, 0.2, time.process_time)
    assert time.process_time() - started < 2
    assert rates.reading > 0 and rates.writing > 0


def test_a_machine_is_probed_by_a_process_of_its_own():
    pace = probe_machine(PROBED, 1)
    assert pace.reading > 0 and pace.writing > 0 and 0 < pace.efficiency < 1


def test_a_probe_that_fails_is_one_line():
    with pytest.raises(EmodriftError, match=r"^this machine could not be probed: [^\n]+$"):
        probe_machine(PROBED._replace(layers=0), 1)


def test_time_is_that_of_the_probe_less_what_a_network_loses():
    work = Work(reading=3e9, writing=1e8)
    assert PACE.judge("replies", work) == pytest.approx((3 + 1) * 2 / 0.5)
    assert PACE.judge("training", work) > PACE.judge("replies", work)
    learned = PACE._replace(learned={"replies": 1e-9})
    assert learned.judge("replies", work) == pytest.approx(3.1)


@pytest.fixture
def plan(folder, tmp_path):
    """Plans of a study over one checkpoint; contrast data that are not made are to be counted."""

    def make(**sections):
        values = copy.deepcopy(STUDY) | sections
        values["runs"] = {"sft": {"checkpoints": [str(folder)]}}
        values["reference"] = {"run": "sft", "step": 5}
        return plan_study(parse_study(values), tmp_path / "results")

    return make


def count(planned):
    works = {}
    for task in estimate_study(planned, 2, pace=PACE).tasks:
        if task.work:
            works[task.stage] = works.get(task.stage, Work()) + task.work
    return works


def test_all_measurements_of_a_study_are_counted_before_anything_is_made(plan):
    planned = plan()
    estimate = estimate_study(planned, 2, pace=PACE)
    assert {t.stage for t in estimate.tasks if t.work} == {"activations", "gradients", "responses"}
    assert estimate.work.operations > 0 and not estimate.untimed
    assert not any(entry_exists(planned.store / place) for place in planned.entries)
    words = describe(estimate, 2)
    assert "measuring 2 checkpoints" in words and "2 cores" in words  # the random twin is one


def test_an_estimate_follows_the_levers_of_a_config(plan):
    base = count(plan())
    contrasts = STUDY["contrasts"]
    fewer = count(plan(contrasts=contrasts | {"amounts": {"stories": 6}}))
    assert fewer["activations"].texts < base["activations"].texts
    one = count(plan(contrasts=contrasts | {"amounts": {"phrasings": 1}}))
    assert one["gradients"].tokens < base["gradients"].tokens
    steered = count(plan(steering=STUDY["steering"] | {"strengths": [-1, -0.5, 0.5, 1]}))
    two = len(STUDY["steering"].get("strengths", (-0.5, 0.5)))
    grown = steered["responses"].size / base["responses"].size
    assert grown == pytest.approx(4 / two)


def test_openings_that_are_still_to_be_sampled_are_counted_no_longer_than_they_can_be(plan):
    shipped = {name: value for name, value in STUDY["contrasts"].items() if name != "replies"}
    given = count(plan(contrasts=shipped))
    behaviours = STUDY["behaviours"] | {"phrasings": "sampled"}
    sampled = count(plan(contrasts=shipped, behaviours=behaviours, generation={}))
    assert 0 < sampled["gradients"].tokens < given["gradients"].tokens


def test_texts_that_contrast_data_will_leave_out_are_not_counted(plan):
    kept = ("emotions", "bundles", "prompts", "replies")
    contrasts = {name: STUDY["contrasts"][name] for name in kept}
    planned = plan(contrasts=contrasts, activations={"pooling": "mean"})
    tasks = estimate_study(planned, 2, pace=PACE).tasks
    parts = {planned.entries[t.place].context["part"] for t in tasks if t.stage == "activations"}
    planned_parts = {e.context["part"] for e in planned.of_stage("activations")}
    assert {p for p in planned_parts - parts if p.startswith("stories-")} == planned_parts - parts
    assert {f"stories-{e}" for e in contrasts["emotions"]} < parts < planned_parts
    assert all(t.work for t in tasks if t.stage in ("activations", "gradients"))


def test_what_is_there_is_not_counted(plan):
    planned = plan()
    whole = estimate_study(planned, 2, pace=PACE)
    first = next(t for t in whole.tasks if t.stage == "activations")
    with write_entry(planned.store / first.place, {}) as out:
        (out / "file").write_text("")
    rest = estimate_study(planned, 2, pace=PACE)
    assert rest.work.tokens == pytest.approx(whole.work.tokens - first.work.tokens)


def test_where_a_lock_that_is_made_again_decides_what_is_left_the_estimate_is_from_above(plan):
    planned = plan()
    write_stand_in(planned, planned.awaited[0])
    planned = plan()
    assert [entry.stage for entry in planned.awaited] == ["lock"]
    words = describe(estimate_study(planned, 2, pace=PACE), 2)
    assert " About " in words and "the same" not in words
    write_stand_in(planned, planned.of_stage("responses")[0])
    words = describe(estimate_study(planned, 2, pace=PACE), 2)
    assert " At most " in words and words.endswith("the same comes out of lock as before.")


def test_what_one_job_measures_is_done_by_one_core(plan):
    estimate = estimate_study(plan(), 8, pace=PACE)
    visits = {t.job for t in estimate.tasks if t.stage == "activations"}
    estimate = estimate._replace(tasks=[t for t in estimate.tasks if t.job in visits])
    alone = [sum(t.assumed for t in estimate.tasks if t.job == visit) for visit in visits]
    assert len(alone) == 2 and estimate.foresee(1) == pytest.approx(sum(alone))
    assert estimate.foresee(1000) == pytest.approx(max(alone))


def test_the_machine_is_probed_only_where_nothing_like_it_was_measured(plan):
    def refuse(*_):
        raise AssertionError("probed")

    known = dict.fromkeys(("activations", "gradients", "responses"), 1e-9)
    estimate = estimate_study(plan(), 1, pace=Pace(0, 0, 1, known), probe=refuse)
    judged = [t for t in estimate.tasks if t.work]
    assert all(t.seconds == pytest.approx(1e-9 * t.work.operations) for t in judged)
    with pytest.raises(AssertionError, match="probed"):
        estimate_study(plan(), 1, probe=refuse)


def test_no_time_is_guessed_for_a_gpu_or_a_cluster(plan, monkeypatch):
    monkeypatch.setattr(estimating, "finds_gpu", lambda device: True)
    words = describe(estimate_study(plan(), 2), 2)
    assert "How long a GPU takes is not estimated." in words and "min" not in words
    elsewhere = estimate_study(plan(), 2, elsewhere=True)
    assert elsewhere.untimed == "a cluster"
