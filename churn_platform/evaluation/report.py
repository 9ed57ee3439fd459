"""The evaluation: everything that is said about a model's held-out predictions, as one JSON object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from churn_platform.errors import NotEnoughDataError
from churn_platform.evaluation import metrics
from churn_platform.evaluation.intervals import auc_difference, auc_interval
from churn_platform.evaluation.metrics import Array, Floats
from churn_platform.evaluation.predictions import Predictions
from churn_platform.evaluation.profit import HORIZON_MONTHS, expected_loss, loss_captured
from churn_platform.evaluation.splits import Protocol, Tier

CAPACITY = 0.05
FLOORS = ("logistic_regression", "recency_rule")
CHAMPION = "champion"
_Z = 1.959963984540054


def evaluate(
    predictions: Predictions,
    *,
    protocol: Protocol,
    tier: Tier,
    tuned_on: str | None = None,
    capacity: float = CAPACITY,
    horizon_months: float = HORIZON_MONTHS,
    champion_margin: Array | None = None,
    notes: Sequence[str] = (),
) -> dict[str, Any]:
    """Judge predictions on rows that the model has not learned from.

    Args:
        protocol: how they were made ("temporal", "grouped", "out_of_fold"); ``tuned_on`` the folds of the
            search.
        capacity: share of customers that can be contacted.
        horizon_months: months of revenue that a departure costs.
        champion_margin: log-odds of the present champion on the same rows (n), to compare with.

    Returns:
        JSON values. Money is in the contract's currency, intervals are 95 %, and ``against`` gives this
        model's AUC minus that of each floor (and of the champion) with its paired interval. A floor that does
        not exist is null.

    Raises:
        NotEnoughDataError: where the rows hold only one class.
    """
    y, p, groups = predictions.label, predictions.probability, predictions.group
    area = auc_interval(y, p, groups)
    line = metrics.recalibration(y, predictions.margin)
    loss = expected_loss(p, predictions.mrr, horizon_months)
    rivals = dict(predictions.floors)
    if champion_margin is not None:
        rivals[CHAMPION] = np.asarray(champion_margin, dtype=np.float64)
    return {
        "protocol": protocol,
        "tuned_on": tuned_on,
        "tier": tier,
        "rows": len(y),
        "positives": int(y.sum()),
        "customers": len(np.unique(groups)),
        "auc": area.value,
        "auc_low": area.low,
        "auc_high": area.high,
        "pr_auc": metrics.pr_auc(y, p),
        "log_loss": metrics.log_loss(y, p),
        "brier": metrics.brier(y, p),
        "ece": metrics.ece(y, p),
        "calibration_slope": line.slope,
        "calibration_slope_low": _finite(line.slope - _Z * line.slope_se),
        "calibration_slope_high": _finite(line.slope + _Z * line.slope_se),
        "calibration_intercept": line.intercept,
        **_observed_over_expected(y, p),
        "base_rate": float(np.mean(y)),
        "mean_prediction": float(np.mean(p)),
        "lift_at_10": metrics.lift_at(y, p, 0.1),
        "capacity": capacity,
        "precision_at_capacity": metrics.precision_at_capacity(y, p, capacity),
        "loss_captured_at_capacity": loss_captured(y, loss, p, predictions.mrr, capacity),
        "expected_loss": float(loss.sum()),
        "floors": {
            name: metrics.auc(y, predictions.floors[name]) if name in predictions.floors else None for name in FLOORS
        },
        "champion_auc": metrics.auc(y, rivals[CHAMPION]) if CHAMPION in rivals else None,
        "against": {name: _against(y, predictions.margin, score, groups) for name, score in rivals.items()},
        "calibration": [asdict(found) for found in metrics.calibration_bins(y, p)],
        "by_month": _by_month(predictions),
        "notes": list(notes),
    }


def oracle_auc(rows: Mapping[str, Sequence[Any] | Array], oracle: Any) -> float | None:
    """AUC of a simulation's oracle on the evaluated rows: the most that any model could have reached.

    Args:
        rows: columns "customer_id", "observation" and "label" of the evaluated rows.
        oracle: the ground truth, an Arrow table or pandas frame or mapping with the columns "customer_id",
            "observation" (keys as in ``rows``) and "probability".

    Returns:
        None where the oracle knows less than 99 % of the rows: it would be an AUC of other customers.
    """
    known = {
        (str(customer), str(observation)): float(probability)
        for customer, observation, probability in zip(
            *(_values(oracle[name]) for name in ("customer_id", "observation", "probability")), strict=True
        )
    }
    found = [
        known.get((str(customer), str(observation)))
        for customer, observation in zip(rows["customer_id"], rows["observation"], strict=True)
    ]
    there = np.array([probability is not None for probability in found], dtype=bool)
    if not len(there) or float(there.mean()) < 0.99:
        return None
    score = np.array([probability for probability in found if probability is not None], dtype=np.float64)
    return metrics.auc(np.asarray(rows["label"])[there], score)


def _values(column: Any) -> Any:
    return column.to_pylist() if hasattr(column, "to_pylist") else column


def _against(y: Array, margin: Floats, rival: Floats, groups: Array) -> dict[str, float]:
    difference = auc_difference(y, margin, rival, groups)
    return {"difference": difference.value, "low": difference.low, "high": difference.high}


def _observed_over_expected(y: Array, p: Floats) -> dict[str, float | None]:
    """Departures over the sum of probabilities, with a Poisson interval of the departures on the log
    scale."""
    observed, expected = float(y.sum()), float(p.sum())
    ratio, spread = observed / expected, float(np.exp(_Z / np.sqrt(observed)))
    return {
        "observed_over_expected": _finite(ratio),
        "observed_over_expected_low": _finite(ratio / spread),
        "observed_over_expected_high": _finite(ratio * spread),
    }


def _by_month(predictions: Predictions) -> list[dict[str, Any]]:
    found = []
    for month in sorted(set(predictions.observation.tolist())):
        inside = predictions.observation == month
        y, p = predictions.label[inside], predictions.probability[inside]
        try:
            area: float | None = metrics.auc(y, p)
        except NotEnoughDataError:
            area = None
        found.append(
            {
                "observation": str(month),
                "rows": len(y),
                "positives": int(y.sum()),
                "auc": area,
                "observed": float(np.mean(y)),
                "predicted": float(np.mean(p)),
            }
        )
    return found


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
