from __future__ import annotations

import json

import numpy as np
import pytest

from churn_platform.errors import TrainingError
from churn_platform.evaluation.metrics import auc
from churn_platform.features.catalogue import Feature
from churn_platform.training.calibration import fit_platt
from churn_platform.training.encode import FeatureEncoder
from churn_platform.training.linear import LinearDesign, LinearMember
from churn_platform.training.logistic import _standard_error, fit_logistic, search_logistic
from churn_platform.training.sampling import sample_negatives

FEATURES = (
    Feature("a", "f", "number", "a", "", "", "", 0),
    Feature("flag", "f", "number", "flag", "", "", "", 0),
    Feature("never", "f", "number", "never", "", "", "", 0),
    Feature("c", "f", "category", "c", "", "", "", 0),
)
ENCODER = FeatureEncoder(FEATURES, {"c": ["x", "y", "z"]})


@pytest.fixture(scope="module")
def rows() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    n = 1500
    encoded = np.column_stack(
        [rng.normal(size=n), rng.random(n) < 0.01, np.full(n, np.nan), rng.integers(0, 3, n)]
    ).astype(float)
    encoded[rng.random(n) < 0.2, 0] = np.nan
    encoded[rng.random(n) < 0.1, 3] = np.nan
    margin = -1.0 + 1.5 * np.nan_to_num(encoded[:, 0]) + (encoded[:, 3] == 2) + 3 * encoded[:, 1]
    return encoded, (rng.random(n) < 1 / (1 + np.exp(-margin))).astype(np.int8)


def test_contributions_add_up_and_average_to_nothing(rows: tuple[np.ndarray, np.ndarray]) -> None:
    encoded, y = rows
    member = fit_logistic(ENCODER, encoded, y, 0.03)
    contributions = member.contributions(encoded)
    np.testing.assert_allclose(member.base + contributions.sum(axis=1), member.margin(encoded), atol=1e-12)
    # Shapley values against the training mean: over the training rows they cancel
    np.testing.assert_allclose(contributions.mean(axis=0), 0.0, atol=1e-12)
    assert np.all(contributions[:, 2] == 0.0)


def test_the_same_as_the_library_and_after_json(rows: tuple[np.ndarray, np.ndarray]) -> None:
    from sklearn.linear_model import LogisticRegression

    encoded, y = rows
    member = fit_logistic(ENCODER, encoded, y, 0.03)
    matrix = LinearDesign.fit(ENCODER, encoded).matrix(encoded)
    plain = LogisticRegression(C=0.03, tol=1e-10, max_iter=1000).fit(matrix, y)
    np.testing.assert_allclose(member.margin(encoded), plain.decision_function(matrix), atol=1e-4)
    again = LinearMember.from_json(json.loads(json.dumps(member.to_json())))
    np.testing.assert_array_equal(again.margin(encoded), member.margin(encoded))
    np.testing.assert_array_equal(again.contributions(encoded), member.contributions(encoded))


def test_a_rare_flag_is_not_clipped_away(rows: tuple[np.ndarray, np.ndarray]) -> None:
    encoded, y = rows
    member = fit_logistic(ENCODER, encoded, y, 1.0)
    with_flag, without = encoded[:1].copy(), encoded[:1].copy()
    with_flag[0, 1], without[0, 1] = 1.0, 0.0
    assert member.margin(with_flag)[0] > member.margin(without)[0] + 0.5


def test_a_far_outlier_counts_as_the_edge_of_what_was_seen(rows: tuple[np.ndarray, np.ndarray]) -> None:
    encoded, y = rows
    member = fit_logistic(ENCODER, encoded, y, 1.0)
    far, farther = encoded[:1].copy(), encoded[:1].copy()
    far[0, 0], farther[0, 0] = 50.0, 5e9
    assert member.margin(far)[0] == member.margin(farther)[0]


def test_the_search_shrinks_where_there_is_nothing_to_learn(rows: tuple[np.ndarray, np.ndarray]) -> None:
    encoded, y = rows
    half = len(y) // 2
    folds = [(np.arange(half), np.arange(half, len(y))), (np.arange(half, len(y)), np.arange(half))]
    noise = np.random.default_rng(0).permutation(y)
    found, nothing = (search_logistic(ENCODER, encoded, outcome, folds) for outcome in (y, noise))
    assert found.c > nothing.c
    assert found.losses[found.c] == min(found.losses.values())


def test_a_cautious_search_takes_the_most_shrunk_of_equals(rows: tuple[np.ndarray, np.ndarray]) -> None:
    encoded, y = rows
    half = len(y) // 2
    folds = [(np.arange(half), np.arange(half, len(y))), (np.arange(half, len(y)), np.arange(half))]
    grid = tuple(float(c) for c in np.logspace(-3, 1, 17))
    bold = search_logistic(ENCODER, encoded, y, folds, grid)
    cautious = search_logistic(ENCODER, encoded, y, folds, grid, cautious=True)
    assert cautious.losses == bold.losses
    assert cautious.c < bold.c
    limit = bold.losses[bold.c] + bold.se
    assert cautious.losses[cautious.c] <= limit < min(cautious.losses[c] for c in cautious.losses if c < cautious.c)
    # rows of one customer say less than as many of different ones
    doubled = search_logistic(ENCODER, encoded, y, folds, grid, groups=np.arange(len(y)) // 10)
    assert doubled.se != bold.se
    assert doubled.c == bold.c
    assert 0 < bold.se < 0.05


def test_the_standard_error_counts_customers() -> None:
    loss = np.repeat([0.1, 0.9, 0.4, 0.6], 25)
    alone, together = _standard_error(loss, np.arange(100)), _standard_error(loss, np.repeat(np.arange(4), 25))
    assert alone == pytest.approx(loss.std() / 10)
    assert together == pytest.approx(5 * alone)


def test_weights_and_design_must_fit() -> None:
    with pytest.raises(TrainingError, match="columns"):
        LinearMember(LinearDesign.fit(ENCODER, np.zeros((3, 4))), np.zeros(2), np.zeros(2), 0.0)


def test_sampling_keeps_departures_and_the_sums_of_both_classes() -> None:
    y = (np.arange(10_000) % 50 == 0).astype(np.int8)
    rows, weight = sample_negatives(y, np.arange(len(y)), 1_000, seed=0)
    assert weight is not None
    assert len(rows) == 1_000
    assert weight[y[rows] == 1].sum() == y.sum()
    assert weight.sum() == pytest.approx(len(y))
    everything, none = sample_negatives(y, np.arange(len(y)), 20_000, seed=0)
    assert (len(everything), none) == (len(y), None)


def test_platt_refuses_a_model_that_learned_nothing(rows: tuple[np.ndarray, np.ndarray]) -> None:
    encoded, y = rows
    member = fit_logistic(ENCODER, encoded, y, 0.03)
    margin = member.margin(encoded)
    platt = fit_platt(y, 2.0 * margin + 1.0)
    assert auc(y, platt(2.0 * margin + 1.0)) == auc(y, margin)
    with pytest.raises(TrainingError, match="no better than chance"):
        fit_platt(y, -margin)
