from __future__ import annotations

import numpy as np
import pytest

from churn_platform.evaluation.intervals import auc_difference, auc_interval
from churn_platform.evaluation.metrics import auc


def sample(rng: np.random.Generator, customers: int, months: int) -> tuple[np.ndarray, ...]:
    """Rows of customers whose level carries over from month to month; the true AUC of ``score`` is the same
    for all."""
    level = np.repeat(rng.normal(size=customers), months)
    group = np.repeat(np.arange(customers), months)
    y = (rng.random(customers * months) < 1 / (1 + np.exp(1.5 - level))).astype(int)
    return y, level + 0.7 * rng.normal(size=len(y)), level + 0.9 * rng.normal(size=len(y)), group


def test_without_groups_it_is_delongs_variance() -> None:
    rng = np.random.default_rng(0)
    y, score, _, _ = sample(rng, 150, 1)
    positive, negative = score[y == 1], score[y == 0]
    order = (positive[:, None] > negative[None, :]) + 0.5 * (positive[:, None] == negative[None, :])
    variance = order.mean(axis=1).var(ddof=1) / len(positive) + order.mean(axis=0).var(ddof=1) / len(negative)
    found = auc_interval(y, score)
    # the sums over all rows of the two classes share no row, so DeLong's two terms are all there is
    assert found.value == pytest.approx(auc(y, score))
    assert found.se == pytest.approx(np.sqrt(variance), rel=1e-9)
    assert 0 <= found.low < found.value < found.high <= 1


@pytest.mark.parametrize("months", [1, 4])
def test_intervals_by_customer_cover_the_truth(months: int) -> None:
    rng = np.random.default_rng(months)
    y, score, rival, _ = sample(rng, 60_000, 1)
    truth, difference = auc(y, score), auc(y, score) - auc(y, rival)
    hits, paired, naive = [], [], []
    for _ in range(300):
        y, score, rival, group = sample(rng, 120, months)
        found, against = auc_interval(y, score, group), auc_difference(y, score, rival, group)
        hits.append(found.low <= truth <= found.high)
        paired.append(against.low <= difference <= against.high)
        plain = auc_interval(y, score)
        naive.append(plain.low <= truth <= plain.high)
    assert 0.91 <= np.mean(hits) <= 0.985
    assert 0.91 <= np.mean(paired) <= 0.985
    if months > 1:
        assert np.mean(naive) < np.mean(hits)


def test_agrees_with_a_bootstrap_by_customer() -> None:
    rng = np.random.default_rng(5)
    y, score, _, group = sample(rng, 300, 3)
    drawn = []
    for _ in range(400):
        chosen = rng.integers(0, 300, 300)
        rows = (chosen[:, None] * 3 + np.arange(3)[None, :]).ravel()
        drawn.append(auc(y[rows], score[rows]))
    assert auc_interval(y, score, group).se == pytest.approx(np.std(drawn), rel=0.15)


def test_a_perfect_order_is_not_called_certain() -> None:
    found = auc_interval(np.array([0, 0, 0, 1, 1, 1]), np.arange(6))
    assert found.value == 1.0 == found.high
    assert found.low <= 0.0
    many = auc_interval(np.repeat([0, 1], 500), np.arange(1000))
    assert many.low == pytest.approx(0.994)


def test_a_model_does_not_differ_from_itself() -> None:
    y, score, _, group = sample(np.random.default_rng(1), 50, 2)
    same = auc_difference(y, score, score, group)
    assert (same.value, same.low, same.high) == (0.0, 0.0, 0.0)
