"""The gates: may a challenger become the champion? A pure function of two evaluations, every check with its
numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from churn_platform.evaluation.splits import Tier

Outcome = Literal["passed", "failed", "inconclusive", "skipped"]


@dataclass(frozen=True)
class Margins:
    """How much a tier of evidence allows.

    Attributes:
        positives: fewest departures among the judged rows.
        not_worse: AUC that a challenger may fall short of a rival by and still count as not worse.
        slope: range of the calibration slope.
        ratio: range of departures over expected departures.
    """

    positives: int
    not_worse: float
    slope: tuple[float, float]
    ratio: tuple[float, float]


MARGINS: dict[Tier, Margins] = {
    "full": Margins(positives=30, not_worse=0.01, slope=(0.75, 1.33), ratio=(0.75, 1.33)),
    "small": Margins(positives=15, not_worse=0.03, slope=(0.5, 2.0), ratio=(0.5, 2.0)),
}
# Honest churn models reach .65 to .95; beyond this, a column knows the answer.
SUSPICIOUS_AUC = 0.99


@dataclass(frozen=True)
class Check:
    """One check: the value, what it was held against, the outcome and the sentence that says so."""

    name: str
    value: float | None
    threshold: float | tuple[float, float] | None
    outcome: Outcome
    reason: str


@dataclass(frozen=True)
class GateDecision:
    """Whether the challenger may be promoted, and why.

    Attributes:
        outcome: "promote"; "reject" where a check failed; "keep" where one is inconclusive and a champion is
            there.
        checks: every check, in order.
    """

    outcome: Literal["promote", "reject", "keep"]
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Whether the challenger may become the champion."""
        return self.outcome == "promote"

    @property
    def reasons(self) -> tuple[str, ...]:
        """One sentence a check, those that decided first."""
        weight = {"failed": 0, "inconclusive": 1, "passed": 2, "skipped": 3}
        ordered = sorted(self.checks, key=lambda check: weight[check.outcome])
        return tuple(f"{check.name}: {check.reason}" for check in ordered)

    def to_json(self) -> dict[str, Any]:
        """As JSON, ready for a store or an audit chain."""
        return {
            "schema": "gate_decision/1",
            "outcome": self.outcome,
            "passed": self.passed,
            "checks": [asdict(check) for check in self.checks],
            "reasons": list(self.reasons),
        }


def decide(
    candidate: Mapping[str, Any], champion: Mapping[str, Any] | None = None, tier: Tier = "full"
) -> GateDecision:
    """Decide by the candidate's evaluation (``evaluation.report.evaluate``).

    Where there is a champion, an inconclusive check keeps it. Where there is none, there is nothing to keep,
    and only a failed check stops the first one.

    Args:
        candidate: its evaluation; ``against.champion`` in it compares with the champion on the same rows.
        champion: the champion's own evaluation, or None where there is no champion. Used for the comparison
            only where the candidate's has none, with both intervals, which is weaker.
        tier: of the candidate's evidence.
    """
    if tier == "rules":
        check = Check("evidence", None, None, "failed", "below 50 churners there are no probabilities to serve")
        return GateDecision("reject", (check,))
    margins = MARGINS[tier]
    checks = (
        _positives(candidate, margins),
        _not_suspicious(candidate),
        _beats_recency(candidate),
        _not_worse_than_logistic(candidate, margins, tier),
        _within(
            candidate,
            "calibration_slope",
            margins.slope,
            "outcomes follow the log-odds with slope",
            "calibration slope",
        ),
        _within(
            candidate,
            "observed_over_expected",
            margins.ratio,
            "departures over expected departures are",
            "calibration in the large",
        ),
        _not_worse_than_champion(candidate, champion, margins),
    )
    outcomes = {check.outcome for check in checks}
    if "failed" in outcomes:
        return GateDecision("reject", checks)
    if "inconclusive" in outcomes and champion is not None:
        return GateDecision("keep", checks)
    return GateDecision("promote", checks)


def _positives(candidate: Mapping[str, Any], margins: Margins) -> Check:
    found = int(candidate["positives"])
    enough = found >= margins.positives
    return Check(
        "enough departures",
        float(found),
        float(margins.positives),
        "passed" if enough else "inconclusive",
        f"{found} departures among the judged rows, {margins.positives} are needed"
        + ("" if enough else f": {_months_more(candidate, margins.positives)}"),
    )


