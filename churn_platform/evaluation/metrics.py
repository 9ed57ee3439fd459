"""Metrics of binary predictions: pure functions of ``y`` (n, 0 or 1) and a score, margin or probability (n).

Ties are given their expected value under a random order, so that no metric depends on the order of the rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from churn_platform.errors import NotEnoughDataError

Floats = npt.NDArray[np.float64]
Array = npt.NDArray[Any]

_SMALLEST = float(np.finfo(np.float64).eps)


def sigmoid(margin: Array) -> Floats:
    """Probabilities from log-odds of any shape, without overflow at either end."""
    z: Floats = np.asarray(margin, dtype=np.float64)
    small = np.exp(-np.abs(z))
    return np.asarray(np.where(z >= 0, 1.0, small) / (1.0 + small))


def logit(probability: Array) -> Floats:
    """Log-odds of probabilities, which are first clipped to [eps, 1 - eps]."""
    clipped = np.clip(np.asarray(probability, dtype=np.float64), _SMALLEST, 1.0 - _SMALLEST)
    return np.asarray(np.log(clipped) - np.log1p(-clipped), dtype=np.float64)


def both_classes(y: Array) -> tuple[int, int]:
    """The numbers of positives and negatives.

    Raises:
        NotEnoughDataError: where one of them is zero, so that nothing can be ranked.
    """
    positives = int(np.sum(np.asarray(y) == 1))
    negatives = len(y) - positives
    if not positives or not negatives:
        raise NotEnoughDataError(
            f"The rows hold {positives} positives and {negatives} negatives, and ranking needs both.",
            mend="Take more customers, more months, or a longer horizon.",
        )
    return positives, negatives


def midranks(values: Array) -> Floats:
    """Ranks from 1, ties sharing their mean rank. Shape (n)."""
    values = np.asarray(values, dtype=np.float64)
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2.0)[inverse.reshape(values.shape)])


def auc(y: Array, score: Array) -> float:
    """Area under the ROC curve: the share of (positive, negative) pairs in the right order, ties counting
    half.

    Mann and Whitney (1947). Raises :class:`NotEnoughDataError` where a class is absent.
    """
    positives, negatives = both_classes(y)
    ranks = midranks(score)[np.asarray(y) == 1]
    return float((np.sum(ranks) - positives * (positives + 1) / 2.0) / (positives * negatives))


def pr_auc(y: Array, score: Array) -> float:
    """Average precision: Σ (recallₖ - recallₖ₋₁)·precisionₖ over distinct thresholds, without interpolation.

    Davis and Goadrich (2006) say why interpolating is wrong; the same as sklearn's
    ``average_precision_score``.
    """
    positives, _ = both_classes(y)
    distinct, inverse = np.unique(-np.asarray(score, dtype=np.float64), return_inverse=True)
    hits = np.bincount(inverse, weights=np.asarray(y) == 1, minlength=len(distinct))
    taken = np.cumsum(np.bincount(inverse, minlength=len(distinct)))
    return float(np.sum(hits / positives * (np.cumsum(hits) / taken)))


def log_loss(y: Array, probability: Array) -> float:
    """Mean negative log-likelihood in nats; probabilities are clipped to [eps, 1 - eps]."""
    p = np.clip(np.asarray(probability, dtype=np.float64), _SMALLEST, 1.0 - _SMALLEST)
    return float(-np.mean(np.where(np.asarray(y) == 1, np.log(p), np.log1p(-p))))


def brier(y: Array, probability: Array) -> float:
    """Mean squared difference of probability and outcome. Brier (1950)."""
    return float(np.mean((np.asarray(probability, dtype=np.float64) - np.asarray(y)) ** 2))


@dataclass(frozen=True)
class CalibrationBin:
    """Rows whose probabilities lie next to each other: their number, mean prediction and share of
    positives."""

    rows: int
    low: float
    high: float
    predicted: float
    observed: float


def calibration_bins(y: Array, probability: Array, bins: int = 10) -> list[CalibrationBin]:
    """Bins of equal mass: quantiles of the predictions; equal predictions are never split, so bins may be
    fewer."""
    p = np.asarray(probability, dtype=np.float64)
    y = np.asarray(y, dtype=np.float64)
    if len(p) == 0:
        return []
    edges = np.unique(np.quantile(p, np.linspace(0.0, 1.0, bins + 1)[1:-1], method="inverted_cdf"))
    index = np.searchsorted(edges, p, side="left")
    found = []
    for i in np.unique(index):
        inside = index == i
        found.append(
            CalibrationBin(
                rows=int(np.sum(inside)),
                low=float(p[inside].min()),
                high=float(p[inside].max()),
                predicted=float(p[inside].mean()),
                observed=float(y[inside].mean()),
            )
        )
    return found


def ece(y: Array, probability: Array, bins: int = 10) -> float:
    """Expected calibration error over ``bins`` bins of equal mass (:func:`calibration_bins`), weighted by
    rows.

    Naeini, Cooper and Hauskrecht (2015); equal mass, because with rare churn equal width puts nearly all rows
    in one.
    """
    found = calibration_bins(y, probability, bins)
    return float(sum(b.rows * abs(b.predicted - b.observed) for b in found) / len(y))


@dataclass(frozen=True)
class Recalibration:
    """The line logit P(y=1) = intercept + slope·margin with the standard errors of both."""

    slope: float
    intercept: float
    slope_se: float
    intercept_se: float


def recalibration(y: Array, margin: Array, *, iterations: int = 100) -> Recalibration:
    """Cox's recalibration line of the outcome on log-odds, by Newton's method with step halving.

    Perfect calibration is slope 1 and intercept 0; a slope below 1 says that predictions are too extreme.
    Cox (1958); on out-of-fold margins the same line is Platt's scaling (1999).

    Raises:
        NotEnoughDataError: where a class is absent.
    """
    both_classes(y)
    y = np.asarray(y, dtype=np.float64)
    m = np.asarray(margin, dtype=np.float64)
    centre, spread = float(np.mean(m)), float(np.std(m))
    if spread <= 1e-12:
        rate = float(np.mean(y))
        se = 1.0 / np.sqrt(len(y) * rate * (1.0 - rate))
        return Recalibration(0.0, float(logit(np.array([rate]))[0]), float("inf"), float(se))
    design = np.column_stack([np.ones(len(m)), (m - centre) / spread])
    # A whisper of ridge keeps perfectly separated data finite; elsewhere it moves nothing that one could see.
    ridge = np.diag([0.0, 1e-6])
    theta = np.array([float(logit(np.array([np.mean(y)]))[0]), 0.0])

    def loss(at: Floats) -> float:
        z = design @ at
        return float(np.sum(np.logaddexp(0.0, z) - y * z) + 0.5 * at @ ridge @ at)

    now = loss(theta)
    for _ in range(iterations):
        p = sigmoid(design @ theta)
        gradient = design.T @ (p - y) + ridge @ theta
        hessian = (design * (p * (1.0 - p))[:, None]).T @ design + ridge
        step = np.linalg.solve(hessian, gradient)
        scale = 1.0
        while (then := loss(theta - scale * step)) > now and scale > 1e-6:
            scale /= 2.0
        theta = theta - scale * step
        if abs(now - then) <= 1e-14 * max(1.0, abs(now)):
            break
        now = then
    p = sigmoid(design @ theta)
    covariance = np.linalg.inv((design * (p * (1.0 - p))[:, None]).T @ design + ridge)
    # back from the standardised margin: slope = θ₁/spread, intercept = θ₀ - θ₁·centre/spread
    back = np.array([[1.0, -centre / spread], [0.0, 1.0 / spread]])
    intercept, slope = back @ theta
    errors = np.sqrt(np.diag(back @ covariance @ back.T))
    return Recalibration(float(slope), float(intercept), float(errors[1]), float(errors[0]))


def taken(rows: int, share: float) -> int:
    """How many rows a share of them is: rounded, at least one."""
    return max(1, min(rows, round(rows * share)))


def precision_at(y: Array, score: Array, share: float) -> float:
    """Share of positives among the ``share`` of rows with the highest scores; ties at the cut count in
    proportion."""
    y = np.asarray(y, dtype=np.float64)
    s = np.asarray(score, dtype=np.float64)
    count = taken(len(s), share)
    cut = np.partition(s, len(s) - count)[len(s) - count]
    above, level = s > cut, s == cut
    room = count - int(np.sum(above))
    return float((np.sum(y[above]) + room * np.mean(y[level])) / count)


def precision_at_capacity(y: Array, score: Array, capacity: float = 0.05) -> float:
    """Precision when only ``capacity`` (a share of the rows, default 5 %) can be contacted."""
    return precision_at(y, score, capacity)


def lift_at(y: Array, score: Array, share: float = 0.1) -> float:
    """Precision among the top ``share`` over the base rate. 1 is no better than chance."""
    positives, negatives = both_classes(y)
    return precision_at(y, score, share) * (positives + negatives) / positives
