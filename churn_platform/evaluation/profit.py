"""Money: what is expected to be lost, and whom to call when only so many can be called."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from churn_platform.evaluation.metrics import Array, Floats, taken

HORIZON_MONTHS = 12.0


def expected_loss(probability: Array, mrr: Array, horizon_months: float = HORIZON_MONTHS) -> Floats:
    """p × monthly revenue × months of revenue that a departure costs, in the contract's currency (n).

    Unknown or negative revenue counts as 0: it cannot be lost.
    """
    revenue = np.nan_to_num(np.asarray(mrr, dtype=np.float64), nan=0.0)
    loss = np.asarray(probability, dtype=np.float64) * np.maximum(revenue, 0.0) * horizon_months
    return np.asarray(loss, dtype=np.float64)


def capacity_list(loss: Array, probability: Array, capacity: float) -> npt.NDArray[np.int64]:
    """Row numbers to contact first: the ``capacity`` share with the highest expected loss, best first.

    Equal losses (no revenue known) are ordered by probability, then by row.
    """
    order = np.lexsort((np.arange(len(loss)), -np.asarray(probability), -np.asarray(loss)))
    return np.asarray(order[: taken(len(order), capacity)], dtype=np.int64)


def loss_captured(y: Array, loss: Array, probability: Array, mrr: Array, capacity: float) -> float | None:
    """Share of the monthly revenue that did leave which stood on the capacity list; None where none left."""
    revenue = np.maximum(np.nan_to_num(np.asarray(mrr, dtype=np.float64), nan=0.0), 0.0)
    left = revenue * (np.asarray(y) == 1)
    total = float(left.sum())
    if total <= 0.0:
        return None
    return float(left[capacity_list(loss, probability, capacity)].sum() / total)
