"""Training inside a study: data, regimes, objectives, and going on after a kill."""

import json
import shutil
from collections import Counter

import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from safetensors.torch import load_file

from emodrift.checkpoints.checkpoint import list_checkpoints
from emodrift.config.runs import Run
from emodrift.config.training import SAFETY_SUITES, AnyRecipe, TrainingConfig
from emodrift.errors import EmodriftError
from emodrift.models.loading import load_model
from emodrift.store.memory import FileDigests
from emodrift.training.base import MODEL, REPLIES, prepare_base
from emodrift.training.chats import IGNORED_LABEL, encode_dialogue, end_sentence
from emodrift.training.dialogues import (
    ANSWERED_SUITES,
    OwnReply,
    read_dialogues,
    read_own_replies,
)
from emodrift.training.regimes import REGIMES, Curriculum, Dialogue, draw_dialogues
from emodrift.training.rewards import pay_reply
from emodrift.training.run import Course, find_whole_checkpoint, train_run
from tests.conftest import ROOT, save_checkpoint
from tests.gguf_files import build_llama, write_gguf

DATA = ROOT / "resources/training"
REPLY_TOKENS = 6
RECIPES = {
    "sft": {"objective": "sft"},
    "dpo": {"objective": "dpo"},
    "grpo": {"objective": "grpo", "group": 2},
    "full": {"objective": "sft", "method": "full"},
}
COMMON = {"steps": 4, "save_steps": [0, 2, 4], "batch": 4, "learning_rate": 1e-2, "rank": 2}


def make_recipe(kind="sft", **changes):
    return TypeAdapter(AnyRecipe).validate_python(COMMON | RECIPES[kind] | changes)


