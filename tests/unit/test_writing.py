"""A model writes stories; what it writes is kept, filtered and asked for again."""

from __future__ import annotations

import contextlib
import copy
import json
import logging
import re
import runpy
from types import SimpleNamespace

import pytest
import yaml

from emodrift.config.reading import parse_study
from emodrift.config.writer import Writer
from emodrift.contrasts.answers import Question, ask_endpoint, keep_answers
from emodrift.contrasts.endpoint import Answer, ChatServer, complete_chat
from emodrift.contrasts.writing import StoryParams, split_answer, write_stories
from emodrift.errors import EmodriftError
from emodrift.models.chat import open_chat
from emodrift.plan.entries import SCRIPTS
from emodrift.plan.study import plan_study
from emodrift.store.entry import read_manifest
from tests.chat_server import complete, serve_chat
from tests.conftest import STUDY, save_checkpoint

KEY = "planted-key-77aa"
TOPICS = ["a bridge", "a market", "a well", "a barn"]
FORBIDDEN = {"afraid": ["afraid", "fear", "scared"], "happy": ["happy", "joy"]}
WORDS = [f"{a}{b}" for a in "bdfgklmnprst" for b in ("ando", "ilba", "orm", "ustel", "ekka")]


def invent_story(*seed):
    """Twelve words that no other seed puts in the same order."""
    import random

    return " ".join(random.Random(str(seed)).sample(WORDS, 12)) + "."


def write_settings(**changed):
    options = {"model": "m", "topics": TOPICS, "minimum_words": 5, "maximum_words": 30}
    return Writer(**options | changed).list_settings()


class Model:
    """Stands for a chat model: answers by a function of topic, emotion, count and number."""

    def __init__(self, reply):
        self.reply = reply
        self.asked = []

    def __call__(self, questions):
        for k, question in enumerate(questions):
            self.asked.append(question)
            yield k, self.answer(question.prompt)

    def answer(self, prompt):
        asked = re.search(r"Write (\d+) different short stories about.*: (.*)\.", prompt)
        count, topic = asked.groups()
        emotion = re.search(r"somebody feels (\w+)", prompt)[1]
        text = self.reply(topic, emotion, int(count), len(self.asked))
        return text if isinstance(text, Answer) else Answer(text, True)


def reply_well(topic, emotion, count, number):
    return "\n---\n".join(invent_story(topic, emotion, number, k) for k in range(count))


def write(out, ask, amount=2, **changed):
    out.mkdir(exist_ok=True)
    params = StoryParams(
        write_settings(**changed),
        topics=TOPICS,
        heldout=0.5,
        amount=amount,
        seed=0,
        forbidden=FORBIDDEN,
        homographs=[],
    )
    write_stories(params, ask, out)
    stories = [
        json.loads(line)
        for emotion in FORBIDDEN
        for line in (out / f"stories/{emotion}.jsonl").read_text().splitlines()
    ]
    rejected = [json.loads(line) for line in (out / "rejected.jsonl").read_text().splitlines()]
    return stories, rejected


# from answers to stories


def test_every_emotion_and_topic_gets_its_stories_and_topics_are_split(tmp_path):
    model = Model(reply_well)
    stories, rejected = write(tmp_path, model)
    assert len(stories) == len({s["id"] for s in stories}) == 2 * len(TOPICS) * 2
    assert not rejected
    assert len(model.asked) == 2 * len(TOPICS)
    by_topic = {s["topic"]: s["split"] for s in stories}
    assert sorted(by_topic.values()) == ["fit", "fit", "heldout", "heldout"]
    assert all(by_topic[s["topic"]] == s["split"] for s in stories)


def test_the_prompt_forbids_the_emotion_and_its_synonyms_and_asks_for_the_form(tmp_path):
    model = Model(reply_well)
    write(tmp_path, model, answers="separated")
    prompt = model.asked[0].prompt
    assert "afraid, fear, scared" in prompt and "a bridge" in prompt and "joy" not in prompt
    assert "5 to 30 words" in prompt and "only ---" in prompt


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("Two words.", "too short"),
        (" ".join(WORDS[:40]), "too long"),
        (invent_story("x") + " They were scared of it.", "leaked word scared"),
        (invent_story("x") + " The fears went on.", "leaked word fears"),
        ("- " * 9, "no words"),
    ],
)
def test_what_is_filtered_is_asked_for_again(tmp_path, bad, reason):
    def reply(topic, emotion, count, number):
        good = reply_well(topic, emotion, count, number)
        if number == 1:
            return bad + "\n---\n" + good.partition("\n---\n")[0]
        return good

    model = Model(reply)
    stories, rejected = write(tmp_path, model)
    assert len(stories) == 16
    assert [(r["reason"], r["round"], r["topic"]) for r in rejected] == [(reason, 1, "a bridge")]
    again = [q for q in model.asked if q.round == 2]
    assert len(again) == 1 and "Write 1 different" in again[0].prompt


