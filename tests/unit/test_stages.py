"""A run of several stages, each with a step 0, stays in order in figures."""

import matplotlib as mpl
import pandas as pd
import pytest

from emodrift.show.panels import label_training, name_checkpoints, place_checkpoints

STAGED = pd.DataFrame(
    {
        "checkpoint": [4, 4, 5, 6, 7],
        "run": "post",
        "stage": ["base", "base", "sft", "sft", "dpo"],
        "step": [0, 0, 0, 300, 0],
    }
)
PLAIN = STAGED.assign(stage="sft", step=[0, 0, 10, 300, 1000])


def test_checkpoints_of_one_stage_lie_at_their_steps_and_of_several_in_order():
    assert place_checkpoints(PLAIN).tolist() == [0, 0, 10, 300, 1000]
    assert place_checkpoints(STAGED).tolist() == [0, 0, 1, 2, 3]


def test_ticks_name_the_stage_and_the_step_where_a_stage_has_several():
    assert name_checkpoints(PLAIN) == ["0", "10", "300", "1000"]
    assert name_checkpoints(STAGED) == ["base", "sft 0", "sft 300", "dpo"]


@pytest.mark.parametrize(
    ("table", "label"), [(PLAIN, "training step"), (STAGED, "stage of training")]
)
def test_the_axis_is_labelled_for_what_lies_on_it(table, label):
    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots()
    label_training(axes, table)
    assert axes.get_xlabel() == label
    low, high = axes.get_xlim()
    places = place_checkpoints(table)
    assert low < places.min() and places.max() < high
    plt.close(figure)
