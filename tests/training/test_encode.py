from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from churn_platform.errors import FeatureError
from churn_platform.features.catalogue import Feature
from churn_platform.training import encode
from churn_platform.training.encode import FeatureEncoder

NUMBER = Feature("n", "f", "number", "n", "", "", "", 0)
CATEGORY = Feature("c", "f", "category", "c", "", "", "", 0)
FEATURES = (NUMBER, CATEGORY)

numbers = st.one_of(st.none(), st.booleans(), st.integers(-(2**60), 2**60), st.floats(allow_infinity=False))
levels = st.one_of(st.none(), st.text(max_size=3))


@given(
    st.lists(st.tuples(numbers, levels), min_size=1, max_size=30),
    st.lists(st.tuples(numbers, levels), max_size=9),
)
def test_rows_columns_and_a_json_round_trip_agree(training: list[Any], new: list[Any]) -> None:
    columns = {"n": [n for n, _ in training], "c": [c for _, c in training]}
    encoder = FeatureEncoder.fit(FEATURES, columns)
    again = FeatureEncoder.from_json(json.loads(json.dumps(encoder.to_json())), FEATURES)
    rows = [{"n": n, "c": c} for n, c in new]
    by_rows = encoder.transform(rows)
    by_columns = again.transform({"n": [n for n, _ in new], "c": [c for _, c in new]})
    assert by_rows.shape == (len(new), 2)
    np.testing.assert_array_equal(by_rows, by_columns)
    for (number, level), coded in zip(new, by_rows, strict=True):
        assert (np.isnan(coded[0]) and (number is None or number != number)) or coded[0] == float(number)
        if level in encoder.levels["c"]:
            assert encoder.levels["c"][int(coded[1])] == level
        else:
            assert np.isnan(coded[1])


def test_order_of_training_rows_does_not_matter() -> None:
    values = ["b", "a", None, "c", "a"]
    one = FeatureEncoder.fit([CATEGORY], {"c": values})
    other = FeatureEncoder.fit([CATEGORY], {"c": values[::-1]})
    assert one.levels == other.levels == {"c": ("a", "b", "c")}


def test_only_the_most_frequent_levels_get_a_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encode, "MAX_LEVELS", 2)
    encoder = FeatureEncoder.fit([CATEGORY], {"c": ["z", "z", "a", "b", "b", "b"]})
    assert encoder.levels == {"c": ("b", "z")}
    assert np.isnan(encoder.transform([{"c": "a"}])[0, 0])


def test_left_out_is_unknown_and_strangers_are_ignored() -> None:
    encoder = FeatureEncoder(FEATURES, {"c": ["a"]})
    np.testing.assert_array_equal(encoder.transform([{"c": "a", "stranger": 1}]), [[np.nan, 0.0]])
    np.testing.assert_array_equal(encoder.transform({"n": np.array([1, 2])}), [[1, np.nan], [2, np.nan]])
    assert encoder.transform([]).shape == (0, 2)


@pytest.mark.parametrize("wrong", ["3", float("inf"), -float("inf"), 10**400, [1]])
def test_what_is_no_number_is_refused_by_name(wrong: Any) -> None:
    encoder = FeatureEncoder(FEATURES, {"c": ["a"]})
    with pytest.raises(FeatureError) as caught:
        encoder.transform([{"n": wrong}])
    assert caught.value.field == "n"


def test_columns_of_different_lengths_are_refused() -> None:
    with pytest.raises(FeatureError, match="length"):
        FeatureEncoder(FEATURES, {"c": ["a"]}).transform({"n": [1], "c": ["a", "a"]})


def test_an_encoder_of_other_features_is_refused() -> None:
    stored = FeatureEncoder(FEATURES, {"c": ["a"]}).to_json()
    with pytest.raises(FeatureError, match="other features"):
        FeatureEncoder.from_json(stored, FEATURES[::-1])
