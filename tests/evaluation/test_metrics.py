from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from churn_platform.errors import NotEnoughDataError
from churn_platform.evaluation import metrics


@st.composite
def judged(draw: Any) -> tuple[np.ndarray, np.ndarray]:
    """Outcomes with both classes, and probabilities with many ties."""
    n = draw(st.integers(2, 40))
    y = np.array(draw(st.lists(st.integers(0, 1), min_size=n, max_size=n)))
    y[:2] = 0, 1
    levels = draw(st.sampled_from([3, 10, 10_000]))
    p = np.array(draw(st.lists(st.integers(1, levels - 1), min_size=n, max_size=n))) / levels
    return y, p


@given(judged())
def test_agrees_with_sklearn(data: tuple[np.ndarray, np.ndarray]) -> None:
    from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, roc_auc_score

    y, p = data
    assert metrics.auc(y, p) == pytest.approx(roc_auc_score(y, p), abs=1e-12)
    assert metrics.pr_auc(y, p) == pytest.approx(average_precision_score(y, p), abs=1e-12)
    assert metrics.log_loss(y, p) == pytest.approx(log_loss(y, p), abs=1e-12)
    assert metrics.brier(y, p) == pytest.approx(brier_score_loss(y, p), abs=1e-12)


@given(judged())
def test_auc_is_the_share_of_pairs_in_order(data: tuple[np.ndarray, np.ndarray]) -> None:
    y, p = data
    pairs = p[y == 1][:, None] - p[y == 0][None, :]
    assert metrics.auc(y, p) == pytest.approx(float(np.mean((pairs > 0) + 0.5 * (pairs == 0))))


@given(judged(), st.floats(0.01, 1.0), st.integers(0, 2**32 - 1))
def test_precision_at_a_share_is_its_mean_over_random_orders_of_ties(
    data: tuple[np.ndarray, np.ndarray], share: float, seed: int
) -> None:
    y, p = data
    count = metrics.taken(len(y), share)
    found = metrics.precision_at(y, p, share)
    rng = np.random.default_rng(seed)
    draws = []
    for _ in range(400):
        shuffled = rng.permutation(len(y))
        best = shuffled[np.argsort(-p[shuffled], kind="stable")][:count]
        draws.append(y[best].mean())
    assert found == pytest.approx(float(np.mean(draws)), abs=0.15)
    if len(set(p.tolist())) == len(p):
        assert found == pytest.approx(draws[0])
    assert metrics.precision_at(y[shuffled], p[shuffled], share) == pytest.approx(found)
    assert metrics.lift_at(y, p, share) == pytest.approx(found / y.mean())


@given(judged())
def test_bins_hold_every_row_once_and_never_divide_equal_predictions(
    data: tuple[np.ndarray, np.ndarray],
) -> None:
    y, p = data
    bins = metrics.calibration_bins(y, p, 5)
    assert sum(b.rows for b in bins) == len(y)
    assert sum(b.rows * b.observed for b in bins) == pytest.approx(y.sum())
    assert all(earlier.high < later.low for earlier, later in pairwise(bins))
    assert metrics.ece(y, p, 5) == pytest.approx(sum(b.rows / len(y) * abs(b.predicted - b.observed) for b in bins))


def test_equal_mass_bins_are_of_equal_mass() -> None:
    p = np.linspace(0.01, 0.99, 1000)
    sizes = [b.rows for b in metrics.calibration_bins((p > 0.5).astype(int), p, 10)]
    assert len(sizes) == 10
    assert max(sizes) - min(sizes) <= 2


def test_recalibration_finds_the_line_that_made_the_data() -> None:
    rng = np.random.default_rng(0)
    margin = rng.normal(-2, 1.5, 200_000)
    y = rng.random(200_000) < metrics.sigmoid(0.4 + 0.7 * margin)
    line = metrics.recalibration(y, margin)
    assert abs(line.slope - 0.7) < 4 * line.slope_se < 0.05
    assert abs(line.intercept - 0.4) < 4 * line.intercept_se < 0.1


def test_recalibration_agrees_with_an_unpenalised_logistic_regression() -> None:
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(3)
    margin = rng.normal(size=400)
    y = rng.random(400) < metrics.sigmoid(0.8 * margin - 1)
    line = metrics.recalibration(y, margin)
    model = LogisticRegression(C=1e10, tol=1e-12, max_iter=1000).fit(margin[:, None], y)
    assert line.slope == pytest.approx(model.coef_[0, 0], rel=1e-4)
    assert line.intercept == pytest.approx(model.intercept_[0], rel=1e-4)


def test_recalibration_survives_separation_and_constants() -> None:
    y = np.array([0, 0, 0, 1, 1])
    apart = metrics.recalibration(y, np.array([-2.0, -1.5, -1.0, 1.0, 2.0]))
    assert apart.slope > 1
    assert np.isfinite(apart.intercept)
    flat = metrics.recalibration(y, np.ones(5))
    assert flat.slope == 0
    assert metrics.sigmoid(np.array([flat.intercept]))[0] == pytest.approx(0.4)


@given(st.floats(-700, 700))
def test_sigmoid_and_logit(margin: float) -> None:
    p = float(metrics.sigmoid(np.array([margin]))[0])
    assert 0.0 <= p <= 1.0
    if abs(margin) < 20:
        assert float(metrics.logit(np.array([p]))[0]) == pytest.approx(margin, abs=1e-6)


@pytest.mark.parametrize("y", [[0, 0, 0], [1, 1]])
def test_one_class_cannot_be_ranked(y: list[int]) -> None:
    with pytest.raises(NotEnoughDataError, match="ranking needs both"):
        metrics.auc(np.array(y), np.arange(len(y)))
