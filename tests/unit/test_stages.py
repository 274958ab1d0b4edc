"""A run of several stages, each with a step 0, stays in order in alarms."""

import pandas as pd

from emodrift.warning.alarms import is_before

STAGED = pd.DataFrame(
    {
        "checkpoint": [4, 4, 5, 6, 7],
        "run": "post",
        "stage": ["base", "base", "sft", "sft", "dpo"],
        "step": [0, 0, 0, 300, 0],
    }
)


def test_only_what_comes_before_the_reference_is_before_it():
    table = STAGED.drop_duplicates("checkpoint")
    reference = {"run": "post", "stage": "dpo", "step": 0}
    assert is_before(table, reference).tolist() == [True, True, True, True]
    assert is_before(table, reference | {"stage": "sft"}).tolist() == [True, True, False, False]
