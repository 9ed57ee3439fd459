"""An evaluation as Markdown with its calibration curve, for the Dagster UI."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from churn_platform.champion.gates import GateDecision
from churn_platform.monitoring.markdown import calibration_chart, percent, table


def markdown(found: Mapping[str, Any]) -> str:
    """The page of one evaluation (:func:`churn_platform.evaluation.report.evaluate`)."""
    floors = found["floors"]
    lines = [
        f"**AUC {found['auc']:.3f}** (95 %: {found['auc_low']:.3f} to {found['auc_high']:.3f}) on {found['rows']:,} "
        f"held-out rows with {found['positives']:,} leavers; protocol {found['protocol']}.",
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
    if bins:
        lines += ["", calibration_chart([b["predicted"] for b in bins], [b["observed"] for b in bins])]
    months = found.get("by_month") or []
    if months:
        lines += [
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


def gate_page(decision: GateDecision) -> str:
    """The page of one decision: every check with its outcome and reason."""
    rows = [[check.outcome, check.name, check.reason] for check in decision.checks]
    return f"**{decision.outcome}**\n\n{table(['outcome', 'check', 'reason'], rows)}\n"
