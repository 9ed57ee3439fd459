from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from churn_platform.champion.package import load_package
from churn_platform.errors import NotEnoughDataError
from churn_platform.evaluation.metrics import auc, sigmoid
from churn_platform.evaluation.predictions import Predictions
from churn_platform.evaluation.report import evaluate, oracle_auc
from churn_platform.records.store import ContentStore
from churn_platform.training.challenger import Challenger, train
from churn_platform.training.dataset import TrainingSet, build_training_set
from tests.training import synthetic


def build(world: synthetic.World, store: ContentStore) -> TrainingSet:
    return build_training_set(world.features, world.labels, synthetic.FEATURES, world.contract, store=store)


@pytest.fixture(scope="module")
def world(store: ContentStore) -> synthetic.World:
    return synthetic.world(store, customers=900, count=11)


@pytest.fixture(scope="module")
def rows(world: synthetic.World, store: ContentStore) -> TrainingSet:
    return build(world, store)


@pytest.fixture(scope="module")
def trained(rows: TrainingSet, store: ContentStore) -> Challenger:
    return train(rows, seed=3, store=store)


def test_a_temporal_challenger_is_judged_on_later_months(
    rows: TrainingSet, trained: Challenger, world: synthetic.World, store: ContentStore
) -> None:
    assert (trained.tier, trained.protocol, trained.tuned_on) == ("full", "temporal", "forward")
    predictions = Predictions.read(store, trained.predictions)
    assert set(predictions.observation) == set(trained.split["holdout"])
    assert max(trained.split["train"]) < min(trained.split["holdout"])
    found = evaluate(predictions, protocol="temporal", tier=trained.tier)
    customers = rows.customers(store)[predictions.row]
    best = oracle_auc(
        {"customer_id": customers, "observation": predictions.observation, "label": predictions.label},
        {
            "customer_id": [c for c, _ in world.oracle],
            "observation": [t for _, t in world.oracle],
            "probability": list(world.oracle.values()),
        },
    )
    assert best is not None
    assert found["auc"] > max(0.75, best - 0.06)
    assert found["auc"] > found["floors"]["recency_rule"]
    assert found["floors"]["logistic_regression"] == pytest.approx(best, abs=0.06)
    assert 0.6 < found["calibration_slope"] < 1.6
    json.dumps(found, allow_nan=False)


