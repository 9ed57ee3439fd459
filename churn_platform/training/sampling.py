"""Fewer rows where there are too many: every departure stays, negatives are drawn and weighted up."""

from __future__ import annotations

import numpy as np

from churn_platform.evaluation.metrics import Array
from churn_platform.training.encode import Floats


def sample_negatives(y: Array, rows: Array, most: int, seed: int) -> tuple[Array, Floats | None]:
    """At most about ``most`` of ``rows``, in order, with weights that keep every class at its full sum.

    Args:
        y: outcomes, indexed by row number.
        rows: row numbers to choose from.

    Returns:
        The rows, and their weights, or None where all of them are kept.
    """
    positive, negative = rows[y[rows] == 1], rows[y[rows] == 0]
    kept = max(most - len(positive), most // 2)
    if len(rows) <= most or kept >= len(negative):
        return rows, None
    chosen = np.random.default_rng(seed).choice(negative, kept, replace=False)
    rows = np.sort(np.concatenate([positive, chosen]))
    return rows, np.where(y[rows] == 1, 1.0, len(negative) / kept)