def test_words_of_other_emotions_drop_a_story_only_where_the_study_forbids_them(tmp_path):
    def reply(topic, emotion, count, number):
        return reply_well(topic, emotion, count, number).replace(".", " with joy.")

    stories, _ = write(
        tmp_path / "own",
        Model(lambda t, e, c, n: (reply if e == "afraid" else reply_well)(t, e, c, n)),
    )
    assert len(stories) == 16
    with pytest.raises(EmodriftError, match=r"no story of 'afraid'.*leaked word 32"):
        write(tmp_path / "study", Model(reply), forbidden="study")


def test_copies_within_an_emotion_and_within_a_topic_are_dropped(tmp_path):
    same = invent_story("same")

    def reply(topic, emotion, count, number):
        if emotion == "happy" and topic == "a well":
            return first_of_topic["a well"] + " Then more."
        text = same if number in (1, 2) else invent_story(topic, emotion, number)
        first_of_topic.setdefault(topic, text)
        return text

    first_of_topic = {}
    stories, rejected = write(tmp_path, Model(reply), amount=1)
    assert [s["text"] for s in stories].count(same) == 1
    dropped = [(r["label"], r["topic"], r["reason"]) for r in rejected]
    assert dropped == [("afraid", "a market", "copy")] + 4 * [("happy", "a well", "copy")]
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["happy"]["short_topics"] == {"a well": 0}
    assert summary["afraid"] == {"stories": 4, "rejected": {"copy": 1}, "short_topics": {}}


def test_a_further_emotion_leaves_the_stories_of_the_others_as_they_are(tmp_path):
    write(tmp_path / "a", Model(lambda t, e, c, n: reply_well(t, e, c, 0)))
    FORBIDDEN["sad"] = ["sad"]
    try:
        write(tmp_path / "b", Model(lambda t, e, c, n: reply_well(t, e, c, 0)))
    finally:
        del FORBIDDEN["sad"]
    for emotion in FORBIDDEN:
        first, second = (tmp_path / x / f"stories/{emotion}.jsonl" for x in "ab")
        assert first.read_text() == second.read_text()


def test_answers_without_the_asked_form_are_asked_again_up_to_the_limit(tmp_path):
    model = Model(lambda t, e, c, n: "I would rather not.")
    with pytest.raises(EmodriftError, match=r"no story of 'afraid'.*malformed 12") as error:
        write(tmp_path, model, answers="json", rounds=3)
    assert "\n" not in str(error.value)
    assert {q.round for q in model.asked} == {1, 2, 3}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One two.\n---\nThree four.", ["One two.", "Three four."]),
        ("Here are two stories:\n\nStory 1: One.\n\n***\n**Story 2**\nTwo.", ["One.", "Two."]),
        ("[Story 1]\nOne.\n----\n2. Two\nlines.\n---\n", ["One.", "Two lines."]),
        ('<think>Hm.\n---\nHm.</think>\n\n## Title\n"One," he said.', ['"One," he said.']),
        ('Story 1: "One," he said.', ['"One," he said.']),
    ],
)
def test_separated_texts_are_told_apart_and_freed_of_headings(text, expected):
    assert split_answer(Answer(text, True), "separated") == expected


def test_json_texts_are_found_in_any_wrapping():
    for text in ('["One.", "Two."]', '```json\n[{"story": "One."}, {"text": "Two."}]\n```'):
        assert split_answer(Answer(text, True), "json") == ["One.", "Two."]
    for text in ("", "[", "[1", '{"a": 1}', "[1, 2]", '["cut off'):
        assert split_answer(Answer(text, True), "json") == []


def test_a_text_that_was_cut_off_is_left_out():
    assert split_answer(Answer("One.\n---\nTwo and", False), "separated") == ["One."]


# answers are kept


