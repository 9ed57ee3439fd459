"""What can be learned from the real data sets, judged as the literature judges it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.examples.conftest import Learned, real_data


def test_online_retail(online_retail: Path, learn: Callable[[Path, str], Learned]) -> None:
    found = learn(online_retail, "online_retail.yaml")
    september = found.months["2011-09-01"]
    assert (september.rows, september.positives) == (1_923, 613)  # 31.9 % of those active in the 90 days before
    assert found.months["2011-10-01"].mature is False
    evaluation = found.evaluation
    assert evaluation["protocol"] == "temporal"
    assert evaluation["auc"] >= 0.74  # .754 when written, standard error .009
    assert evaluation["floors"]["recency_rule"] == pytest.approx(0.600, abs=0.002)
    assert found.challenger.split["train"] == [f"2011-0{month}-01" for month in range(1, 6)]
    assert "history is short: 2 months" in evaluation["notes"][0]
    assert found.gate.passed
    assert found.admission.quarantined == {"orders": 135_120}


def test_cdnow(cdnow: Path, learn: Callable[[Path, str], Learned]) -> None:
    found = learn(cdnow, "cdnow.yaml")
    january = found.months["1998-01-01"]
    assert (january.rows, january.positives) == (23_570, 18_210)  # 77.3 % never buy within half a year
    evaluation = found.evaluation
    assert evaluation["protocol"] == "temporal"
    assert evaluation["tuned_on"] == "grouped"
    assert evaluation["auc"] >= 0.80  # .806 when written, standard error .004
    assert evaluation["floors"]["recency_rule"] == pytest.approx(0.796, abs=0.002)
    assert evaluation["floors"]["logistic_regression"] >= 0.80  # .805; the least loss on folds by customer gives .760
    assert found.challenger.split["train"] == [f"1997-0{month}-01" for month in range(4, 8)]
    assert found.challenger.split["holdout"] == ["1998-01-01"]
    assert "history is short: 1 month (1998-01)" in evaluation["notes"][0]
    assert found.gate.passed


def test_telco(learn: Callable[[Path, str], Learned]) -> None:
    found = learn(real_data("telco_ibm", "Telco-Customer-Churn.csv"), "telco.yaml")
    assert found.evaluation["protocol"] == "out_of_fold"
    assert found.evaluation["auc"] >= 0.84
    assert found.evaluation["floors"]["logistic_regression"] >= 0.844  # .845
    assert found.evaluation["floors"]["recency_rule"] is None
