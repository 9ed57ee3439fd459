"""Logistic regression: the floor of every race, and the model itself while there are few churners."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from churn_platform.evaluation.metrics import Array, log_loss, sigmoid
from churn_platform.training.encode import FeatureEncoder, Floats
from churn_platform.training.linear import LinearDesign, LinearMember
from churn_platform.training.sampling import sample_negatives

# From strongly shrunk to nearly free; the columns are on one scale, the loss is summed over rows. A decade apart:
# between two of them the loss hardly bends.
C_GRID = (1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0)
# A linear model of a hundred columns has seen enough in so many rows.
MOST_SEARCH_ROWS, MOST_ROWS = 25_000, 200_000

Fold = tuple[Array, Array]


@dataclass(frozen=True)
class LogisticSearch:
    """The chosen strength (larger is less shrunk), the mean log loss of each that was tried, and the standard error of
    the least of them."""

    c: float
    losses: dict[float, float]
    se: float


def fit_logistic(encoder: FeatureEncoder, encoded: Floats, y: Array, c: float) -> LinearMember:
    """Ridge-penalised logistic regression on imputed, clipped, scaled and one-hot columns.

    Args:
        encoded: rows (n, d) from ``encoder``.
        y: 0 or 1 (n).
        c: inverse penalty, as in sklearn.
    """
    rows, weight = sample_negatives(y, np.arange(len(y)), MOST_ROWS, seed=0)
    design = LinearDesign.fit(encoder, encoded[rows])
    matrix = design.matrix(encoded[rows])
    model = _regression().set_params(C=c)
    with _one_thread():
        model.fit(matrix, y[rows], sample_weight=weight)
    return LinearMember(
        design,
        np.asarray(model.coef_[0], dtype=np.float64),
        np.average(matrix, axis=0, weights=weight),
        float(model.intercept_[0]),
    )


def search_logistic(
    encoder: FeatureEncoder,
    encoded: Floats,
    y: Array,
    folds: Sequence[Fold],
    grid: Sequence[float] = C_GRID,
    *,
    groups: Array | None = None,
    cautious: bool = False,
) -> LogisticSearch:
    """Choose C by mean log loss over (learn, validate) row numbers; the design is learned inside each fold.

    Args:
        groups: whose each row is (n), for the standard error; None: each row is a customer.
        cautious: of the strengths whose loss is within one standard error of the least, take the most shrunk (Breiman
            et al. 1984). For folds that do not move forward in time while what is chosen is judged on later months:
            they reward what is true of their own months only, and the difference they see is no evidence.
    """
    losses = dict.fromkeys(sorted(grid), 0.0)
    judged_rows: list[Array] = []
    by_row: dict[float, list[Floats]] = {c: [] for c in losses}
    for learn, validate in folds:
        rows, weight = sample_negatives(y, learn, MOST_SEARCH_ROWS, seed=0)
        design = LinearDesign.fit(encoder, encoded[rows])
        matrix, judged = design.matrix(encoded[rows]), design.matrix(encoded[validate])
        model = _regression()
        judged_rows.append(validate)
        for c in losses:  # from the most shrunk on, each starting where the one before ended
            with _one_thread():
                model.set_params(C=c).fit(matrix, y[rows], sample_weight=weight)
            margin = judged @ model.coef_[0] + model.intercept_[0]
            losses[c] += log_loss(y[validate], sigmoid(margin)) / len(folds)
            by_row[c].append(np.logaddexp(0.0, np.where(y[validate] == 1, -margin, margin)))
    best = min(losses, key=lambda c: (losses[c], c))
    seen = np.concatenate(judged_rows)
    se = _standard_error(np.concatenate(by_row[best]), seen if groups is None else np.asarray(groups)[seen])
    near = [c for c in losses if losses[c] <= losses[best] + se]
    return LogisticSearch(min(near) if cautious else best, losses, se)


def _standard_error(loss: Floats, groups: Array) -> float:
    """Of the mean of ``loss``, whose rows are correlated inside ``groups``."""
    codes = np.unique(groups, return_inverse=True)[1]
    sums = np.bincount(codes, weights=loss - loss.mean())
    return float(np.sqrt(sums @ sums)) / len(loss)


def _one_thread() -> Any:
    """BLAS on one thread: its waiting threads spin (three times the time on busy cores), and rounding would
    depend on their number."""
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    return threadpool_limits(1, user_api="blas")


def _regression() -> Any:
    from sklearn.linear_model import LogisticRegression

    # Newton steps on a matrix of D × D: a few passes over the rows, where lbfgs takes dozens.
    return LogisticRegression(solver="newton-cholesky", max_iter=50, tol=1e-6, warm_start=True)
