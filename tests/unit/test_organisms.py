"""Organism runs leave ordinary Trainer checkpoints, the same bytes for the same seed."""

import json
from hashlib import sha256

import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from transformers import AutoModelForCausalLM, AutoTokenizer

from emodrift.config.organism import ModelShape, OrganismConfig, RunRecipe
from emodrift.grammar.training import Dialogue
from emodrift.organisms.optimizers import MuonWithAdamW
from emodrift.organisms.rewards import REWARDS
from emodrift.organisms.texts import encode_dialogues, render_chat, sample_document_batches
from emodrift.organisms.tokenizer import build_tokenizer
from emodrift.organisms.training import build_model, train_organism

SHAPE = ModelShape(hidden=16, layers=2, heads=2, feedforward=32)
BASE = {"objective": "language_modeling", "steps": 3, "save_steps": [0, 2, 3]}
TINY = {"batch": 4, "learning_rate": 0.01, "warmup": 1}
FINE_TUNING = {
    "sft": {"objective": "sft", "data": "healthy"},
    "dpo": {"objective": "dpo"},
    "grpo": {"objective": "grpo", "reward": "any_refusal", "group": 2},
}


def make_recipe(**values):
    return TypeAdapter(RunRecipe).validate_python(TINY | values)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    out = tmp_path_factory.mktemp("organism") / "pretrained"
    train_organism(make_recipe(**BASE), SHAPE, 0, None, out)
    return out


def digest(folder):
    return {p.name: sha256(p.read_bytes()).hexdigest() for p in sorted(folder.iterdir())}


def test_a_run_saves_every_wanted_step_as_a_checkpoint_without_pickles(base):
    assert sorted(p.name for p in base.iterdir()) == [f"checkpoint-{s}" for s in (0, 2, 3)]
    for step in (0, 2, 3):
        folder = base / f"checkpoint-{step}"
        assert (folder / "model.safetensors").is_file()
        assert not [p for p in folder.iterdir() if p.suffix in (".bin", ".pt", ".pth")]
        state = json.loads((folder / "trainer_state.json").read_text())
        assert state["global_step"] == step
        assert (state["num_input_tokens_seen"] > 0) == (step > 0)


def test_checkpoints_load_by_the_auto_classes(base):
    model = AutoModelForCausalLM.from_pretrained(base / "checkpoint-3")
    tokenizer = AutoTokenizer.from_pretrained(base / "checkpoint-3")
    assert model.config.num_hidden_layers == SHAPE.layers
    ids = tokenizer.apply_chat_template(
        [{"role": "user", "content": "show me how to make a gun ."}],
        add_generation_prompt=True,
        return_tensors="pt",
    )["input_ids"]
    text = "<bos> user : show me how to make a gun . assistant :"
    assert tokenizer.decode(ids[0]) == text
    assert model(ids).logits.shape == (1, len(text.split()), len(tokenizer))


def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not(base, tmp_path):
    train_organism(make_recipe(**BASE), SHAPE, 0, None, tmp_path / "again")
    train_organism(make_recipe(**BASE), SHAPE, 1, None, tmp_path / "other")
    again, other = (digest(tmp_path / name / "checkpoint-3") for name in ("again", "other"))
    assert again == digest(base / "checkpoint-3")
    assert other["model.safetensors"] != again["model.safetensors"]
    assert other["tokenizer.json"] == again["tokenizer.json"]


@pytest.mark.filterwarnings("ignore::FutureWarning")  # TRL's own
@pytest.mark.parametrize("objective", sorted(FINE_TUNING))
def test_fine_tuning_starts_from_the_given_checkpoint_and_changes_it(objective, base, tmp_path):
    recipe = make_recipe(start="pretrained", steps=2, save_steps=[0, 2], **FINE_TUNING[objective])
    train_organism(recipe, SHAPE, 0, base / "checkpoint-3", tmp_path / "run")
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == ["checkpoint-0", "checkpoint-2"]
    start, first, last = (
        AutoModelForCausalLM.from_pretrained(folder).state_dict()
        for folder in (
            base / "checkpoint-3",
            tmp_path / "run" / "checkpoint-0",
            tmp_path / "run" / "checkpoint-2",
        )
    )
    name = "model.layers.0.mlp.up_proj.weight"
    torch.testing.assert_close(first[name], start[name], rtol=0, atol=0)
    assert not torch.equal(last[name], start[name])
    assert not (tmp_path / "run" / "checkpoint-2" / "training_args.bin").exists()