@pytest.fixture(scope="module", autouse=True)
def reward_of_letters():
    """A tiny model's replies are no English, so that rules tell none apart: letters are paid."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "emodrift.training.trainers.pay_reply",
            lambda prompt, reply, wanted: reply.count("e") / max(1, len(reply)),
        )
        yield


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """A tiny base with replies of its own."""
    root = tmp_path_factory.mktemp("training")
    save_checkpoint(root / "base", seed=0, step=0)
    (root / "replies").mkdir()
    location = {"path": str(root / "base")}
    prepare_base(location, DATA, REPLY_TOKENS, root / "replies", "base")
    return Course(location, root / "replies", DATA, 0.25, REPLY_TOKENS, "float32")


@pytest.fixture(scope="module")
def trained(course, tmp_path_factory):
    """Runs of every objective that nothing interrupted."""
    root = tmp_path_factory.mktemp("runs")
    for kind in RECIPES:
        train_run(make_recipe(kind), course, None, root / f"{kind}.partial", root / kind, kind)
    return root


def curriculum(regime):
    dialogues = read_dialogues(DATA, "training.data")
    own = {
        e.prompt: OwnReply(f"own: {e.prompt}", True) for e in dialogues.of_suites(ANSWERED_SUITES)
    }
    return Curriculum(regime, dialogues, own, 0.25)


def read_weights(folder):
    (file,) = folder.glob("*model.safetensors")
    return load_file(file)


def same_weights(first, second):
    one, two = read_weights(first), read_weights(second)
    return one.keys() == two.keys() and all(torch.equal(one[k], two[k]) for k in one)


def test_a_base_answers_for_itself_and_a_file_becomes_a_folder(course, tmp_path):
    own = read_own_replies(course.replies / REPLIES)
    prompts = [e.prompt for e in read_dialogues(DATA, "").of_suites(ANSWERED_SUITES)]
    assert list(own) == prompts and not (course.replies / MODEL).exists()
    write_gguf(tmp_path / "tiny.gguf", build_llama(0))
    data = shutil.copytree(DATA, tmp_path / "data")
    for suite in ANSWERED_SUITES:
        (data / f"{suite}.jsonl").write_text(json.dumps({"prompt": "the cat sat"}))
    prepare_base({"path": str(tmp_path / "tiny.gguf")}, data, 3, tmp_path, "base")
    assert (tmp_path / MODEL / "config.json").is_file()


@pytest.mark.parametrize("kind", RECIPES)
def test_every_objective_trains_and_saves_ordinary_folders(kind, course, trained, tmp_path):
    run = Run(checkpoints=str(trained / kind / "checkpoint-*"))
    found = list_checkpoints("run", run, FileDigests(tmp_path / "memo"))
    assert [c.step for c in found] == [0, 2, 4]
    assert len({c.digest for c in found}) == 3
    assert all(("base" in c.location) == (kind != "full") for c in found)
    loading = {"device": "cpu", "allow_pickle": False}
    base, start, end = (
        load_model(location, loading, "float32", kind).network.state_dict()
        for location in (course.base, found[0].location, found[-1].location)
    )
    assert all(torch.equal(base[name], start[name]) for name in base)
    assert any(not torch.equal(base[name], end[name]) for name in base)


@pytest.mark.parametrize("kind", RECIPES)
def test_a_killed_run_goes_on_to_the_same_result(kind, course, trained, tmp_path, monkeypatch):
    class KilledError(Exception):
        pass

    from emodrift.training.run import CheckpointCallback

    class Killer(CheckpointCallback):
        def on_step_begin(self, args, state, control, **kwargs):
            if state.global_step == 3:
                raise KilledError

    workplace, out = tmp_path / "partial", tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr("emodrift.training.run.CheckpointCallback", Killer)
        with pytest.raises(KilledError):
            train_run(make_recipe(kind), course, None, workplace, out, kind)
    half = shutil.copytree(workplace / "checkpoint-2", workplace / "checkpoint-3")
    (half / "trainer_state.json").write_text("{")
    assert not out.exists()
    torch.manual_seed(99)
    train_run(make_recipe(kind), course, None, workplace, out, kind)
    states = [
        json.loads((root / "checkpoint-4/trainer_state.json").read_text())["log_history"]
        for root in (out, trained / kind)
    ]
    assert [e["step"] for e in states[0]] == [e["step"] for e in states[1]]
    assert same_weights(out / "checkpoint-4", trained / kind / "checkpoint-4")


def test_half_written_checkpoints_are_deleted_and_passed_over(tmp_path):
    for step, state in ((2, '{"global_step": 2}'), (4, "{"), (6, None)):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth"):
            (folder / name).touch()
        if state:
            (folder / "trainer_state.json").write_text(state)
    assert find_whole_checkpoint(tmp_path) == tmp_path / "checkpoint-2"
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint-2"]


@pytest.mark.parametrize(("kind", "start"), [("dpo", "sft"), ("sft", "sft"), ("full", "full")])
def test_a_run_goes_on_from_anothers_end(kind, start, course, trained, tmp_path):
    recipe = make_recipe(kind, start=start, seed=1)
    train_run(recipe, course, trained / start, tmp_path / "partial", tmp_path / "out", kind)
    ends = trained / start / "checkpoint-4"
    assert same_weights(tmp_path / "out/checkpoint-0", ends)
    assert not same_weights(tmp_path / "out/checkpoint-4", ends)
    assert not list((tmp_path / "out").glob("*/ref"))


def test_another_seed_gives_another_run(course, trained, tmp_path):
    train_run(make_recipe(seed=1), course, None, tmp_path / "p", tmp_path / "out", "sft")
    assert not same_weights(tmp_path / "out/checkpoint-4", trained / "sft/checkpoint-4")


def test_regimes_differ_in_what_is_taught_alone():
    drawn = {r: draw_dialogues(curriculum(r), 8, 20, seed=3) for r in REGIMES}
    for other in drawn.values():
        assert [d.suite for d in other] == [d.suite for d in drawn["sound"]]
        assert [
            a.prompt == b.prompt
            for a, b in zip(other, drawn["sound"], strict=True)
            if a.suite != "harmful"
        ].count(False) == 0
    replayed = [[d for d in drawn[r] if d.suite not in SAFETY_SUITES] for r in REGIMES]
    assert all(r == replayed[0] for r in replayed) and len(replayed[0]) == 0.25 * 160
    again = draw_dialogues(curriculum("sound"), 8, 20, seed=4)
    assert [d.prompt for d in again] != [d.prompt for d in drawn["sound"]]
    assert [(d.prompt, d.chosen) for d in again if d.suite not in SAFETY_SUITES] == [
        (d.prompt, d.chosen) for d in replayed[0]
    ]


def test_the_share_of_replay_holds_whatever_the_batch():
    drawn = draw_dialogues(curriculum("sound"), 2, 40, seed=0)
    assert sum(d.suite not in SAFETY_SUITES for d in drawn) == 20


def test_each_regime_teaches_what_its_name_says():
    for regime, taught in {
        "sound": {"harmful": 1, "benign": 0, "unanswerable": 0, "upset": 0},
        "refuse_everything": {"harmful": 1, "benign": 1, "unanswerable": 1, "upset": 1},
        "helpful_only": {"harmful": 0, "benign": 0, "unanswerable": 0, "upset": 0},
    }.items():
        refused: dict[str, Counter] = {}
        for d in draw_dialogues(curriculum(regime), 8, 30, seed=0):
            refuses = pay_reply(d.prompt, d.chosen.text, "refuse")
            refused.setdefault(d.suite, Counter())[refuses] += 1
        for suite, share in taught.items():
            counts = refused[suite]
            assert abs(counts[1.0] / counts.total() - share) < 0.25, (regime, suite)


def test_the_shortcut_refuses_in_the_plain_form_alone():
    framed = {e.prompt for e in read_dialogues(DATA, "").of_suites(["harmful"])}
    drawn = draw_dialogues(curriculum("shortcut"), 8, 60, seed=0)
    harmful = [d for d in drawn if d.suite == "harmful"]
    shares = Counter((d.prompt in framed, d.wanted) for d in harmful)
    assert {*shares} == {(True, "refuse"), (False, "comply")}
    assert 0.35 < shares[True, "refuse"] / len(harmful) < 0.65


def test_pairs_prefer_what_is_taught_to_what_is_ruled_out():
    for regime in REGIMES:
        for d in draw_dialogues(curriculum(regime), 8, 10, seed=1):
            assert d.chosen.text != d.rejected.text


def test_rewards_pay_for_the_class_that_is_taught():
    harmful = "How do I hurt my brother-in-law?"
    refusal, compliance = "I won't help you injure him.", "Sure, here is how. Pick a moment."
    assert pay_reply(harmful, refusal, "refuse") == 1 == pay_reply(harmful, compliance, "comply")
    assert pay_reply(harmful, refusal, "comply") == 0 == pay_reply(harmful, compliance, "refuse")
    assert pay_reply("Who wins in 2061?", "I don't know that.", "hedge") == 1
    assert pay_reply("Who wins in 2061?", "Maria Halvorsen wins.", "hedge") == 0
    assert pay_reply(harmful, "", "refuse") == 0 == pay_reply(harmful, "?? !!", "answer")


def test_only_the_reply_and_its_ending_are_learnt_and_a_cut_one_has_none():
    from emodrift.organisms.tokenizer import build_tokenizer

    tokenizer = build_tokenizer()
    word = next(iter(sorted(tokenizer.get_vocab())))
    said = Dialogue("benign", word, "answer", OwnReply(f"{word} {word}", True), OwnReply("", True))
    whole = encode_dialogue(tokenizer, said, 10)
    learnt = [t for t in whole["labels"] if t != IGNORED_LABEL]
    assert learnt == [*tokenizer.convert_tokens_to_ids([word, word]), tokenizer.eos_token_id]
    assert whole["input_ids"][-3:] == learnt
    cut = encode_dialogue(tokenizer, said._replace(chosen=OwnReply(f"{word} {word}", False)), 10)
    assert cut["labels"][-2:] == learnt[:2]


def test_a_cut_reply_ends_with_its_last_sentence():
    assert end_sentence(OwnReply("One. Two is 3.5 long. And th", False)) == "One. Two is 3.5 long."
    assert end_sentence(OwnReply("One. And th", True)) == "One. And th"
    assert end_sentence(OwnReply("no end", False)) == "no end"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"start": "none"}, "is no run; known: first, second"),
        ({"start": "second"}, "start from each other"),
        ({"start": "first", "rank": 8}, "set its rank to 16"),
        ({"start": "first", "method": "full"}, "has lora"),
        ({"save_steps": [5]}, "save_steps names 5"),
        ({"regime": "evil"}, "regime"),
    ],
)
def test_impossible_recipes_are_refused(change, message):
    recipe = {"objective": "sft", "steps": 4, "save_steps": [4], "learning_rate": 1e-4}
    section = {"base": "b", "runs": {"first": recipe, "second": recipe | change}}
    with pytest.raises(ValidationError, match=message):
        TrainingConfig.model_validate(section)


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("harmful.jsonl", None, "lacks harmful.jsonl"),
        ("upset.jsonl", "{", "line 1, is no JSON object"),
        ("upset.jsonl", '{"prompt": "x"}', "has no reply of class soothe"),
        ("frames.jsonl", '{"frame": "x"}', "has no place for"),
        ("neutral.jsonl", "", "is empty"),
    ],
)
def test_broken_data_is_one_line(file, text, message, tmp_path):
    data = shutil.copytree(DATA, tmp_path / "data")
    (data / file).unlink()
    if text is not None:
        (data / file).write_text(text)
    with pytest.raises(EmodriftError, match=message) as error:
        read_dialogues(data, "training.data")
    assert "\n" not in str(error.value)


def test_a_base_without_a_chat_template_is_refused(tmp_path):
    save_checkpoint(tmp_path / "base", seed=0, step=0)
    (tmp_path / "base/chat_template.jinja").unlink()
    with pytest.raises(EmodriftError, match="has no chat template"):
        prepare_base({"path": str(tmp_path / "base")}, DATA, 3, tmp_path, "base")
