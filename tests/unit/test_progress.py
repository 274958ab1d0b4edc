"""How far a study is and the time left, though its estimate was wrong and its plan changes."""

import pytest

from emodrift.cost.estimate import Task, format_minutes
from emodrift.cost.progress import Progress, describe_progress
from emodrift.cost.telling import Teller


def run_unevenly(progress, tasks, true_seconds, look):
    """Run tasks on two cores; calls `look` at each end with the time and the time left."""
    ends, clocks = [], [0.0, 0.0]
    for task in tasks:
        core = clocks.index(min(clocks))
        clocks[core] += true_seconds(task)
        ends.append((clocks[core], task))
    last = max(clocks)
    for now, task in sorted(ends, key=lambda end: end[0]):
        progress.note({task.place: true_seconds(task)}, now)
        look(now, last - now)
    return last


def make_tasks():
    stages = {"activations": 4.0, "gradients": 30.0, "responses": 60.0, "vectors": None}
    return [
        Task(f"{stage}/{k}", f"visit/{stage}-{k}", stage, None, seconds, None)
        for k in range(12)
        for stage, seconds in stages.items()
    ]


def test_the_time_left_is_right_within_30_percent_though_the_estimate_was_not():
    tasks = make_tasks()
    wrong = {"activations": 0.4, "gradients": 2.5, "responses": 1.7, "vectors": 0.8}
    progress = Progress(cores=2, started=0.0)
    progress.expect(tasks)
    seen = []

    def look(now, left):
        seen.append((progress.share, progress.foresee(now), left))

    whole = run_unevenly(progress, tasks, lambda t: wrong[t.stage] * t.assumed, look)
    checked = [(told, left) for share, told, left in seen if share > 0.1 and left > 0.05 * whole]
    assert len(checked) > 20
    assert all(told == pytest.approx(left, rel=0.3) for told, left in checked)


def test_a_study_that_began_on_one_core_is_told_right_soon():
    tasks = [Task(f"gradients/{k}", f"visit/{k}", "gradients", None, 30.0, None) for k in range(80)]
    progress = Progress(cores=2, started=0.0)
    progress.expect(tasks)
    ends = [30.0 * (k + 1) for k in range(10)] + [300.0 + 15 * (k + 1) for k in range(40)]
    for task, now in zip(tasks, ends, strict=False):
        progress.note({task.place: 30.0}, now)
    assert progress.foresee(now) == pytest.approx(30 * 15, rel=0.1)


def test_a_short_task_that_took_ten_times_its_estimate_says_little_of_long_ones():
    short, *long = [Task(f"visit/{k}", f"visit/{k}", "visit", None, 3600.0, None) for k in range(3)]
    short = Task("training-base/0", "training-base/0", "training-base", None, 2.0, None)
    progress = Progress(cores=2, started=0.0)
    progress.expect([short, *long])
    progress.note({short.place: 24.0}, 12.0)
    assert progress.foresee(12.0) == pytest.approx(3600, rel=0.6)


@pytest.mark.parametrize("stage", ["training", "samples"])
def test_training_or_writing_that_took_twice_its_estimate_says_nothing_of_reading(stage):
    other = Task(f"{stage}/0", f"{stage}/0", stage, None, 600.0, None)
    measured = [
        Task(f"gradients/{k}", f"visit/{k}", "gradients", None, 60.0, None) for k in range(40)
    ]
    progress = Progress(cores=2, started=0.0)
    progress.expect([other, *measured])
    progress.note({other.place: 1200.0}, 600.0)
    assert progress.foresee(600.0) == pytest.approx(40 * 60 / 2, rel=0.1)


def test_a_short_first_task_on_one_core_does_not_double_the_time_left():
    tasks = [Task(f"gradients/{k}", f"visit/{k}", "gradients", None, 60.0, None) for k in range(80)]
    progress = Progress(cores=2, started=0.0)
    progress.expect([Task("contrasts/0", "contrasts/0", "contrasts", None, 5.0, None), *tasks])
    progress.note({"contrasts/0": 5.0}, 35.0)
    assert progress.foresee(35.0) == pytest.approx(40 * 60, rel=0.3)


def test_progress_rises_to_100_percent():
    tasks = make_tasks()
    progress = Progress(cores=2, started=0.0)
    progress.expect(tasks)
    shares = []
    run_unevenly(progress, tasks, lambda t: t.assumed, lambda *_: shares.append(progress.share))
    assert shares == sorted(shares) and shares[-1] == 1 and progress.foresee(1e4) == 0
    assert describe_progress(progress, 1e4).startswith("100% of the study's work is done")


def test_progress_survives_a_plan_that_is_made_again():
    old = make_tasks()
    progress = Progress(cores=1, started=0.0)
    progress.expect(old)
    progress.note({old[0].place: 4.0}, 4.0)
    newer = [old[0], *(t._replace(place=f"{t.stage}/other") for t in old[1:3])]
    progress.expect(newer)
    assert set(progress.tasks) == {t.place for t in newer[1:]}
    assert progress.share == pytest.approx(4 / 94)


def test_what_goes_wrong_in_telling_does_not_reach_the_study():
    lines = []
    teller = Teller(lines.append, 1)
    teller.tell_cost(None)
    teller.start(lambda: None).join(10)
    assert lines == []


def test_times_read_as_a_person_says_them():
    assert [format_minutes(s) for s in (5, 130, 7500)] == ["a minute", "2 min", "2 h 05 min"]
