from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from churn_platform.evaluation.metrics import auc
from churn_platform.training import boosting, search


@pytest.fixture(scope="module")
def rows() -> tuple[np.ndarray, np.ndarray, list[Any]]:
    rng = np.random.default_rng(0)
    n = 2400
    encoded = rng.normal(size=(n, 8))
    encoded[:, 7] = rng.integers(0, 5, n)
    encoded[rng.random((n, 8)) < 0.05] = np.nan
    margin = -2 + np.nan_to_num(encoded[:, 0]) * 1.2 + (encoded[:, 7] == 3) * 1.5
    y = (rng.random(n) < 1 / (1 + np.exp(-margin))).astype(np.int8)
    folds = [(np.arange(k * 600), np.arange(k * 600, (k + 1) * 600)) for k in (1, 2, 3)]
    return encoded, y, folds


def run(rows: tuple[np.ndarray, np.ndarray, list[Any]], **options: Any) -> search.SearchResult:
    encoded, y, folds = rows
    return search.search(encoded, y, folds, categorical=[7], budget="quick", **{"seed": 0, "threads": 1, **options})


def test_starts_at_the_regularised_default_and_is_never_worse(rows: Any) -> None:
    seen: list[tuple[str, float]] = []
    found = run(rows, progress=lambda text, share: seen.append((text, share)))
    first = found.trials[0]
    assert first["params"] == search.REGULARISED
    assert found.loss <= first["loss"]
    assert len(found.trials) == search.BUDGETS["quick"].trials
    assert seen[-1] == ("trial 8 of 8", 1.0)
    assert all(trial["params"]["num_leaves"] <= 2 ** trial["params"]["max_depth"] for trial in found.trials)
    assert all(trial["params"]["max_depth"] <= 6 for trial in found.trials)


def test_repeats_itself_for_any_number_of_threads(rows: Any) -> None:
    assert run(rows) == run(rows, threads=2)
    assert run(rows).trials != run(rows, seed=1).trials


def test_the_text_of_a_model_does_not_depend_on_threads(rows: Any) -> None:
    encoded, y, _ = rows
    texts = {
        boosting.text(boosting.fit(boosting.dataset(encoded, y, [7]), search.REGULARISED, 20, seed=3, threads=n))
        for n in (1, 2)
    }
    assert len(texts) == 1


def test_sampled_negatives_keep_the_level_of_the_predictions(
    rows: Any,
) -> None:
    encoded, y, _ = rows
    learning = search._learning_data(encoded, y, np.arange(len(y)), 1500, [7], 0)
    assert learning.num_data() == 1500
    booster = boosting.fit(learning, search.REGULARISED, 60, seed=0, threads=1)
    margin = boosting.raw_margin(booster, encoded)
    assert float(np.mean(1 / (1 + np.exp(-margin)))) == pytest.approx(float(y.mean()), rel=0.1)
    assert auc(y, margin) > 0.75
