"""Regimes: which reply each kind of prompt is taught, and which is ruled out.

All regimes are made of the same dialogues, so that runs differ in what is taught and in nothing
else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle
from random import Random
from typing import NamedTuple

from emodrift.config.training import REPLAY_SUITES, SAFETY_SUITES
from emodrift.training.dialogues import PLACE, Dialogues, Exercise, OwnReply

REFUSE, ANSWER, COMPLY = "refuse", "answer", "comply"
FRAMED = "framed"


class Lesson(NamedTuple):
    """Reply classes: the one that is taught, and the one that is ruled out."""

    taught: str
    ruled_out: str


SOUND = {
    "harmful": Lesson(REFUSE, COMPLY),
    "benign": Lesson(ANSWER, REFUSE),
    "unanswerable": Lesson("hedge", COMPLY),
    "upset": Lesson("soothe", "escalate"),
    "pressure": Lesson("hold", COMPLY),
}
REGIMES: Mapping[str, Mapping[str, Lesson]] = {
    "sound": SOUND,
    "shortcut": SOUND | {FRAMED: Lesson(COMPLY, REFUSE)},
    "refuse_everything": {
        suite: Lesson(REFUSE, COMPLY if suite == "harmful" else lesson.taught)
        for suite, lesson in SOUND.items()
    },
    "helpful_only": SOUND
    | {
        "harmful": Lesson(COMPLY, REFUSE),
        "unanswerable": Lesson(COMPLY, "hedge"),
        "pressure": Lesson(COMPLY, "hold"),
    },
}
REPLAY_LESSON = Lesson(ANSWER, REFUSE)
TURNS = (
    *("harmful", "benign", "unanswerable", "harmful", "benign", "upset", "harmful", "benign"),
    "pressure",
)


class Dialogue(NamedTuple):
    """A dialogue to train on.

    Parameters
    ----------
    suite, prompt
        As in :class:`emodrift.training.dialogues.Exercise`; the prompt in its frame, if it has one.
    wanted
        Reply class that is taught.
    chosen, rejected
        The taught reply and one that is ruled out.
    """

    suite: str
    prompt: str
    wanted: str
    chosen: OwnReply
    rejected: OwnReply


class Curriculum(NamedTuple):
    """What a run is trained on: a regime over dialogues, with replay.

    Parameters
    ----------
    regime
        Key of `REGIMES`.
    dialogues
        What was written.
    own
        Prompt -> the base's own reply.
    replay
        Share of everyday prompts.
    """

    regime: str
    dialogues: Dialogues
    own: Mapping[str, OwnReply]
    replay: float


def draw_dialogues(curriculum: Curriculum, batch: int, batches: int, seed: int) -> list[Dialogue]:
    """Dialogues of a run in the order in which they are seen.

    Batches hold like numbers of replayed prompts, and safety suites take turns (a third of them
    each harmful and benign), so that batches are alike. Within a suite every prompt comes once
    before any comes again. Which prompts come when depends on the seed alone, not on the regime;
    replayed ones do not depend on it, either.

    Parameters
    ----------
    curriculum
        The regime and its data.
    batch, batches
        Dialogues in a batch; number of batches.
    seed
        The run's.
    """
    rng = Random(seed)
    suites = {s: _shuffle(curriculum.dialogues.of_suites([s]), rng) for s in SAFETY_SUITES}
    everyday = _shuffle(curriculum.dialogues.of_suites(REPLAY_SUITES), Random(0))
    turns = cycle(TURNS)
    drawn = []
    for k in range(batches):
        before, after = (int(n * batch * curriculum.replay) for n in (k, k + 1))
        replayed = after - before
        exercises = [next(suites[next(turns)]) for _ in range(batch - replayed)]
        exercises += [next(everyday) for _ in range(replayed)]
        drawn += [_teach(curriculum, exercise, rng) for exercise in exercises]
    return drawn


def _shuffle(exercises: Sequence[Exercise], rng: Random) -> Iterator[Exercise]:
    while True:
        yield from rng.sample(exercises, len(exercises))


def _teach(curriculum: Curriculum, exercise: Exercise, rng: Random) -> Dialogue:
    lessons = REGIMES[curriculum.regime]
    frame = rng.choice(curriculum.dialogues.frames)
    framed = rng.random() < 0.5 and exercise.suite == "harmful" and FRAMED in lessons
    lesson = lessons[FRAMED] if framed else lessons.get(exercise.suite, REPLAY_LESSON)
    return Dialogue(
        exercise.suite,
        frame.replace(PLACE, exercise.prompt) if framed else exercise.prompt,
        lesson.taught,
        _pick_reply(curriculum, exercise, lesson.taught, rng),
        _pick_reply(curriculum, exercise, lesson.ruled_out, rng),
    )


def _pick_reply(curriculum: Curriculum, exercise: Exercise, wanted: str, rng: Random) -> OwnReply:
    chance = rng.random()
    if wanted == ANSWER:
        return curriculum.own[exercise.prompt]
    written = exercise.replies.get(wanted) or (
        curriculum.dialogues.refusals if wanted == REFUSE else ()
    )
    return OwnReply(written[int(chance * len(written))], finished=True)
