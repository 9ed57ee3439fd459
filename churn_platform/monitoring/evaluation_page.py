"""An evaluation as Markdown with its calibration curve, for the Dagster UI."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from churn_platform.champion.gates import GateDecision
from churn_platform.evaluation.metrics import Array, Floats
from churn_platform.evaluation.predictions import Predictions
from churn_platform.monitoring.markdown import calibration_chart, lift_chart, percent, roc_chart, table

# Points of a drawn curve: more make the page long, and no eye sees them.
POINTS = 80


def markdown(found: Mapping[str, Any], predictions: Predictions | None = None) -> str:
    """The page of one evaluation (:func:`churn_platform.evaluation.report.evaluate`).

    Args:
        predictions: that were evaluated; with them the page has the ROC and lift curves too.
    """
    floors = found["floors"]
    lines = [
        f"**AUC {found['auc']:.3f}** (95 %: {found['auc_low']:.3f} to {found['auc_high']:.3f}) on {found['rows']:,} "
        f"held-out rows with {found['positives']:,} leavers; protocol {found['protocol']}.",
        "",
        "#### Beside the floors",
        "",
        table(
            ["", "AUC"],
            [
                ["challenger", found["auc"]],
                ["logistic regression", floors["logistic_regression"]],
                ["recency rule", floors["recency_rule"]],
                ["state oracle", found.get("oracle_auc")],
            ],
        ),
        "",
        "#### Figures",
        "",
        table(
            ["measure", "value"],
            [
                ["PR AUC", found["pr_auc"]],
                ["log loss", found["log_loss"]],
                ["Brier", found["brier"]],
                ["ECE", found["ece"]],
                ["calibration slope", found["calibration_slope"]],
                ["lift in the first tenth", found["lift_at_10"]],
                ["precision at capacity", found["precision_at_capacity"]],
            ],
        ),
    ]
    if found.get("notes"):
        lines += ["", *(f"- {note}" for note in found["notes"])]
    bins = found.get("calibration") or []
    charts = []
    if bins:
        charts.append(calibration_chart([b["predicted"] for b in bins], [b["observed"] for b in bins]))
    if predictions is not None and 0 < predictions.label.sum() < len(predictions.label):
        charts += _curves(predictions)
    if charts:
        lines += ["", "#### Curves", "", "\n\n".join(charts)]
    months = found.get("by_month") or []
    if months:
        lines += [
            "",
            "#### By month",
            "",
            table(
                ["month", "rows", "leavers", "AUC", "observed", "predicted"],
                [
                    [
                        m["observation"],
                        m["rows"],
                        m["positives"],
                        m["auc"],
                        percent(m["observed"], 2),
                        percent(m["predicted"], 2),
                    ]
                    for m in months
                ],
            ),
        ]
    return "\n".join(lines) + "\n"


def _curves(predictions: Predictions) -> list[str]:
    """The ROC curve beside those of the floors, and the lift curve."""
    curves = [
        (name.replace("_", " "), *roc_points(predictions.label, score)) for name, score in predictions.floors.items()
    ]
    curves.append(("model", *roc_points(predictions.label, predictions.margin)))  # on top of the floors
    return [roc_chart(curves), lift_chart(*lift_points(predictions.label, predictions.margin))]


def roc_points(label: Array, score: Array, points: int = POINTS) -> tuple[list[float], list[float]]:
    """Shares of stayers and of leavers with a score above each of at most ``points`` thresholds, from none to all.

    Equal scores are taken together: the curve goes through no point that no threshold can reach.
    """
    stayers, leavers, _ = _cumulated(label, score)
    kept = _thinned(len(stayers), points)
    return (stayers[kept] / stayers[-1]).tolist(), (leavers[kept] / leavers[-1]).tolist()


def lift_points(
    label: Array, score: Array, points: int = POINTS, *, least: float = 0.02
) -> tuple[list[float], list[float]]:
    """Share of customers contacted, riskiest first, and how many times the base rate have left among them; equal
    scores are taken together. Below the share ``least`` it is the luck of a few customers."""
    _, leavers, taken = _cumulated(label, score)
    first = int(np.argmax(taken[1:] >= least * taken[-1])) + 1
    kept = _thinned(len(taken) - first, points) + first
    share = taken[kept] / taken[-1]
    return share.tolist(), (leavers[kept] / leavers[-1] / share).tolist()


def _cumulated(label: Array, score: Array) -> tuple[Floats, Floats, Floats]:
    """Stayers, leavers and rows with a score of at least each distinct one, highest first, after a leading zero."""
    order = np.argsort(-np.asarray(score, np.float64), kind="stable")
    ordered, left = np.asarray(score, np.float64)[order], np.asarray(label)[order] == 1
    ends = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))
    leavers = np.concatenate([[0.0], np.cumsum(left)[ends]])
    taken = np.concatenate([[0.0], ends + 1.0])
    return taken - leavers, leavers, taken


def _thinned(count: int, points: int) -> Array:
    """At most so many indices of ``count``, evenly spread, the first and the last among them."""
    return np.unique(np.linspace(0, count - 1, min(points, count)).round().astype(np.int64))


def gate_page(decision: GateDecision) -> str:
    """The page of one decision: every check with its outcome and reason."""
    rows = [[check.outcome, check.name, check.reason] for check in decision.checks]
    return f"**{decision.outcome}**\n\n{table(['outcome', 'check', 'reason'], rows)}\n"
