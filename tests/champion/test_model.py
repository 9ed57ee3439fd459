from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from churn_platform.champion.package import load_package, write_package
from churn_platform.errors import FeatureError
from churn_platform.training import boosting
from churn_platform.training.calibration import Platt
from churn_platform.training.encode import FeatureEncoder
from churn_platform.training.logistic import fit_logistic
from churn_platform.training.packaging import Parts, profile_features
from churn_platform.training.search import REGULARISED
from tests.champion.conftest import Trained


def some_rows(trained: Trained, count: int = 300) -> list[dict[str, Any]]:
    columns = {name: values[:count].tolist() for name, values in trained.rows.columns.items()}
    return [{name: values[i] for name, values in columns.items()} for i in range(count)]


def test_contributions_add_up_and_the_probability_is_the_margins(trained: Trained, package: Path) -> None:
    model = load_package(package)
    scored = model.score(trained.rows.columns)
    n, d = len(trained.rows), len(model.features)
    assert scored.contributions.shape == (n, d)
    off = scored.base_value + scored.contributions.sum(axis=1) - scored.margin
    assert float(np.abs(off).max()) <= 1e-9
    assert float(np.abs(scored.probability - 1 / (1 + np.exp(-scored.margin))).max()) <= 1e-12
    # the base value is what is said of the average training row: contributions over the training rows cancel
    # nearly
    learned = np.isin(trained.rows.observation, trained.challenger.split["train"])
    assert float(np.abs(scored.contributions[learned].mean(axis=0)).max()) < 0.05


def test_the_native_library_agrees_with_the_python_package(trained: Trained, package: Path) -> None:
    import lightgbm as lgb

    model = load_package(package)
    encoded = model.encoder.transform(trained.rows.columns)[:500]
    booster = lgb.Booster(model_str=(package / "model.txt").read_text())
    assert model.forest is not None
    np.testing.assert_array_equal(model.forest.margin(encoded), booster.predict(encoded, raw_score=True))
    np.testing.assert_array_equal(model.forest.contributions(encoded), booster.predict(encoded, pred_contrib=True))
    assert model.forest.trees == booster.num_trees()


def test_rows_columns_batches_and_threads_give_the_same_bits(trained: Trained, package: Path) -> None:
    model = load_package(package)
    rows = some_rows(trained)
    by_rows = model.score(rows)
    by_columns = model.score({name: values[:300] for name, values in trained.rows.columns.items()}, threads=2)
    one_by_one = [model.score([row]) for row in rows[:40]]
    np.testing.assert_array_equal(by_rows.margin, by_columns.margin)
    np.testing.assert_array_equal(by_rows.contributions, by_columns.contributions)
    np.testing.assert_array_equal(by_rows.margin[:40], [float(s.margin[0]) for s in one_by_one])
    np.testing.assert_array_equal(by_rows.contributions[:40], [s.contributions[0] for s in one_by_one])
    quick = model.score(rows, explain=False)
    np.testing.assert_array_equal(quick.margin, by_rows.margin)
    assert (quick.base_value, quick.contributions.shape) == (by_rows.base_value, (0, 8))


def test_many_threads_may_use_one_model(trained: Trained, package: Path) -> None:
    model = load_package(package)
    rows = some_rows(trained, 60)
    wanted = model.score(rows).contributions
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: model.score(rows).contributions, range(40)):
            np.testing.assert_array_equal(found, wanted)


def test_unknown_features_and_no_rows(package: Path) -> None:
    model = load_package(package)
    assert 0 < model.score([{}]).probability[0] < 1
    assert model.score([{"plan": "never seen"}]).margin[0] == model.score([{"plan": None}]).margin[0]
    nothing = model.score([])
    assert (len(nothing), nothing.base_value) == (0, model.base_value)
    with pytest.raises(FeatureError) as caught:
        model.score([{"logins_30d": "many"}])
    assert caught.value.field == "logins_30d"


