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

# From strongly shrunk to nearly free; the columns are on one scale, the loss is summed over rows.
C_GRID = (0.001, 0.03, 1.0)
# A linear model of a hundred columns has seen enough in so many rows.
MOST_SEARCH_ROWS, MOST_ROWS = 25_000, 200_000

Fold = tuple[Array, Array]


@dataclass(frozen=True)
class LogisticSearch:
    """The chosen strength (larger is less shrunk) and the mean log loss of each that was tried."""

    c: float
    losses: dict[float, float]


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
) -> LogisticSearch:
    """Choose C by mean log loss over (learn, validate) row numbers; the design is learned inside each
    fold."""
    losses = dict.fromkeys(sorted(grid), 0.0)
    for learn, validate in folds:
        rows, weight = sample_negatives(y, learn, MOST_SEARCH_ROWS, seed=0)
        design = LinearDesign.fit(encoder, encoded[rows])
        matrix, judged = design.matrix(encoded[rows]), design.matrix(encoded[validate])
        model = _regression()
        for c in losses:  # from the most shrunk on, each starting where the one before ended
            with _one_thread():
                model.set_params(C=c).fit(matrix, y[rows], sample_weight=weight)
            margin = judged @ model.coef_[0] + model.intercept_[0]
            losses[c] += log_loss(y[validate], sigmoid(margin)) / len(folds)
    return LogisticSearch(min(grid, key=lambda c: (losses[c], c)), losses)


def _one_thread() -> Any:
    """BLAS on one thread: its waiting threads spin (three times the time on busy cores), and rounding would
    depend on their number."""
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    return threadpool_limits(1, user_api="blas")


def _regression() -> Any:
    from sklearn.linear_model import LogisticRegression

    # Newton steps on a matrix of D × D: a few passes over the rows, where lbfgs takes dozens.
    return LogisticRegression(solver="newton-cholesky", max_iter=50, tol=1e-6, warm_start=True)
