"""What is wrong, before anything is done about it: a pure function from signals to a diagnosis with its response.

- **data fault**: a feed has (almost) dried up, or a column cannot be trusted that the champion reads. Nothing may be
  learned from it; predictions are marked.
- **concept change**: on months with certain labels the model ranks worse than it did when it was judged. Learn again.
- **calibration lost**: the model ranks as before, but more (or fewer) customers leave than it says. Recalibrate: a
  price rise, for one, leaves AUC intact. Departures known so far count as soon as their window has passed: what is
  recorded late can only add to them, so "more than expected" needs no waiting. "Fewer" waits until no more can be
  recorded, and for a second month in a row: it costs some needless calls and no customer, and quiet weeks that look
  like leaving (holidays) make one such month each year, with nothing to set right.
- **covariate shift**: the customers are others than those learned from, and the model is right about them. Recorded.

The first that holds, in this order, is the diagnosis: a fault of the data explains all the others.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

Kind = Literal["data_fault", "concept_change", "calibration_lost", "covariate_shift", "healthy"]
Response = Literal["mark", "retrain", "recalibrate", "none"]

SCHEMA = "diagnosis/1"
RESPONSES: Mapping[Kind, Response] = {
    "data_fault": "mark",
    "concept_change": "retrain",
    "calibration_lost": "recalibrate",
    "covariate_shift": "none",
    "healthy": "none",
}
FEED_SHARE = 0.3
"""A feed that brings less than this share of what it usually brings in a month has dried up."""
FEED_ROWS = 50.0
"""Feeds that usually bring fewer rows than this say nothing by bringing none."""
RATIO = (0.8, 1.25)
"""Departures over expected departures that still count as calibrated. Beyond it, chance must be ruled out as well."""
AUC_LOSS = 0.03
"""How much lower than when it was judged the AUC may be."""
Z = 2.33
"""One-sided 99 %: a month is looked at once, and a wrong alarm costs a training."""


@dataclass(frozen=True)
class Feed:
    """Rows of one table that became known in a month, and the median of the months before."""

    table: str
    rows: int
    usual: float

    @property
    def dried_up(self) -> bool:
        return self.usual >= FEED_ROWS and self.rows < FEED_SHARE * self.usual


@dataclass(frozen=True)
class Untrusted:
    """A column that breaks its rules beyond the tolerance, read by features of the champion that are blank therefore.

    Attributes:
        why: what is wrong with it, for people.
        features: their names.
    """

    table: str
    column: str
    why: str
    features: tuple[str, ...]


@dataclass(frozen=True)
class Outcome:
    """Departures in the window of an earlier month, against what the champion expected.

    Attributes:
        month: the month whose customers were scored.
        expected: sum of probabilities over the part of the window that has passed.
        observed: departures known so far.
        mature: whether no more can be recorded.
    """

    month: str
    expected: float
    observed: int
    mature: bool

    @property
    def ratio(self) -> float:
        return self.observed / self.expected if self.expected > 0 else math.nan

    @property
    def too_many(self) -> bool:
        """More than chance and the bounds allow; also where more may still become known."""
        return self.ratio > RATIO[1] and self.interval[0] > 1.0

    @property
    def too_few(self) -> bool:
        """Fewer than chance and the bounds allow, and no more can be recorded."""
        return self.mature and self.ratio < RATIO[0] and self.interval[1] < 1.0

    @property
    def interval(self) -> tuple[float, float]:
        """99 % bounds of the ratio, each one-sided; the observed count is taken as Poisson (its square root is about
        normal with deviation 1/2)."""
        if self.expected <= 0:
            return 0.0, math.inf
        root = math.sqrt(self.observed)
        return max(root - Z / 2, 0.0) ** 2 / self.expected, (math.sqrt(self.observed + 1) + Z / 2) ** 2 / self.expected


@dataclass(frozen=True)
class Ranking:
    """AUC on a month with certain labels that the champion has not learned from, against its evaluation.

    Attributes:
        deviation: standard error of ``auc`` (Hanley & McNeil 1982).
    """

    month: str
    auc: float
    deviation: float
    judged: float


@dataclass(frozen=True)
class Signals:
    """All that a diagnosis goes by, of one observation month.

    Attributes:
        outcome, earlier: departures after the month before this one, and after the one before that.
    """

    month: str
    feeds: tuple[Feed, ...]
    share_drifted: float
    drifted: bool
    shifted: tuple[str, ...]
    outcome: Outcome | None
    ranking: Ranking | None
    earlier: Outcome | None = None
    untrusted: tuple[Untrusted, ...] = ()


@dataclass(frozen=True)
class Diagnosis:
    """What was found, and what it asks for.

    Attributes:
        reason: one sentence for people.
        feeds: the tables that have dried up, or of which a column cannot be trusted.
        signals: what it was found from.
    """

    month: str
    kind: Kind
    reason: str
    feeds: tuple[str, ...]
    signals: Signals

    @property
    def response(self) -> Response:
        return RESPONSES[self.kind]

    def to_json(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "month": self.month,
            "kind": self.kind,
            "response": self.response,
            "reason": self.reason,
            "feeds": list(self.feeds),
            "signals": _finite(asdict(self.signals)),
        }

    def markdown(self) -> str:
        """The page of a diagnosis."""
        s = self.signals
        lines = [f"**{self.kind.replace('_', ' ')}** → {self.response}. {self.reason}", ""]
        lines += [f"- {f.table}: {f.rows:,} rows became known, usually {f.usual:,.0f}" for f in s.feeds]
        lines += [
            f"- {u.table}.{u.column} is not used: {u.why}; without it: {', '.join(u.features)}" for u in s.untrusted
        ]
        for outcome in (s.outcome, s.earlier):
            if outcome is None:
                continue
            low, high = outcome.interval
            state = "" if outcome.mature else ", known so far"
            lines.append(
                f"- {outcome.observed} customers of {outcome.month} left{state}; {outcome.expected:.1f} were "
                f"expected: ratio {outcome.ratio:.2f} ({low:.2f} to {high:.2f})"
            )
        if s.ranking is not None:
            lines.append(
                f"- AUC on {s.ranking.month} {s.ranking.auc:.3f} (standard error {s.ranking.deviation:.3f}); "
                f"{s.ranking.judged:.3f} when the champion was judged"
            )
        moved = f" ({', '.join(s.shifted[:8])})" if s.shifted else ""
        lines.append(f"- {s.share_drifted:.0%} of the features have shifted{moved}")
        return "\n".join(lines) + "\n"


def diagnose(signals: Signals) -> Diagnosis:
    """The diagnosis of a month."""
    dry = [feed for feed in signals.feeds if feed.dried_up]
    reasons = []
    if dry:
        told = "; ".join(f"{feed.table} brought {feed.rows:,} rows, usually {feed.usual:,.0f}" for feed in dry)
        reasons.append(f"A feed has dried up: {told}. What is made from it cannot be trusted.")
    if signals.untrusted:
        told = "; ".join(f"{one.table}.{one.column} ({one.why})" for one in signals.untrusted)
        reasons.append(f"The champion reads what cannot be trusted: {told}.")
    if reasons:
        tables = dict.fromkeys([*(feed.table for feed in dry), *(one.table for one in signals.untrusted)])
        return Diagnosis(signals.month, "data_fault", " ".join(reasons), tuple(tables), signals)
    ranking, outcome = signals.ranking, signals.outcome
    if ranking is not None and ranking.auc + Z * ranking.deviation < ranking.judged - AUC_LOSS:
        reason = (
            f"On {ranking.month} the champion's AUC is {ranking.auc:.3f}, and it was {ranking.judged:.3f}: the reasons "
            "to leave have changed."
        )
        return Diagnosis(signals.month, "concept_change", reason, (), signals)
    if outcome is not None:
        earlier = signals.earlier
        if outcome.too_many or (outcome.too_few and earlier is not None and earlier.too_few):
            reason = (
                f"{outcome.observed} customers of {outcome.month} have left, and {outcome.expected:.0f} were expected "
                f"({outcome.ratio:.2f} times): the probabilities are off."
            )
            return Diagnosis(signals.month, "calibration_lost", reason, (), signals)
    if signals.drifted:
        reason = f"{signals.share_drifted:.0%} of the features have shifted; nothing says that the champion is wrong."
        return Diagnosis(signals.month, "covariate_shift", reason, (), signals)
    return Diagnosis(signals.month, "healthy", "Nothing asks for a response.", (), signals)


def auc_deviation(auc: float, positives: int, negatives: int) -> float:
    """Standard error of an AUC: Hanley & McNeil (1982), *The meaning and use of the area under a ROC curve*."""
    q1, q2 = auc / (2 - auc), 2 * auc * auc / (1 + auc)
    spread = auc * (1 - auc) + (positives - 1) * (q1 - auc * auc) + (negatives - 1) * (q2 - auc * auc)
    return math.sqrt(max(spread, 0.0) / (positives * negatives))


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
