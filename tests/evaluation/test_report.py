from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from churn_platform.evaluation.floors import recency_feature, recency_score
from churn_platform.evaluation.metrics import auc, sigmoid
from churn_platform.evaluation.predictions import Predictions
from churn_platform.evaluation.profit import capacity_list, expected_loss, loss_captured
from churn_platform.evaluation.report import evaluate, oracle_auc
from churn_platform.features.catalogue import Feature
from churn_platform.records.store import ContentStore

DOCUMENTED = (
    *("protocol", "rows", "positives", "auc", "auc_low", "auc_high", "pr_auc", "log_loss", "brier", "ece"),
    *("calibration_slope", "lift_at_10", "precision_at_capacity", "floors"),
)


@pytest.fixture(scope="module")
def predictions() -> Predictions:
    rng = np.random.default_rng(0)
    n = 2000
    margin = rng.normal(-2.5, 1.2, n)
    return Predictions(
        row=np.arange(n),
        observation=np.where(np.arange(n) < n // 2, "2024-01-01", "2024-02-01").astype(object),
        group=np.arange(n) % 1200,
        label=(rng.random(n) < sigmoid(margin)).astype(np.int8),
        mrr=np.where(rng.random(n) < 0.1, np.nan, np.exp(rng.normal(5, 1, n))),
        margin=margin,
        floors={"logistic_regression": margin + rng.normal(size=n)},
    )


def test_every_documented_field_as_json(predictions: Predictions) -> None:
    found = evaluate(predictions, protocol="temporal", tier="full")
    assert set(DOCUMENTED) <= set(found)
    assert set(found["floors"]) == {"logistic_regression", "recency_rule"}
    assert found["floors"]["recency_rule"] is None
    assert found == json.loads(json.dumps(found, allow_nan=False))
    assert found["auc_low"] < found["auc"] < found["auc_high"]
    assert found["calibration_slope"] == pytest.approx(1.0, abs=0.15)
    assert found["observed_over_expected_low"] < 1 < found["observed_over_expected_high"]
    assert [month["rows"] for month in found["by_month"]] == [1000, 1000]
    assert found["against"]["logistic_regression"]["low"] > 0
    assert sum(b["rows"] for b in found["calibration"]) == found["rows"] == 2000
    assert found["customers"] == 1200


def test_the_champion_is_compared_on_the_same_rows(predictions: Predictions) -> None:
    found = evaluate(predictions, protocol="temporal", tier="full", champion_margin=predictions.margin)
    assert found["against"]["champion"] == {"difference": 0.0, "low": 0.0, "high": 0.0}
    assert found["champion_auc"] == found["auc"]


def test_a_month_without_churners_has_no_auc(predictions: Predictions) -> None:
    label = np.where(predictions.observation == "2024-02-01", 0, predictions.label).astype(np.int8)
    found = evaluate(Predictions(**{**vars(predictions), "label": label}), protocol="temporal", tier="full")
    assert found["by_month"][1]["auc"] is None


def test_predictions_are_kept_as_they_are(predictions: Predictions, tmp_path: Path) -> None:
    store = ContentStore(tmp_path)
    digest = predictions.write(store)
    again = Predictions.read(store, digest)
    for name, values in vars(predictions).items():
        if name != "floors":
            np.testing.assert_array_equal(getattr(again, name), values)
    np.testing.assert_array_equal(again.floors["logistic_regression"], predictions.floors["logistic_regression"])
    assert again.write(store) == digest


def test_the_oracle_is_taken_from_the_same_rows_or_not_at_all(predictions: Predictions) -> None:
    rows: dict[str, Any] = {
        "customer_id": [f"c{i}" for i in predictions.row],
        "observation": predictions.observation,
        "label": predictions.label,
    }
    truth = {
        "customer_id": rows["customer_id"],
        "observation": list(rows["observation"]),
        "probability": predictions.probability,
    }
    order = np.random.default_rng(1).permutation(2000)
    shuffled = {
        "customer_id": [truth["customer_id"][i] for i in order],
        "observation": [truth["observation"][i] for i in order],
        "probability": truth["probability"][order],
    }
    assert oracle_auc(rows, pa.table(shuffled)) == pytest.approx(auc(predictions.label, predictions.probability))
    assert oracle_auc(rows, {name: values[:1900] for name, values in truth.items()}) is None


def test_expected_loss_and_the_list_that_follows_from_it() -> None:
    p = np.array([0.1, 0.5, 0.2, 0.9])
    mrr = np.array([1000.0, 100.0, np.nan, -5.0])
    loss = expected_loss(p, mrr, horizon_months=12)
    np.testing.assert_allclose(loss, [1200.0, 600.0, 0.0, 0.0])
    assert capacity_list(loss, p, 0.5).tolist() == [0, 1]
    assert capacity_list(loss, p, 1.0).tolist() == [0, 1, 3, 2]  # equal losses by probability
    assert loss_captured(np.array([0, 1, 1, 0]), loss, p, mrr, 0.5) == 1.0
    assert loss_captured(np.array([1, 1, 0, 0]), loss, p, mrr, 0.25) == pytest.approx(1000 / 1100)
    assert loss_captured(np.array([0, 0, 1, 0]), loss, p, mrr, 0.5) is None


def test_the_recency_rule_is_found_by_its_feature_or_says_why_not() -> None:
    def number(name: str) -> Feature:
        return Feature(name, "usage", "number", name, "days", "", "", 0)

    assert recency_feature([number("tenure"), number("days_since_last_activity")]) == (
        "days_since_last_activity",
        "",
    )
    found, why = recency_feature([number("tenure")])
    assert found is None
    assert "last active" in why
    np.testing.assert_array_equal(recency_score({"d": [3, None, 40.0]}, "d"), [3, 41, 40])