def test_a_killed_job_goes_on_where_it_stopped(tmp_path):
    def die_at(limit):
        def reply(topic, emotion, count, number):
            if len(model.asked) > limit:
                raise KeyboardInterrupt
            return reply_well(topic, emotion, count, 0)

        model = Model(reply)
        return model

    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "x", keep_answers(die_at(5), tmp_path / "answers", ["m"]))
    assert len(list(tmp_path.glob("answers/*/*.json"))) == 5
    rest = die_at(99)
    resumed, _ = write(tmp_path / "y", keep_answers(rest, tmp_path / "answers", ["m"]))
    assert len(rest.asked) == 3
    assert (resumed, []) == write(tmp_path / "z", die_at(99))


def test_another_model_is_asked_anew_and_a_damaged_answer_again(tmp_path):
    question = [Question("Write 1 different short stories about x: y.\nsomebody feels sad", 1)]
    model = Model(reply_well)
    for identity in ("a", "a", "b"):
        list(keep_answers(model, tmp_path, identity)(question))
    assert len(model.asked) == 2
    next(tmp_path.glob("*/*.json")).write_text("{")
    for identity in ("a", "b"):
        list(keep_answers(model, tmp_path, identity)(question))
    assert len(model.asked) == 3


# an endpoint


@pytest.fixture
def serve():
    """Start endpoints: by the script's next status and body, then by the model."""
    with contextlib.ExitStack() as stack:

        def start(*script, reply=reply_well):
            model, waiting = Model(lambda t, e, c, n: reply(t, e, c, 0)), list(script)

            def answer(body):
                status, raw = waiting.pop(0) if waiting else (200, None)
                prompt = body["messages"][0]["content"] if raw is None else None
                return status, complete(model.answer(prompt).text) if raw is None else raw

            server = stack.enter_context(serve_chat(answer))
            server.script = waiting
            return server

        yield start


def ask_server(server, retries=3, parallel=3):
    place = ChatServer(server.url, KEY, 5, retries, 0.01, name="writer", settings="writer.endpoint")
    return ask_endpoint(lambda: place, {"model": "m", "temperature": None}, parallel)


@pytest.mark.parametrize(
    "fault", [(429, ""), (500, "oops"), (503, ""), (200, "no json"), (200, "{}"), (200, "[]")]
)
def test_passing_faults_of_an_endpoint_are_tried_again(serve, tmp_path, fault):
    server = serve(fault, fault)
    stories, _ = write(tmp_path, ask_server(server))
    assert len(stories) == 16
    assert len(server.seen) == 8 + 2
    assert server.seen[0]["headers"]["Authorization"] == f"Bearer {KEY}"
    assert set(server.seen[0]["body"]) == {"model", "messages"}


def test_a_failing_endpoint_ends_the_job_and_loses_no_answer(serve, tmp_path):
    server = serve(*[(200, None)] * 3, *[(401, "")] * 9)
    ask = keep_answers(ask_server(server, parallel=1), tmp_path / "answers", "m")
    with pytest.raises(EmodriftError, match=r"writer 127\.0\.0\.1: status 401"):
        write(tmp_path / "x", ask)
    assert len(list(tmp_path.glob("answers/*/*.json"))) == 3
    assert len(server.seen) < 8
    server.script.clear()
    server.seen.clear()
    stories, _ = write(tmp_path / "y", ask)
    assert len(stories) == 16
    assert len(server.seen) == 5


def test_an_endpoint_that_never_completes_a_chat_is_an_error_that_names_it(serve):
    server = serve(*[(200, "no json")] * 9)
    place = ChatServer(server.url, KEY, 5, 2, 0.01, name="writer", settings="writer.endpoint")
    with pytest.raises(EmodriftError, match=r"no chat completion; check writer\.endpoint"):
        complete_chat(place, {"messages": []})
    assert len(server.seen) == 3


def test_empty_and_cut_off_answers_are_answers(serve):
    for content, reason in ((None, "content_filter"), ("One", "length")):
        choice = {"message": {"content": content}, "finish_reason": reason}
        server = serve((200, json.dumps({"choices": [choice]})))
        answer = complete_chat(ChatServer(server.url), {"messages": []})
        assert answer == Answer(content or "", reason != "length")


def test_a_missing_key_is_an_error_when_the_first_question_is_asked(monkeypatch):
    monkeypatch.delenv("EMODRIFT_TEST_KEY", raising=False)
    connection = {"parallel": 1, "timeout": 5, "key_variable": "EMODRIFT_TEST_KEY"}
    ask = open_chat(write_settings(endpoint="http://127.0.0.1:9/v1"), 0, None, connection)
    with pytest.raises(EmodriftError, match=r"EMODRIFT_TEST_KEY .* is not set"):
        list(ask([Question("x", 1)]))


