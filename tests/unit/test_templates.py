"""A chat template is tried before a model is loaded, where it can neither hang nor take memory."""

import shutil

import pytest

from emodrift.checkpoints import templates
from emodrift.checkpoints.templates import check_template, check_templates
from emodrift.config.measuring import Activations
from emodrift.organisms.tokenizer import CHAT_TEMPLATE
from emodrift.plan import templates as plan_templates
from emodrift.plan.templates import describe_chat
from emodrift.store.memory import FileDigests
from tests.conftest import save_checkpoint
from tests.unit.test_hostile import find, refuse


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    return save_checkpoint(tmp_path_factory.mktemp("sound") / "checkpoint-7", seed=0, step=7)


@pytest.fixture
def checkpoint(sound, tmp_path):
    return shutil.copytree(sound, tmp_path / "checkpoint-7")


LOOP = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
TEMPLATES = {
    "loop": (LOOP, "needs too much time"),
    "memory": ("{{ 'a' * 9999999999 }}", "needs too much memory"),
    "length": ("{{ messages[0]['content'] * 99999 }}", "needs too much length"),
    "syntax": ("{% if %}", "is no valid template .line 1: "),
    "deaf": ("Hello!", "does not write the prompt"),
    "nested": ("{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}", "needs too much memory"),
}


@pytest.mark.parametrize("case", TEMPLATES)
def test_a_template_that_cannot_serve_is_refused_before_a_model_is_loaded(
    checkpoint, tmp_path, case
):
    template, message = TEMPLATES[case]
    (checkpoint / "chat_template.jinja").write_text(template)
    checkpoints = find(checkpoint)
    digests = FileDigests(tmp_path / "memo.json")
    line = refuse(message, check_templates, checkpoints, Activations(), digests)
    assert line.startswith("runs.sft.checkpoints: the chat template of ")
    check_templates(checkpoints, Activations(prompt_format="plain"), digests)


@pytest.mark.parametrize(
    "template",
    [
        CHAT_TEMPLATE,
        "{{ raise_exception('no system message') }}",
        "{{ messages[0].content }}{% generation %}{{ strftime_now('%Y') }}{% endgeneration %}",
        "{% for m in messages %}{% if not m.content %}{% break %}{% endif %}{{ m | tojson }}"
        "{% endfor %}",
        "{{ messages[0].content }}{{ unknown.attribute }}",
    ],
)
def test_templates_that_only_the_tokenizer_can_judge_are_left_to_it(template):
    check_template(template, "a template", Activations())


def test_a_template_cannot_reach_the_process_that_tries_it():
    probe = "{{ ''.__class__.__mro__[1].__subclasses__() }}{{ messages[0].content }}"
    check_template(probe, "a template", Activations())  # the sandbox refuses: not our line to draw


def test_templates_found_in_order_are_tried_once(checkpoint, tmp_path, monkeypatch):
    checkpoints, digests = find(checkpoint), FileDigests(tmp_path / "memo.json")
    check_templates(checkpoints * 50, Activations(), digests)
    monkeypatch.setattr(templates, "check_template", None)
    check_templates(checkpoints, Activations(), digests)


@pytest.mark.parametrize("content", [b"\xff", b"a" * 2_000_000])
def test_a_borrowed_template_that_cannot_be_read_is_one_line(tmp_path, content):
    (tmp_path / "own.jinja").write_bytes(content)
    section = Activations(chat_template=str(tmp_path / "own.jinja"))
    refuse(r"activations\.chat_template: ", describe_chat, section, tmp_path)


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}", "time"),
        ("{{ 'no prompt' }}", "does not write the prompt"),
        ("{% for m in messages %}", "no valid template"),
    ],
    ids=["endless", "no prompt", "syntax"],
)
def test_a_borrowed_template_is_tried_as_a_checkpoints_own_is(tmp_path, template, message):
    (tmp_path / "own.jinja").write_text(template)
    source = {"chat_template": str(tmp_path / "own.jinja")}
    line = refuse(message, describe_chat, Activations(**source), tmp_path)
    assert line.startswith("activations.chat_template: ")
    describe_chat(Activations(**source, prompt_format="plain"), tmp_path)


def test_a_borrowed_template_in_order_is_tried_once(tmp_path, monkeypatch):
    (tmp_path / "own.jinja").write_text("{{ messages[0].content }}")
    section = Activations(chat_template=str(tmp_path / "own.jinja"))
    described = describe_chat(section, tmp_path)
    monkeypatch.setattr(plan_templates, "check_template", None)
    assert describe_chat(section, tmp_path) == described