def test_a_forest_and_a_linear_member_together_add_up(trained: Trained, tmp_path: Path) -> None:
    """The form of a stack: weights of members, then Platt."""
    rows, features = trained.rows, trained.set.features
    encoder = FeatureEncoder.fit(features, rows.columns)
    encoded, y = encoder.transform(rows.columns), rows.label
    booster = boosting.fit(boosting.dataset(encoded, y, encoder.categorical), REGULARISED, 30, seed=0, threads=1)
    linear = fit_logistic(encoder, encoded, y, 0.03)
    platt = Platt(0.9, -0.1)
    raw = 0.7 * boosting.raw_margin(booster, encoded) + 0.2 * linear.margin(encoded)
    parts = Parts(
        features=features,
        encoder=encoder,
        calibration=platt,
        forest=boosting.text(booster),
        linear=linear,
        weights={"forest": 0.7, "linear": 0.2},
        profile=profile_features(features, rows.columns),
        reference=encoded[:5],
        reference_margins=platt(raw)[:5],
        metadata={"base_rate": 0.1},
    )
    digest = write_package(tmp_path / "both", parts)
    model = load_package(tmp_path / "both", digest=digest)
    scored = model.score(rows.columns)
    np.testing.assert_allclose(scored.margin, platt(raw), rtol=0, atol=1e-12)
    np.testing.assert_allclose(scored.base_value + scored.contributions.sum(axis=1), scored.margin, rtol=0, atol=1e-9)
    assert write_package(tmp_path / "again", parts) == digest
    assert write_package(tmp_path / "other", dataclasses.replace(parts, calibration=Platt(0.9, 0.0))) != digest


def test_reasons_name_what_weighs_most(trained: Trained, package: Path) -> None:
    model = load_package(package)
    rows = some_rows(trained)
    scored = model.score(rows)
    i = int(np.argmax(scored.margin))
    reasons = scored.reasons(i, 3)
    assert 0 < len(reasons) <= 3
    strongest = model.features[int(np.argmax(np.abs(scored.contributions[i])))]
    assert reasons[0].lower().startswith(strongest.label.lower())
    assert reasons[0].endswith("raises the risk")
    by_columns = model.score({name: values[:300] for name, values in trained.rows.columns.items()})
    assert by_columns.reasons(i, 3) == reasons
    assert scored.risk_band(i) in ("high", "critical")
    assert scored.risk_band(int(np.argmin(scored.margin))) == "low"


def test_serving_needs_none_of_the_training_libraries(package: Path) -> None:
    code = (
        "import sys, json\n"
        "from pathlib import Path\n"
        "from churn_platform.champion.package import load_package\n"
        f"scored = load_package(Path({str(package)!r})).score([{{'logins_30d': 3}}])\n"
        "scored.reasons(0)\n"
        "print(json.dumps({'margin': float(scored.margin[0]), 'modules': sorted(sys.modules)}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    answer = json.loads(done.stdout)
    heavy = {"mlflow", "sklearn", "pandas", "lightgbm", "optuna", "duckdb", "pyarrow", "scipy", "dagster"}
    assert not heavy & set(answer["modules"])
    assert answer["margin"] == load_package(package).score([{"logins_30d": 3}]).margin[0]


def test_an_unknown_value_that_training_never_saw_is_the_typical_one(trained: Trained, package: Path) -> None:
    """Trees that saw no unknown value would read it as 0, the most unusual value there may be."""
    model = load_package(package)
    known = [f for f in model.features if model.profile[f.name]["missing"] == 0]
    assert known, "the synthetic company has features that are always known"
    row = some_rows(trained, 1)[0]
    for feature in known:
        typical = model.profile[feature.name]["median" if feature.kind == "number" else "top"]
        unknown, usual = {**row, feature.name: None}, {**row, feature.name: typical}
        np.testing.assert_array_equal(model.score([unknown]).margin, model.score([usual]).margin)
        left_out = {name: value for name, value in row.items() if name != feature.name}
        np.testing.assert_array_equal(model.score([left_out]).margin, model.score([usual]).margin)