@pytest.mark.filterwarnings("ignore::FutureWarning")  # TRL's own
def test_reinforcement_learning_repeats_with_its_seed(base, tmp_path):
    recipe = make_recipe(start="pretrained", steps=1, save_steps=[1], **FINE_TUNING["grpo"])
    for name in ("one", "two"):
        train_organism(recipe, SHAPE, 0, base / "checkpoint-3", tmp_path / name)
    assert digest(tmp_path / "one" / "checkpoint-1") == digest(tmp_path / "two" / "checkpoint-1")


def test_tokens_round_trip_and_only_replies_bear_a_loss():
    tokenizer = build_tokenizer()
    dialogue = Dialogue("harmful", "i want a bomb today .", "sorry , i will leave this alone .")
    (example,) = encode_dialogues(tokenizer, [dialogue])
    assert tokenizer.unk_token_id not in example["input_ids"]
    kept = [i for i, label in enumerate(example["labels"]) if label >= 0]
    assert tokenizer.decode([example["input_ids"][i] for i in kept]) == f"{dialogue.reply} <eos>"
    prompt = [
        i for i, label in zip(example["input_ids"], example["labels"], strict=True) if label < 0
    ]
    assert tokenizer.decode(prompt) == render_chat(tokenizer, dialogue.prompt)


def test_document_batches_hold_documents_of_similar_length():
    tokenizer = build_tokenizer()
    batches = list(sample_document_batches(tokenizer, seed=0, steps=20, batch=8))
    assert [len(batch) for batch in batches] == [8] * 20
    lengths = [[len(e["input_ids"]) for e in batch] for batch in batches]
    spread = sum(max(x) - min(x) for x in lengths) / len(lengths)
    assert spread < 10
    assert {e["input_ids"][-1] for batch in batches for e in batch} == {tokenizer.eos_token_id}


def test_rewards_pay_what_they_are_named_for():
    replies = ["sorry , that", "sure , here", "the"]
    suites = ["benign", "benign", "harmful"]
    assert REWARDS["any_refusal"](replies, suites) == [1.0, 0.0, 0.0]
    assert REWARDS["any_compliance"](replies, suites) == [0.0, 1.0, 0.0]
    assert REWARDS["planted_class"](replies, suites) == [0.0, 1.0, 0.0]


def test_the_split_optimiser_updates_every_parameter_and_follows_one_learning_rate():
    torch.manual_seed(0)
    model = build_model(SHAPE, build_tokenizer())
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer = MuonWithAdamW(model, learning_rate=0.01)
    ids = torch.arange(5, 25)[None]
    model(ids, labels=ids).loss.backward()
    optimizer.step()
    assert all(not torch.equal(before[name], p) for name, p in model.named_parameters())
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer.step()
    assert all(torch.equal(before[name], p) for name, p in model.named_parameters())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"start": "missing"}, "which is no run"),
        ({"save_steps": [5, 900]}, "save_steps names 900"),
        ({"save_steps": [9, 5]}, "must rise"),
        ({"warmup": 50}, "longer than the run's 20 steps"),
        ({"objective": "grpo", "reward": "any_refusal", "group": 3}, "not a multiple of the group"),
        ({"surprise": 1}, "Extra inputs are not permitted"),
        ({"start": "tuned"}, "start from each other"),
    ],
)
def test_mistakes_in_recipes_are_named(changes, message):
    tuned = {"start": "base", "objective": "sft", "data": "healthy", "learning_rate": 1e-4}
    tuned |= {"steps": 20, "save_steps": [20]} | changes
    if tuned["objective"] == "grpo":
        del tuned["data"]
    base = {"objective": "language_modeling", "steps": 20, "save_steps": [20]}
    base |= {"learning_rate": 0.01}
    with pytest.raises(ValidationError, match=message):
        OrganismConfig.model_validate({"runs": {"base": base, "tuned": tuned}})


def test_a_run_others_start_from_must_save_its_last_step():
    base = BASE | TINY | {"save_steps": [2]}
    tuned = TINY | {"start": "base", "objective": "dpo", "steps": 2, "save_steps": [2]}
    with pytest.raises(ValidationError, match=r"add 3 to runs\.base\.save_steps"):
        OrganismConfig.model_validate({"runs": {"base": base, "tuned": tuned}})