# plan and adapters


def describe_study(**writer):
    values = copy.deepcopy(STUDY)
    values["contrasts"]["emotions"] = ["happy", "afraid"]
    values["contrasts"]["bundles"] = {"caution": ["afraid"], "eagerness": ["happy"]}
    values["contrasts"]["minimum_topics"] = 2
    values["contrasts"]["stories"] = {
        "generator": "model",
        "amount": 1,
        "heldout": 0.5,
        "writer": {
            "model": "m",
            "topics": TOPICS,
            "taxonomy": "emotions.yaml",
            "minimum_words": 5,
            "maximum_words": 60,
        }
        | writer,
    }
    return values


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_checkpoint(tmp_path / "runs/sft/checkpoint-0", seed=0, step=0)
    words = {name: {"synonyms": rest} for name, (_, *rest) in FORBIDDEN.items()}
    (tmp_path / "emotions.yaml").write_text(yaml.safe_dump({"emotions": words}))
    return tmp_path


def plan(values, folder):
    return plan_study(parse_study(values), folder / "results")


def run_stage(stage, planned):
    """Run a stage's adapter as Snakemake would."""
    (entry,) = planned.of_stage(stage)
    place = planned.store / entry.place
    job = SimpleNamespace(
        params=SimpleNamespace(entry=json.loads(json.dumps(entry.describe()))),
        output=[place / "manifest.json"],
        log=[],
        threads=1,
    )
    runpy.run_path(str(SCRIPTS / f"{stage}.py"), {"snakemake": job})
    return place


def test_a_study_takes_the_stories_that_an_endpoint_wrote(serve, folder, monkeypatch, caplog):
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("STORY_KEY", KEY)
    server = serve()
    values = describe_study(endpoint=server.url, key_variable="STORY_KEY")
    planned = plan(values, folder)
    (contrasts,) = planned.of_stage("contrasts")
    assert contrasts.list_inputs() == planned.of_stage("stories")

    written = run_stage("stories", planned)
    data = run_stage("contrasts", planned)
    parts = json.loads((data / "parts.json").read_text())
    assert {"stories-model-happy", "stories-model-afraid"} <= set(parts)
    part = (data / "parts/stories-model-afraid.jsonl").read_text().splitlines()
    assert len(part) == len(TOPICS)

    manifest = read_manifest(written)
    prompt = manifest["params"]["writer"]["instructions"]
    assert "Write {count} different" in prompt and "only ---" in prompt
    assert manifest["params"]["forbidden"]["afraid"] == FORBIDDEN["afraid"]
    assert manifest["params"]["topics"] == TOPICS
    assert server.seen[0]["headers"]["Authorization"] == f"Bearer {KEY}"
    files = [f.read_text() for f in (folder / "results").rglob("*") if f.is_file()]
    assert not any(KEY in text for text in [*files, caplog.text])


def test_changed_filters_use_the_kept_answers_and_other_topics_ask_only_for_theirs(serve, folder):
    server = serve()
    run_stage("stories", plan(describe_study(endpoint=server.url), folder))
    assert len(server.seen) == 8
    changed = describe_study(endpoint=server.url, similarity=0.9, parallel=2)
    run_stage("stories", plan(changed, folder))
    assert len(server.seen) == 8
    grown = describe_study(endpoint=server.url, topics=[*TOPICS, "a lift"])
    run_stage("stories", plan(grown, folder))
    assert len(server.seen) == 10


def test_the_key_of_stories_follows_settings_and_not_patience(folder):
    def find_key(**writer):
        (entry,) = plan(describe_study(endpoint="http://h/v1", **writer), folder).of_stage(
            "stories"
        )
        return entry.key

    first = find_key()
    assert find_key(parallel=1, timeout=3, key_variable="K") == first
    (folder / "topics.txt").write_text("\n".join(TOPICS) + "\n\n")
    assert find_key(topics="topics.txt") == first
    others = (
        {"temperature": 0.5},
        {"model": "n"},
        {"topics": TOPICS[:3]},
        {"synonyms": {"happy": ["merry"]}},
        {"options": {"top_p": 0.9}},
        {"answers": "json"},
    )
    assert len({first, *(find_key(**other) for other in others)}) == 1 + len(others)


