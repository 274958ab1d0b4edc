"""Prompts reach a model as its chat template says, and replies go on where the prompt ends."""

import json
import logging

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from emodrift.config.measuring import Activations
from emodrift.config.reading import parse_study
from emodrift.errors import EmodriftError
from emodrift.models.language_model import LanguageModel
from emodrift.models.loading import put_template
from emodrift.models.prompts import encode_prompts, encode_replies, encode_texts
from emodrift.plan.study import plan_study
from emodrift.plan.templates import describe_chat
from tests.conftest import STUDY, save_checkpoint

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n{% endif %}"
    "{% endif %}"
)
BRACKETS = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content }} [/INST]"
    "{% else %} {{ m.content }} {{ eos_token }}{% endif %}{% endfor %}"
)
SYSTEM_ONLY = (
    "{% if messages[0].role != 'system' %}{{ raise_exception('a system message comes first') }}"
    "{% endif %}{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant: "
)
DATED = "{{ strftime_now('%d %B %Y') }}: {{ messages[0].content }} ->"
WORDS = ["Hello.", "Hi", "I", "cannot", "help", "[INST]", "[/INST]", ":", "User", "Assistant"]
SPECIAL = ["<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>", "<think>", "</think>"]


def build_tokenizer(kind, template=None, add_end=False):
    """`spaces`: pieces carry the space before them, and a text's beginning counts as one
    (SentencePiece); `bytes`: byte-level pieces, a beginning carries no mark (GPT-2)."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    mark = "▁" if kind == "spaces" else "Ġ"
    names = [*SPECIAL, *alphabet, mark, *"\nabcdefghijklmnopqrstuvwxyz"]
    vocabulary = {name: i for i, name in enumerate(dict.fromkeys(names))}
    merges = []
    for word in [*WORDS, *(mark + word for word in WORDS)]:
        for end in range(2, len(word) + 1):
            if word[:end] not in vocabulary:
                vocabulary[word[:end]] = len(vocabulary)
            for piece in word[:end]:
                vocabulary.setdefault(piece, len(vocabulary))
            if (word[: end - 1], word[end - 1]) not in merges:
                merges.append((word[: end - 1], word[end - 1]))
    backend = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>"))
    if kind == "spaces":
        backend.normalizer = normalizers.Sequence(
            [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
        )
        backend.decoder = decoders.Fuse()
    else:
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        backend.decoder = decoders.ByteLevel()
    single = "<s> $A </s>" if add_end else "<s> $A"
    backend.post_processor = processors.TemplateProcessing(
        single=single, special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        additional_special_tokens=SPECIAL[3:],
        chat_template=template,
    )


def talk(kind="bytes", template=None, system_prompt=None, **arguments):
    tokenizer = build_tokenizer(kind, template)
    return LanguageModel(
        None, tokenizer, None, system_prompt=system_prompt, template_arguments=arguments
    )


def spell(model, ids):
    return model.tokenizer.convert_ids_to_tokens(ids)


@pytest.mark.parametrize("kind", ["bytes", "spaces"])
@pytest.mark.parametrize("template", [CHATML, BRACKETS, None])
def test_a_reply_continues_the_prompt_as_if_both_were_one_text(kind, template):
    model = talk(kind, template)
    (prompt,) = encode_prompts(model, ["Hi"], "auto", "User: {prompt}\n\nAssistant:")
    replies = encode_replies(model, {"no": ["I cannot"]}, "auto", "User: {prompt}\n\nAssistant:")
    text = {
        CHATML: "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nI cannot",
        BRACKETS: "<s>[INST] Hi [/INST] I cannot",
        None: "<s>User: Hi\n\nAssistant: I cannot",
    }[template]
    whole = model.tokenizer(text, add_special_tokens=False)["input_ids"]
    assert spell(model, prompt + replies["no"][0]) == spell(model, whole)


def test_a_reply_after_a_template_that_ends_a_line_carries_no_mark_of_a_beginning():
    model = talk("spaces", CHATML)
    (reply,) = encode_replies(model, {"no": ["I cannot"]}, "auto")["no"]
    assert spell(model, reply)[0] == "I"
    (reply,) = encode_replies(talk("spaces", BRACKETS), {"no": ["I cannot"]}, "auto")["no"]
    assert spell(model, reply)[0] == "▁I"


@pytest.mark.parametrize(("template", "starts"), [(BRACKETS, 1), (CHATML, 0), (None, 1)])
def test_a_prompt_has_the_beginning_that_its_format_writes_and_no_second_one(template, starts):
    model = talk("bytes", template)
    (prompt,) = encode_prompts(model, ["Hi"], "auto", "User: {prompt}")
    assert prompt.count(model.tokenizer.bos_token_id) == starts
    assert (prompt[0] == model.tokenizer.bos_token_id) == bool(starts)


def test_an_end_token_that_the_tokenizer_adds_is_not_part_of_a_text():
    model = LanguageModel(None, build_tokenizer("bytes", add_end=True), None)
    assert model.tokenizer("Hi")["input_ids"][-1] == model.tokenizer.eos_token_id
    (text,) = encode_texts(model, ["Hi"])
    (prompt,) = encode_prompts(model, ["Hi"], "plain", "User: {prompt}")
    assert spell(model, text) == ["<s>", "Hi"] and model.tokenizer.eos_token_id not in prompt


def test_a_template_that_needs_a_system_message_says_which_key_gives_it():
    with pytest.raises(EmodriftError, match=r"a system message comes first.*system_prompt"):
        encode_prompts(talk("bytes", SYSTEM_ONLY), ["Hi"], "auto", "")
    model = talk("bytes", SYSTEM_ONLY, system_prompt="help")
    (prompt,) = encode_prompts(model, ["Hi"], "auto", "")
    assert model.tokenizer.decode(prompt) == "system: help\nuser: Hi\nassistant: "


def test_arguments_reach_the_template_and_an_open_thinking_block_is_mentioned(caplog):
    thinking = talk("bytes", CHATML.replace("assistant\n", "assistant\n<think>\n", 1))
    with caplog.at_level(logging.WARNING):
        encode_replies(thinking, {"no": ["I cannot"]}, "auto")
    assert "activations.template_arguments" in caplog.text
    caplog.clear()
    off = talk("bytes", CHATML, enable_thinking=False)
    (prompt,) = encode_prompts(off, ["Hi"], "auto", "")
    assert off.tokenizer.decode(prompt).endswith("assistant\n<think>\n\n</think>\n\n")
    assert encode_replies(off, {"no": ["I"]}, "auto") == encode_replies(
        talk("bytes", CHATML), {"no": ["I"]}, "auto"
    )
    assert not caplog.text


def test_a_template_that_asks_for_the_date_gives_the_same_prompt_on_any_day():
    model = talk("bytes", DATED)
    (prompt,) = encode_prompts(model, ["Hi"], "auto", "")
    assert model.tokenizer.decode(prompt) == "01 January 2025: Hi ->"
    computed = talk("bytes", "{% set f = '%d' %}{{ strftime_now(f) }}{{ messages[0].content }}")
    with pytest.raises(EmodriftError, match="change from day to day"):
        encode_prompts(computed, ["Hi"], "auto", "")


def test_chat_without_a_template_names_the_keys_that_help():
    with pytest.raises(EmodriftError, match=r"no chat template; borrow.*activations.chat_template"):
        encode_prompts(talk(), ["Hi"], "chat", "")


def test_a_borrowed_template_replaces_the_checkpoints_own():
    chat = {"template": BRACKETS, "system_prompt": None, "template_arguments": {}}
    model = put_template(talk("bytes", CHATML), chat)
    (prompt,) = encode_prompts(model, ["Hi"], "auto", "")
    assert model.tokenizer.decode(prompt) == "<s>[INST] Hi [/INST]"


def borrow(source, tmp_path):
    return describe_chat(Activations(chat_template=str(source)), tmp_path)["template"]


def test_a_template_is_borrowed_from_a_file_or_a_checkpoint_in_any_of_its_forms(tmp_path):
    (tmp_path / "own.jinja").write_text(BRACKETS)
    assert borrow(tmp_path / "own.jinja", tmp_path) == BRACKETS
    build_tokenizer("bytes", CHATML).save_pretrained(tmp_path / "new")
    assert borrow(tmp_path / "new", tmp_path) == CHATML
    forms = {"one": CHATML, "several": [{"name": "default", "template": CHATML}]}
    for name, form in forms.items():
        (tmp_path / name).mkdir()
        table = json.dumps({"chat_template": form})
        (tmp_path / name / "tokenizer_config.json").write_text(table)
        assert borrow(tmp_path / name, tmp_path) == CHATML
    build_tokenizer("bytes").save_pretrained(tmp_path / "base")
    with pytest.raises(EmodriftError, match="has no chat template"):
        borrow(tmp_path / "base", tmp_path)
    with pytest.raises(EmodriftError, match="no file or folder"):
        borrow(tmp_path / "none.jinja", tmp_path)


def list_keys(tmp_path, **activations):
    values = {**STUDY, "activations": activations}
    values["runs"] = {"sft": {"checkpoints": str(tmp_path / "runs/checkpoint-*")}}
    plan = plan_study(parse_study(values), tmp_path / "results")
    asked = [e for e in plan.entries.values() if "chat" in e.params]
    return {s: [e.key for e in asked if e.stage == s] for s in ("activations", "responses")}


def test_keys_hang_on_a_templates_words_and_not_on_its_place(tmp_path):
    save_checkpoint(tmp_path / "runs/checkpoint-0", seed=0, step=0)
    for name, text in (("one", BRACKETS), ("two", BRACKETS), ("three", CHATML)):
        (tmp_path / f"{name}.jinja").write_text(text)
    one, two, three = (
        list_keys(tmp_path, chat_template=str(tmp_path / f"{name}.jinja"))
        for name in ("one", "two", "three")
    )
    own = list_keys(tmp_path)
    off = list_keys(tmp_path, template_arguments={"enable_thinking": False})
    asked = list_keys(tmp_path, system_prompt="help")
    assert one == two
    for stage in ("activations", "responses"):
        assert len({keys[stage][0] for keys in (one, three, own, off, asked)}) == 5
