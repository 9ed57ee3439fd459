"""The profile: scikit-learn's scores from arrays alone, segments in words, nothing but JSON."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest

from churn_platform.errors import FeatureError
from churn_platform.features.catalogue import Feature, on_push_path
from churn_platform.features.profile import PROFILE_FEATURES, ProfileModel, Scaling
from churn_platform.training import profile as fitting

FEATURES = [
    Feature(name, "usage", "number", label, "", "d", "n", 0)
    for name, label in (("logins", "logins"), ("days", "days as a customer"), ("nps", "score"), ("flag", "a flag"))
]


def customers(rows: int = 1_200) -> np.ndarray:
    """Three kinds of customers; a column that few have, and one that says yes or no."""
    rng = np.random.default_rng(1)
    kind = np.arange(rows) % 3
    logins = np.exp(rng.normal(np.array([1.0, 4.0, 6.0])[kind], 0.3))
    days = np.exp(rng.normal(np.array([6.0, 4.0, 6.5])[kind], 0.3))
    nps = np.where(rng.random(rows) < 0.1, rng.uniform(0, 10, rows), np.nan)
    return np.column_stack([logins, days, nps, rng.integers(0, 2, rows)])


@pytest.fixture(scope="module")
def model() -> ProfileModel:
    made = fitting.fit_profile(FEATURES, customers())
    assert made is not None
    return made


def test_the_score_is_that_of_scikit_learn(model: ProfileModel) -> None:
    from sklearn.ensemble import IsolationForest

    scaled = model.scaling.transform(customers()[:, :2])
    forest = IsolationForest(n_estimators=fitting.TREES, max_samples=fitting.SAMPLES, random_state=0, n_jobs=1).fit(
        scaled
    )
    strange = np.vstack([scaled, [[-4.0, 4.0], [0.0, 0.0]]])
    np.testing.assert_allclose(model.trees.score(strange), -forest.score_samples(strange), rtol=1e-9)


def test_who_is_unlike_all_others_scores_highest(model: ProfileModel) -> None:
    values = np.vstack([customers(), [[1e6, 0.1, np.nan, 0.0]]])
    score, _ = model.apply(values[:, :2])
    assert score.argmax() == len(values) - 1
    assert 0.0 < score.min() < score.max() < 1.0


def test_segments_find_the_kinds_and_say_what_they_are(model: ProfileModel) -> None:
    values = customers()
    _, segments = model.apply(values[:, :2])
    kinds = np.arange(len(values)) % 3
    for kind in range(3):
        own = [segments[i] for i in np.flatnonzero(kinds == kind)]
        assert max(own.count(name) for name in set(own)) > 0.9 * len(own)
    assert len(set(segments)) == 3
    assert all("logins" in name or "days as a customer" in name for name in model.segments)
    few = model.segments[0] if segments[0] == model.segments[0] else segments[0]
    assert "low: logins" in few


def test_what_says_nothing_is_not_read_and_unknown_is_ordinary(model: ProfileModel) -> None:
    assert model.scaling.names == ("logins", "days")
    score, segments = model.apply(np.full((1, 2), np.nan))
    assert score[0] < 0.6
    assert segments[0] in model.segments


def test_json_keeps_every_bit_and_another_schema_is_refused(model: ProfileModel) -> None:
    text = json.dumps(model.to_json())
    again = ProfileModel.from_json(json.loads(text))
    values = customers()[:, :2]
    np.testing.assert_array_equal(again.apply(values)[0], model.apply(values)[0])
    assert again.apply(values)[1] == model.apply(values)[1]
    with pytest.raises(FeatureError, match="customer_profile/1"):
        ProfileModel.from_json({"schema": "other/1"})


def test_appending_to_a_table(model: ProfileModel) -> None:
    table = pa.table({"logins": [3.0, None], "days": [400.0, 5.0], "other": [1.0, 2.0]})
    made = model.append(table)
    assert made.column_names == ["logins", "days", "other", *(feature.name for feature in PROFILE_FEATURES)]
    assert made.schema.field("segment").type == pa.string()
    assert model.append(table.slice(0, 0)).num_rows == 0
    with pytest.raises(FeatureError, match="reads days"):
        model.append(table.drop_columns(["days"]))


def test_too_few_customers_have_no_profile() -> None:
    assert fitting.fit_profile(FEATURES, customers(100)) is None
    assert fitting.fit_profile(FEATURES[:1], customers()[:, :1]) is None


def test_it_is_never_on_the_push_path() -> None:
    assert not any(on_push_path(feature) for feature in PROFILE_FEATURES)
    assert all(on_push_path(feature) for feature in FEATURES)


def test_a_feature_that_hardly_varies_is_scaled_by_its_extremes() -> None:
    values = np.zeros((100, 1))
    values[:3] = 50.0
    scaled = Scaling.fit(["x"], values).transform(values)
    assert np.isfinite(scaled).all()
    assert scaled[0] > scaled[-1]
