from __future__ import annotations

import json
from typing import Any

import pytest

from churn_platform.champion.gates import decide

GOOD: dict[str, Any] = {
    "auc": 0.86,
    "auc_low": 0.84,
    "auc_high": 0.88,
    "positives": 300,
    "calibration_slope": 1.02,
    "calibration_slope_low": 0.9,
    "calibration_slope_high": 1.14,
    "observed_over_expected": 1.05,
    "observed_over_expected_low": 0.95,
    "observed_over_expected_high": 1.16,
    "against": {
        "logistic_regression": {"difference": 0.01, "low": -0.002, "high": 0.022},
        "recency_rule": {"difference": 0.2, "low": 0.17, "high": 0.23},
    },
    "by_month": [{}, {}, {}],
}
CHAMPION = {"auc": 0.855, "auc_low": 0.835, "auc_high": 0.875}


def against(name: str, difference: float, low: float, high: float) -> dict[str, Any]:
    return {"against": {**GOOD["against"], name: {"difference": difference, "low": low, "high": high}}}


def span(field: str, value: float, low: float, high: float) -> dict[str, Any]:
    return {field: value, f"{field}_low": low, f"{field}_high": high}


CASES = [
    # change of the candidate, tier, check, its outcome, decision without and with a champion
    ({}, "full", None, None, "promote", "promote"),
    ({"positives": 20}, "full", "enough departures", "inconclusive", "promote", "keep"),
    ({"positives": 20}, "small", "enough departures", "passed", "promote", "promote"),
    ({"auc": 0.995}, "full", "no suspicious AUC", "failed", "reject", "reject"),
    (
        against("recency_rule", -0.02, -0.04, 0.0),
        "full",
        "beats the recency rule",
        "failed",
        "reject",
        "reject",
    ),
    (
        against("recency_rule", 0.01, -0.01, 0.03),
        "full",
        "beats the recency rule",
        "inconclusive",
        "promote",
        "keep",
    ),
    (
        {"against": {"logistic_regression": GOOD["against"]["logistic_regression"]}},
        "full",
        "beats the recency rule",
        "skipped",
        "promote",
        "promote",
    ),
    (
        against("logistic_regression", -0.005, -0.009, -0.001),
        "full",
        "not worse than logistic regression",
        "passed",
        "promote",
        "promote",
    ),
    (
        against("logistic_regression", -0.03, -0.05, -0.011),
        "full",
        "not worse than logistic regression",
        "failed",
        "reject",
        "reject",
    ),
    (
        against("logistic_regression", -0.005, -0.02, 0.01),
        "full",
        "not worse than logistic regression",
        "inconclusive",
        "promote",
        "keep",
    ),
    (
        against("logistic_regression", -0.03, -0.05, -0.011),
        "small",
        "not worse than logistic regression",
        "skipped",
        "promote",
        "promote",
    ),
    (
        span("calibration_slope", 0.6, 0.5, 0.7),
        "full",
        "calibration slope",
        "failed",
        "reject",
        "reject",
    ),
    (
        span("calibration_slope", 0.6, 0.5, 0.8),
        "full",
        "calibration slope",
        "inconclusive",
        "promote",
        "keep",
    ),
    (span("calibration_slope", 0.6, 0.5, 0.7), "small", "calibration slope", "passed", "promote", "promote"),
    (
        span("observed_over_expected", 1.5, 1.4, 1.6),
        "full",
        "calibration in the large",
        "failed",
        "reject",
        "reject",
    ),
    (
        {"observed_over_expected": None},
        "full",
        "calibration in the large",
        "failed",
        "reject",
        "reject",
    ),
]


@pytest.mark.parametrize(("changes", "tier", "name", "outcome", "first", "replacing"), CASES)
def test_table(changes: dict[str, Any], tier: Any, name: str | None, outcome: str, first: str, replacing: str) -> None:
    candidate = {**GOOD, **changes}
    decision = decide(candidate, None, tier)
    assert decision.outcome == first
    assert decision.passed == (first == "promote")
    if name is not None:
        check = next(check for check in decision.checks if check.name == name)
        assert check.outcome == outcome
        assert check.reason
        if outcome in ("failed", "inconclusive"):
            assert decision.reasons[0].startswith(name)
    same = {"difference": 0.005, "low": -0.005, "high": 0.015}
    candidate["against"] = {**candidate["against"], "champion": same}
    assert decide(candidate, CHAMPION, tier).outcome == replacing
    assert json.loads(json.dumps(decision.to_json(), allow_nan=False))["outcome"] == first


@pytest.mark.parametrize(
    ("difference", "low", "high", "outcome"),
    [
        (0.01, -0.009, 0.03, "promote"),
        (0.0, -0.02, 0.02, "keep"),
        (-0.03, -0.05, -0.011, "reject"),
    ],
)
def test_against_the_champion_on_the_same_rows(difference: float, low: float, high: float, outcome: str) -> None:
    candidate = {**GOOD, **against("champion", difference, low, high)}
    assert decide(candidate, CHAMPION).outcome == outcome


def test_without_common_rows_two_intervals_are_compared() -> None:
    """Independent intervals are wide: only a clear difference decides."""
    assert decide(GOOD, CHAMPION).outcome == "keep"
    assert decide(GOOD, {"auc": 0.75, "auc_low": 0.73, "auc_high": 0.77}).outcome == "promote"
    assert decide(GOOD, {"auc": 0.95, "auc_low": 0.94, "auc_high": 0.96}).outcome == "reject"


def test_inconclusive_says_how_many_months_would_decide() -> None:
    decision = decide({**GOOD, "positives": 12}, CHAMPION)
    assert "about 5 more months" in " ".join(decision.reasons)


def test_too_little_evidence_is_never_served() -> None:
    assert decide(GOOD, None, "rules").outcome == "reject"


def test_decides_by_its_arguments_alone() -> None:
    assert decide(GOOD, CHAMPION) == decide(dict(GOOD), dict(CHAMPION))