def _months_more(candidate: Mapping[str, Any], needed: int) -> str:
    months = len(candidate.get("by_month", ())) or 1
    a_month = int(candidate["positives"]) / months
    if a_month <= 0:
        return "none came in these months, so more history or customers must decide"
    more = -(-(needed - int(candidate["positives"])) // a_month)
    return f"about {more:.0f} more months at this rate would decide"


def _not_suspicious(candidate: Mapping[str, Any]) -> Check:
    auc = float(candidate["auc"])
    fine = auc < SUSPICIOUS_AUC
    return Check(
        "no suspicious AUC",
        auc,
        SUSPICIOUS_AUC,
        "passed" if fine else "failed",
        f"AUC {auc:.3f}" + ("" if fine else ": look for a column that is written after the customer has left"),
    )


def _beats_recency(candidate: Mapping[str, Any]) -> Check:
    name = "beats the recency rule"
    against = candidate.get("against", {}).get("recency_rule")
    if against is None:
        return Check(name, None, 0.0, "skipped", "there is no recency rule for this data")
    difference, low, high = (float(against[key]) for key in ("difference", "low", "high"))
    outcome: Outcome = "passed" if low > 0.0 else "failed" if high <= 0.0 else "inconclusive"
    return Check(name, difference, 0.0, outcome, f"AUC {_signed(difference, low, high)} against the recency rule")


def _not_worse_than_logistic(candidate: Mapping[str, Any], margins: Margins, tier: Tier) -> Check:
    name = "not worse than logistic regression"
    against = candidate.get("against", {}).get("logistic_regression")
    if tier == "small":
        return Check(name, None, None, "skipped", "with so few churners the model is a logistic regression")
    if against is None:
        return Check(name, None, -margins.not_worse, "inconclusive", "no logistic regression was evaluated")
    return _not_worse(name, against, margins.not_worse, "logistic regression")


def _not_worse_than_champion(
    candidate: Mapping[str, Any], champion: Mapping[str, Any] | None, margins: Margins
) -> Check:
    name = "not worse than the champion"
    if champion is None:
        return Check(name, None, None, "skipped", "there is no other champion to compare with")
    against = candidate.get("against", {}).get("champion")
    if against is None:
        difference = float(candidate["auc"]) - float(champion["auc"])
        below = _distance(candidate["auc"], candidate["auc_low"], champion["auc_high"], champion["auc"])
        above = _distance(candidate["auc_high"], candidate["auc"], champion["auc"], champion["auc_low"])
        against = {"difference": difference, "low": difference - below, "high": difference + above}
    return _not_worse(name, against, margins.not_worse, "the champion")


def _distance(a: float, b: float, c: float, d: float) -> float:
    """Half-widths of two independent intervals, added in quadrature."""
    return float(((float(a) - float(b)) ** 2 + (float(c) - float(d)) ** 2) ** 0.5)


def _not_worse(name: str, against: Mapping[str, Any], margin: float, rival: str) -> Check:
    """Non-inferiority: passed where the whole interval lies above -margin, failed where all of it lies
    below."""
    difference, low, high = (float(against[key]) for key in ("difference", "low", "high"))
    outcome: Outcome = "passed" if low >= -margin else "failed" if high < -margin else "inconclusive"
    return Check(
        name,
        difference,
        -margin,
        outcome,
        f"AUC {_signed(difference, low, high)} against {rival}, {margin:g} allowed",
    )


def _within(candidate: Mapping[str, Any], field: str, allowed: tuple[float, float], text: str, name: str) -> Check:
    """Passed inside the range; failed where the whole interval lies outside; else inconclusive."""
    value, low, high = (candidate.get(key) for key in (field, f"{field}_low", f"{field}_high"))
    if value is None:
        return Check(name, None, allowed, "failed", f"{field} could not be computed: the predictions do not vary")
    inside = allowed[0] <= value <= allowed[1]
    outside = low is not None and high is not None and (high < allowed[0] or low > allowed[1])
    outcome: Outcome = "passed" if inside else "failed" if outside else "inconclusive"
    span = "" if low is None or high is None else f" ({low:.2f} to {high:.2f})"
    return Check(
        name,
        float(value),
        allowed,
        outcome,
        f"{text} {value:.2f}{span}, {allowed[0]:g} to {allowed[1]:g} allowed",
    )


def _signed(difference: float, low: float, high: float) -> str:
    return f"{difference:+.3f} ({low:+.3f} to {high:+.3f})"
