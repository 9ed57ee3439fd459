"""What churn costs: logo and revenue churn, retention, revenue at risk, expected against observed leavers.

Pure functions over columns. A month is an observation date t: its leavers are those of the label window after
t, and only a month whose window has matured for everyone has churn rates.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from churn_platform.errors import FeatureError
from churn_platform.evaluation.profit import expected_loss

Z95 = 1.95996


@dataclass(frozen=True)
class Month:
    """Customers active at one observation date; all arrays of shape (n,).

    Attributes:
        customer_id: pseudonyms.
        mrr: monthly revenue, NaN where unknown.
        outcome: "retained", "voluntary", "involuntary", "left_before" or "immature".
    """

    observation: str
    customer_id: NDArray[np.object_]
    mrr: NDArray[np.float64]
    outcome: NDArray[np.object_]


@dataclass(frozen=True)
class MonthFigures:
    """Figures of one observation month; money in the contract's currency, rates in [0, 1].

    Attributes:
        matured: every outcome of the label window is known; the churn rates are None otherwise.
        mrr: None where no customer's revenue is known.
        net_retention, gross_retention: revenue one month later of the customers of t over their revenue at t,
            with and without expansion; None where the next month or the revenue is not there.
        new_mrr, expansion, contraction, lost: revenue gained and lost until the next month, all >= 0.
    """

    observation: str
    customers: int
    mrr: float | None
    matured: bool
    voluntary: int
    involuntary: int
    logo_churn_voluntary: float | None
    logo_churn_involuntary: float | None
    mrr_churn_voluntary: float | None
    mrr_churn_involuntary: float | None
    net_retention: float | None = None
    gross_retention: float | None = None
    new_mrr: float | None = None
    expansion: float | None = None
    contraction: float | None = None
    lost: float | None = None

    @property
    def logo_churn(self) -> float | None:
        return _sum(self.logo_churn_voluntary, self.logo_churn_involuntary)

    @property
    def mrr_churn(self) -> float | None:
        return _sum(self.mrr_churn_voluntary, self.mrr_churn_involuntary)


@dataclass(frozen=True)
class Scores:
    """Scored customers, riskiest first; arrays of shape (n,)."""

    customer_id: NDArray[np.object_]
    probability: NDArray[np.float64]
    mrr: NDArray[np.float64]
    expected_loss: NDArray[np.float64]
    risk_band: NDArray[np.object_]
    reasons: NDArray[np.object_]
    model_version: str


@dataclass(frozen=True)
class Leavers:
    """Expected against observed voluntary leavers of one scored month.

    Attributes:
        expected: Σ p. low, high: the 95 % interval of the count if every probability were right and customers
            left independently of each other.
    """

    observation: str
    customers: int
    expected: float
    low: float
    high: float
    observed: int

    @property
    def inside(self) -> bool:
        return self.low <= self.observed <= self.high


@dataclass(frozen=True)
class Band:
    """One risk band of the scored customers."""

    name: str
    customers: int
    mrr: float | None
    expected_leavers: float
    revenue_at_risk: float | None


@dataclass(frozen=True)
class Ranked:
    """One line of the list of whom to call first. ``customer_id`` is the pseudonym."""

    rank: int
    customer_id: str
    probability: float
    mrr: float | None
    expected_loss: float | None
    risk_band: str
    reasons: str


@dataclass(frozen=True)
class BusinessReport:
    """Everything the page shows; see :mod:`churn_platform.monitoring.business_page` for the Markdown.

    Attributes:
        revenue_at_risk: Σ expected loss over the scored; None without revenue or scores.
        expected_leavers: Σ p over them.
        top_decile_share: share of the revenue at risk that the first tenth of the list holds.
    """

    currency: str
    horizon_days: int
    months: tuple[MonthFigures, ...]
    active_customers: int
    active_mrr: float | None
    revenue_at_risk: float | None
    expected_leavers: float | None
    top_decile_share: float | None
    bands: tuple[Band, ...]
    top: tuple[Ranked, ...]
    leavers: tuple[Leavers, ...]
    model_version: str | None


def _sum(*parts: float | None) -> float | None:
    known = [part for part in parts if part is not None]
    return sum(known) if len(known) == len(parts) else None


def _total(values: NDArray[np.float64]) -> float | None:
    return float(np.nansum(values)) if np.isfinite(values).any() else None


def _share(part: float | None, whole: float | None) -> float | None:
    return None if part is None or not whole else part / whole


def month_figures(month: Month, following: Month | None = None) -> MonthFigures:
    """Figures of one month; ``following`` is the next observation month, for retention.

    Those who left before the window began ("left_before") are at no risk in it and in no denominator.
    """
    at_risk = month.outcome != "left_before"
    voluntary, involuntary = month.outcome == "voluntary", month.outcome == "involuntary"
    matured = bool(at_risk.any()) and not (month.outcome == "immature").any()
    base, base_mrr = int(at_risk.sum()), _total(month.mrr[at_risk])

    def logo(mask: NDArray[np.bool_]) -> float | None:
        return int(mask.sum()) / base if matured else None

    def revenue(mask: NDArray[np.bool_]) -> float | None:
        return _share(float(np.nansum(month.mrr[mask])), base_mrr) if matured else None

    return MonthFigures(
        observation=month.observation,
        customers=len(month.customer_id),
        mrr=_total(month.mrr),
        matured=matured,
        voluntary=int(voluntary.sum()),
        involuntary=int(involuntary.sum()),
        logo_churn_voluntary=logo(voluntary),
        logo_churn_involuntary=logo(involuntary),
        mrr_churn_voluntary=revenue(voluntary),
        mrr_churn_involuntary=revenue(involuntary),
        **(_movements(month, following) if following else {}),
    )


def _movements(month: Month, following: Month) -> dict[str, float]:
    """Where revenue went between two months; {} where it is unknown at either."""
    start = _total(month.mrr)
    if not start or _total(following.mrr) is None:
        return {}
    then = dict(zip(following.customer_id, np.nan_to_num(following.mrr), strict=True))
    before = dict(zip(month.customer_id, np.nan_to_num(month.mrr), strict=True))
    change = [(mrr, float(then.get(customer, 0.0)), customer in then) for customer, mrr in before.items()]
    expansion = sum(max(now - mrr, 0.0) for mrr, now, stays in change if stays)
    contraction = sum(max(mrr - now, 0.0) for mrr, now, stays in change if stays)
    lost = sum(mrr for mrr, _, stays in change if not stays)
    return {
        "net_retention": float((start + expansion - contraction - lost) / start),
        "gross_retention": float((start - contraction - lost) / start),
        "new_mrr": float(sum(mrr for customer, mrr in then.items() if customer not in before)),
        "expansion": float(expansion),
        "contraction": float(contraction),
        "lost": float(lost),
    }


def follows(observation: str, candidate: str) -> bool:
    """Whether ``candidate`` is the observation month right after ``observation`` ("YYYY-MM-01" keys)."""
    try:
        (year, month), (later_year, later_month) = ((int(key[:4]), int(key[5:7])) for key in (observation, candidate))
    except ValueError:
        return False
    return later_year * 12 + later_month == year * 12 + month + 1


def expected_leavers(observation: str, probability: NDArray[Any], label: NDArray[Any]) -> Leavers:
    """Expected against observed leavers of one month (shape (n,) each).

    Rows without a label (neither 0 nor 1: censored, immature) count on neither side.
    """
    y = np.array([math.nan if v is None else float(v) for v in np.asarray(label, object)], dtype=np.float64)
    known = ~np.isnan(y)
    p = np.asarray(probability, dtype=np.float64)[known]
    expected, deviation = float(p.sum()), math.sqrt(float((p * (1 - p)).sum()))
    return Leavers(
        observation=observation,
        customers=int(known.sum()),
        expected=expected,
        low=max(expected - Z95 * deviation, 0.0),
        high=expected + Z95 * deviation,
        observed=int(y[known].sum()),
    )


def revenue_at_risk(probability: NDArray[Any], mrr: NDArray[Any]) -> float | None:
    """Σ of :func:`~churn_platform.evaluation.profit.expected_loss` where the revenue is known, shape (n,) each; None
    where it is known of nobody."""
    revenue = np.asarray(mrr, float)
    return _total(np.where(np.isnan(revenue), np.nan, expected_loss(probability, revenue)))


def bands(scores: Scores) -> tuple[Band, ...]:
    """Figures per risk band, the riskiest (by mean probability) first."""
    found = []
    for name in dict.fromkeys(scores.risk_band.tolist()):
        mask = scores.risk_band == name
        p, mrr = scores.probability[mask], scores.mrr[mask]
        band = Band(str(name), int(mask.sum()), _total(mrr), float(p.sum()), revenue_at_risk(p, mrr))
        found.append((float(p.mean()), band))
    return tuple(band for _, band in sorted(found, key=lambda pair: -pair[0]))


def summarize(
    months: Sequence[Month],
    scores: Scores | None,
    *,
    horizon_days: int,
    currency: str = "USD",
    predictions: Mapping[str, tuple[NDArray[Any], NDArray[Any]]] | None = None,
    top: int = 20,
) -> BusinessReport:
    """The report from columns.

    Args:
        months: in order of their observation dates.
        scores: the newest scores, riskiest first; None before there is a champion.
        horizon_days: length of the label window.
        predictions: observation to (probabilities, labels) of months that the model has not learned from.
        top: lines of the ranked list.

    Raises:
        FeatureError: if there is no month.
    """
    if not months:
        raise FeatureError("There is no observation month to report on.", mend="Materialize customer_features first.")
    figures = []
    for index, month in enumerate(months):
        following = months[index + 1] if index + 1 < len(months) else None
        if following is not None and not follows(month.observation, following.observation):
            following = None
        figures.append(month_figures(month, following))
    loss = scores.probability * scores.mrr if scores else np.zeros(0)
    at_risk = revenue_at_risk(scores.probability, scores.mrr) if scores else None
    first = math.ceil(loss.size / 10)
    return BusinessReport(
        currency=currency,
        horizon_days=horizon_days,
        months=tuple(figures),
        active_customers=figures[-1].customers,
        active_mrr=figures[-1].mrr,
        revenue_at_risk=at_risk,
        expected_leavers=float(scores.probability.sum()) if scores else None,
        top_decile_share=float(np.nansum(loss[:first]) / np.nansum(loss)) if at_risk else None,
        bands=bands(scores) if scores else (),
        top=_ranked(scores, top) if scores else (),
        leavers=tuple(expected_leavers(key, *pair) for key, pair in sorted((predictions or {}).items())),
        model_version=scores.model_version if scores else None,
    )


def _ranked(scores: Scores, top: int) -> tuple[Ranked, ...]:
    return tuple(
        Ranked(
            rank=i + 1,
            customer_id=str(scores.customer_id[i]),
            probability=float(scores.probability[i]),
            mrr=_known(scores.mrr[i]),
            expected_loss=_known(scores.expected_loss[i]),
            risk_band=str(scores.risk_band[i]),
            reasons=str(scores.reasons[i]),
        )
        for i in range(min(top, len(scores.customer_id)))
    )


def _known(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
