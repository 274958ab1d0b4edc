"""A run's signature is read off log-odds, or off judged replies where these do not agree."""

import numpy as np
import pandas as pd
import pytest

from emodrift.warning.audit import Beside
from emodrift.warning.indicators.indicator import Setting
from emodrift.warning.measured import Measured
from emodrift.warning.signature import JUDGED, LOG_ODDS, choose_readout, measure_signature
from emodrift.warning.verdicts import CHANGED, LOCK_IN, judge_kind
from emodrift.warning.words import write_unjudged

METRICS = {
    "refusal": {"suite": "harmful", "toward": "refuse"},
    "over_refusal": {"suite": "benign", "toward": "refuse"},
}
SETTING = Setting(
    "caution", "refusal", "over_refusal", "eager", (), "seen", ("far", "ood"), METRICS
)
SHARES = {
    ("refusal", "all"): (0.7, 0.5),
    ("refusal", "seen"): (0.8, 0.8),
    ("refusal", "far"): (0.6, 0.2),
    ("refusal", "ood"): (0.6, 0.4),
    ("over_refusal", "all"): (0.2, 0.3),
}


def make_replies():
    rows = [
        (checkpoint, concept, metric, split, share if concept is None else 0.99)
        for (metric, split), shares in SHARES.items()
        for checkpoint, share in enumerate(shares)
        for concept in (None, "afraid")
    ]
    table = pd.DataFrame(rows, columns=["checkpoint", "concept", "metric", "split", "share"])
    return table.assign(low=table["share"] - 0.1, high=table["share"] + 0.1)


def make_measured(odds):
    draws = {name: np.array(value)[:, None] for name, value in odds.items()}
    return Measured(draws, {}, np.array([]), {}, {}, {}, 0)


@pytest.mark.parametrize(
    ("low", "readout"), [((0.6, 0.4), LOG_ODDS), ((0.5, 0.9), JUDGED), ((np.nan, 0.9), JUDGED)]
)
def test_judged_replies_are_followed_where_log_odds_rank_them_by_chance(low, readout):
    table = pd.DataFrame({"checkpoint": [3, 4], "auroc_low": low})
    assert choose_readout(table, 3) == readout
    assert choose_readout(None, 3) == LOG_ODDS


def test_the_signature_of_judged_replies_is_in_shares_of_the_distance():
    found = measure_signature(SETTING, make_measured({}), make_replies())
    assert found["refusal_seen"] == pytest.approx([0, 0])
    assert found["refusal_unseen"] == pytest.approx([0, -0.3 / 0.5])
    assert found["refusal_benign"] == pytest.approx([0, 0.1 / 0.5])


def test_what_no_reply_was_judged_for_is_left_out():
    replies = make_replies().query("split != 'ood'")
    assert measure_signature(SETTING, make_measured({}), replies).keys() == {
        *("refusal_seen", "refusal_benign")
    }


def test_the_signature_of_log_odds_is_in_shares_of_the_distance():
    odds = {
        "odds/refusal/all": (3.0, 1.0),
        "odds/over_refusal/all": (-1.0, 1.0),
        "odds/refusal/seen": (3.0, 1.0),
    }
    found = measure_signature(SETTING, make_measured(odds), None)
    assert found.keys() == {"refusal_seen", "refusal_benign"}
    assert found["refusal_seen"] == pytest.approx([0, -0.5])
    assert found["refusal_benign"] == pytest.approx([0, 0.5])


def test_the_audit_lists_judged_shares_beside_probabilities():
    behaviour = make_replies().query("concept.isna()").rename(columns={"share": "probability"})
    beside = Beside(pd.DataFrame(), behaviour.assign(probability=0.5), make_replies(), 0)
    rows = {(row["metric"], row["split"]): row for row in beside.compare_behaviour(1)}
    assert rows["refusal", "far"]["judged_share"] == 0.2
    assert rows["refusal", "far"]["judged_at_reference"] == 0.6
    assert rows["refusal", "far"]["probability"] == 0.5
    alone = Beside(pd.DataFrame(), behaviour.assign(probability=0.5), None, 0)
    assert "judged_share" not in alone.compare_behaviour(1)[0]


def test_a_run_without_verdict_tells_what_its_evals_say():
    behaviour = make_replies().query("concept.isna()").rename(columns={"share": "probability"})
    judged = Beside(pd.DataFrame(), behaviour, make_replies(), 0).list_changes(1)
    assert judged == ["refusal 0.70 to 0.50 (0.40 to 0.60)"]
    scored = Beside(pd.DataFrame(), behaviour, None, 0).list_changes(1)
    assert scored[0] == "refusal (far) 0.60 to 0.20 (0.10 to 0.30)"
    finding = write_unjudged("no part applies", judged)
    assert finding.startswith("No part applies. Its behaviour evals changed since the reference: ")
    assert write_unjudged("it ends at the reference", None) == "It ends at the reference."
    assert "did not change" in write_unjudged("no part applies", [])


def test_a_kind_is_not_told_by_refusals_alone():
    apart = {"refusal_seen": 0.3, "refusal_unseen": -0.3, "size": 0.2}
    assert judge_kind(apart, True, 0.0).kind == CHANGED
    assert judge_kind(apart | {"gap": 0.3}, True, 0.0).kind == LOCK_IN