@pytest.mark.parametrize(
    ("writer", "message"),
    [
        ({"topics": ["one"]}, "writer.topics: found 1 topics"),
        ({"topics": ["one", "one"]}, "'one' comes twice"),
        ({"topics": "none.txt"}, "contrasts.stories.writer.topics: no file matches"),
        ({"taxonomy": "none.yaml"}, "contrasts.stories.writer.taxonomy: no file matches"),
        ({"endpoint": "h/v1"}, "must start with http"),
        ({"endpoint": "http://u:secret@h/v1"}, "holds a user name"),
        ({"minimum_words": 99}, "minimum_words is above maximum_words"),
        ({"key_variable": "K"}, "key_variable belongs to an `endpoint`"),
        ({"instructions": "Write {count} of {topic}, {emotion}"}, "instructions lack {forbidden}"),
        ({"instructions": "{colour}"}, "instructions cannot be filled in"),
    ],
)
def test_a_writer_that_cannot_work_is_refused_while_planning(folder, writer, message):
    with pytest.raises(EmodriftError, match=re.escape(message)) as error:
        plan(describe_study(**writer), folder)
    assert "secret" not in str(error.value)


def test_an_emotion_without_synonyms_needs_some(folder):
    values = describe_study(endpoint="http://h/v1")
    values["contrasts"]["emotions"].append("wistful")
    with pytest.raises(EmodriftError, match="has no emotion 'wistful'; list the words"):
        plan(values, folder)
    values["contrasts"]["stories"]["writer"]["synonyms"] = {"wistful": ["longing"]}
    (entry,) = plan(values, folder).of_stage("stories")
    assert entry.params["forbidden"]["wistful"] == ["wistful", "longing"]


# a local model


def save_writer(folder, seed):
    """A tiny chat model that stops at any of its first 60 words."""
    save_checkpoint(folder, seed=seed, step=0)
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [*range(2, 60)]}))


LOCAL = {
    "instructions": "Write {count} {topic} {emotion} {forbidden}",
    "maximum_tokens": 20,
    "maximum_words": 20,
    "parallel": 3,
    "similarity": 1.0,
    "options": {"top_k": 50},
}


def test_a_local_chat_model_writes_through_transformers(folder):
    save_writer(folder / "writer", seed=3)
    values = describe_study(model="writer", **LOCAL)
    planned = plan(values, folder)
    (entry,) = planned.of_stage("stories")
    place = run_stage("stories", planned)
    stories = [json.loads(x) for x in (place / "stories/happy.jsonl").read_text().splitlines()]
    assert stories
    assert all(5 <= len(s["text"].split()) <= 20 for s in stories)
    connection = read_manifest(place)["context"]["connection"]
    assert connection["location"] == {"path": "writer"}

    for file in (folder / "results").glob("store/answers/*/*"):
        file.unlink()
    again = place.rename(folder / "first")
    assert (run_stage("stories", planned) / "stories/happy.jsonl").read_text() == (
        again / "stories/happy.jsonl"
    ).read_text()

    (folder / "writer").rename(folder / "moved")
    moved = describe_study(model="moved", **LOCAL)
    assert plan(moved, folder).of_stage("stories")[0].key == entry.key
    save_writer(folder / "writer", seed=4)
    assert plan(values, folder).of_stage("stories")[0].key != entry.key


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"maximum_tokens": 158}, "writer.maximum_tokens is 158, but the model's context holds"),
        ({"options": {"colour": "red"}}, "check writer.options"),
    ],
)
def test_a_local_model_that_cannot_answer_is_named(folder, change, message):
    save_writer(folder / "writer", seed=3)
    loading = {"device": "cpu", "allow_pickle": False}
    connection = {"parallel": 2, "location": {"path": "writer"}, "loading": loading}
    settings = write_settings(**LOCAL | {"model": "writer"} | change)
    ask = open_chat(settings, 0, "float32", connection)
    with pytest.raises(EmodriftError, match=re.escape(message)):
        list(ask([Question("Write a story", 1)]))


def test_a_local_model_answers_a_question_alike_in_a_padded_batch(folder):
    save_writer(folder / "writer", seed=3)
    loading = {"device": "cpu", "allow_pickle": False}
    questions = [Question("afraid", 1), Question("calm happy " * 20, 1)]
    answers = []
    for parallel in (1, 2):
        connection = {"parallel": parallel, "location": {"path": "writer"}, "loading": loading}
        settings = write_settings(model="writer", temperature=0, maximum_tokens=12)
        answers.append(dict(open_chat(settings, 0, "float32", connection)(questions)))
    assert answers[0] == answers[1]