def test_the_package_predicts_what_was_judged(
    rows: TrainingSet, trained: Challenger, store: ContentStore, tmp_path: Any
) -> None:
    store.export_tree(trained.package, tmp_path / "package")
    model = load_package(tmp_path / "package", digest=trained.digest)
    predictions = Predictions.read(store, trained.predictions)
    columns = {name: values[predictions.row] for name, values in rows.load(store).columns.items()}
    scored = model.score(columns)
    np.testing.assert_allclose(scored.margin, predictions.margin, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(predictions.probability, sigmoid(predictions.margin))


def test_the_same_training_gives_the_same_package_under_other_pseudonyms_and_threads(
    store: ContentStore,
) -> None:
    one = build(synthetic.world(store, customers=400, count=8, base=-2.6), store)
    other = build(synthetic.world(store, customers=400, count=8, base=-2.6, salt="other"), store)
    assert one.keys_digest != other.keys_digest
    first, second = (train(rows, seed=1, threads=n, store=store) for rows, n in ((one, 1), (other, 2)))
    assert first == second
    assert train(one, seed=2, store=store).digest != first.digest
    assert Challenger.from_json(json.loads(json.dumps(first.to_json()))) == first


def test_a_snapshot_is_judged_out_of_fold(store: ContentStore) -> None:
    rows = build(synthetic.snapshot(store), store)
    trained = train(rows, seed=0, store=store)
    assert (trained.protocol, trained.tuned_on) == ("out_of_fold", "grouped")
    predictions = Predictions.read(store, trained.predictions)
    assert len(predictions.label) == rows.spec["n_rows"]
    # exact copies of a row with both outcomes would give a model away that had seen the copy
    assert 0.7 < auc(predictions.label, predictions.margin) < 0.9
    group = rows.load(store).group
    copied = np.flatnonzero(np.bincount(group) > 1)
    assert len(copied) >= 15
    assert all(len(set(predictions.margin[group == g].tolist())) == 1 for g in copied), "equal rows share a fold"


def test_a_flat_file_of_few_distinct_rows_teaches_by_its_rows(store: ContentStore) -> None:
    """A plan, a region and a size: 24 kinds of rows, of whom hundreds left."""
    draw = np.random.default_rng(4)
    n = 1200
    plan, region, size = draw.integers(0, 3, n), draw.integers(0, 4, n), draw.integers(0, 2, n)
    left = draw.random(n) < 0.1 + 0.25 * plan / 2 + 0.1 * size
    ids = [f"id{i:06d}" for i in range(n)]
    same = ("logins_30d", "days_since_last_activity", "seat_share", "nps", "mrr")
    columns: dict[str, Any] = {name: [1.0] * n for name in same}
    columns |= {"renewal_soon": size.astype(float).tolist()}
    columns |= {"plan": synthetic.PLANS[plan].tolist(), "region": synthetic.REGIONS[region].tolist()}
    labels = {
        "customer_id": ids,
        "observation_date": ["snapshot"] * n,
        "outcome": np.where(left, "voluntary", "retained").tolist(),
        "label": pa.array(left.astype(np.int8)),
        "mrr": columns["mrr"],
        "treated": [False] * n,
    }
    features = synthetic.put(store, {"customer_id": ids, **columns})
    made = synthetic.World(
        {"snapshot": features}, {"snapshot": synthetic.put(store, labels)}, synthetic.contract("snapshot"), {}
    )
    rows = build(made, store)
    assert len(set(rows.load(store).group.tolist())) == 24
    trained = train(rows, seed=0, store=store)
    assert trained.split["train_churners"] == int(left.sum()) > 200
    assert trained.tier == "full"
    predictions = Predictions.read(store, trained.predictions)
    found = evaluate(predictions, protocol="out_of_fold", tier=trained.tier)
    assert found["customers"] == n
    assert 0.5 < found["auc"] < 0.75
    assert found["auc_high"] - found["auc_low"] < 0.1


def test_few_churners_give_a_shrunk_logistic_regression(store: ContentStore, tmp_path: Any) -> None:
    rows = build(synthetic.world(store, customers=500, count=6, base=-4.3), store)
    passed = {"column": "nps", "kind": "separates", "evidence": "it ranks.", "review": "asked before; J. Doe"}
    rows = rows.with_reviewed([passed], store)
    trained = train(rows, store=store)
    assert "nps passed the leak gate after a review (asked before; J. Doe): it ranks" in trained.notes
    assert 50 <= trained.split["train_churners"] < 200
    assert (trained.tier, trained.params["learner"]["name"]) == ("small", "logistic_regression")
    store.export_tree(trained.package, tmp_path / "package")
    model = load_package(tmp_path / "package")
    assert model.forest is None
    scored = model.score(rows.load(store).columns)
    np.testing.assert_allclose(scored.base_value + scored.contributions.sum(axis=1), scored.margin, rtol=0, atol=1e-9)


def test_too_few_churners_are_refused_with_the_mend(store: ContentStore) -> None:
    rows = build(synthetic.world(store, customers=120, count=4, base=-4.5), store)
    with pytest.raises(NotEnoughDataError, match="inactive longest"):
        train(rows, store=store)


def test_a_short_history_is_tuned_on_customers_and_still_judged_in_time(store: ContentStore) -> None:
    made = synthetic.world(store, customers=1200, count=7, base=-2.2)
    made = replace(made, contract=synthetic.contract(horizon_days=90))
    trained = train(build(made, store), store=store)
    assert (trained.protocol, trained.tuned_on) == ("temporal", "grouped")
    assert len(trained.split["holdout"]) == 1
    assert any("too short" in note for note in trained.notes)
