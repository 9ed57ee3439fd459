"""PSI: known values, invariances, bins that travel with the reference, verdicts that allow for chance."""

from __future__ import annotations

import json
import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from churn_platform.errors import FeatureError
from churn_platform.monitoring import drift

counts = st.lists(st.integers(0, 5000), min_size=2, max_size=12)


def test_psi_of_known_shares() -> None:
    # by hand: (.6 - .5) ln(.6 / .5) + (.4 - .5) ln(.4 / .5)
    assert drift.psi([50, 50], [60, 40], smoothing=0) == pytest.approx(0.1 * math.log(1.2) - 0.1 * math.log(0.8))


@given(counts, st.data())
@settings(max_examples=60, deadline=None)
def test_psi_is_symmetric_not_negative_and_zero_for_equal_shares(before: list[int], data: st.DataObject) -> None:
    now = data.draw(st.lists(st.integers(0, 5000), min_size=len(before), max_size=len(before)))
    if not sum(before) or not sum(now):
        assert math.isnan(drift.psi(before, now))
        return
    assert drift.psi(before, now) >= -1e-12
    assert drift.psi(before, now) == pytest.approx(drift.psi(now, before), abs=1e-12)
    assert drift.psi(before, before) == pytest.approx(0, abs=1e-12)


@given(
    st.lists(st.floats(allow_nan=True, allow_infinity=True, width=32), max_size=80),
    st.lists(st.floats(allow_nan=True, allow_infinity=True, width=32), max_size=80),
)
@settings(max_examples=80, deadline=None)
def test_every_value_falls_into_exactly_one_bin(before: list[float], now: list[float]) -> None:
    column = drift.fit_column("x", "number", before)
    assert column.rows == len(before)
    assert list(column.edges) == sorted(set(column.edges))
    found = drift.compare_column(column, now)
    assert len(column.labels) == len(column.counts)
    assert math.isnan(found.psi) == (not before or not now)


def test_the_reference_survives_json_and_gives_the_same_figures() -> None:
    generator = np.random.default_rng(1)
    columns = {
        "x": generator.normal(size=500),
        "c": generator.choice(np.array(["a", "b", None], dtype=object), 500),
    }
    reference = drift.fit(columns, {"x": "number", "c": "category"})
    again = drift.Reference.from_json(json.loads(json.dumps(reference.to_json())))
    assert again == reference
    later = {"x": generator.normal(0.4, size=300), "c": generator.choice(["a", "b", "d"], 300)}
    assert drift.compare(again, later) == drift.compare(reference, later)
    with pytest.raises(FeatureError, match="schema"):
        drift.Reference.from_json({"schema": "drift-reference/9"})


def test_a_constant_that_changes_is_seen_on_both_sides() -> None:
    column = drift.fit_column("plan_price", "number", np.full(1000, 5.0))
    assert drift.compare_column(column, np.full(500, 5.0)).verdict == "stable"
    assert drift.compare_column(column, np.full(500, 4.9)).verdict == "shifted"
    assert drift.compare_column(column, np.full(500, 5.1)).verdict == "shifted"


def test_values_that_go_missing_and_new_categories_are_drift() -> None:
    generator = np.random.default_rng(2)
    values = generator.normal(size=2000)
    half = np.where(generator.random(2000) < 0.5, np.nan, values)
    found = drift.compare_column(drift.fit_column("x", "number", values), half)
    assert (found.verdict, found.largest) == ("shifted", drift.MISSING)
    assert found.missing_before == 0
    assert found.missing_now == pytest.approx(0.5, abs=0.05)
    categories = drift.fit_column("c", "category", np.array(["a", "b"] * 500, dtype=object))
    found = drift.compare_column(categories, np.array(["a", "new"] * 500, dtype=object))
    assert found.verdict == "shifted"
    assert found.largest in (drift.OTHER, "b")


def test_a_column_that_becomes_empty_or_stays_empty() -> None:
    filled = drift.fit_column("x", "number", np.arange(200.0))
    assert drift.compare_column(filled, np.full(200, np.nan)).verdict == "empty"
    assert drift.compare_column(filled, np.array([])).verdict == "empty"
    never = drift.fit_column("x", "number", np.full(200, np.nan))
    assert drift.compare_column(never, np.full(200, np.nan)).verdict == "stable"
    assert drift.compare_column(never, np.arange(200.0)).verdict == "empty"


def test_thresholds() -> None:
    assert drift.verdict(drift.MODERATE, 0) == "stable"
    assert drift.verdict(drift.MODERATE + 1e-9, 0) == "moderate"
    assert drift.verdict(drift.SHIFTED, 0) == "moderate"
    assert drift.verdict(drift.SHIFTED + 1e-9, 0) == "shifted"
    assert drift.verdict(0.3, 0.31) == "inconclusive"
    assert drift.verdict(math.nan, 0) == "empty"


def test_few_rows_from_the_same_population_are_not_called_drift() -> None:
    generator = np.random.default_rng(3)
    column = drift.fit_column("x", "number", generator.normal(size=20_000))
    verdicts = [drift.compare_column(column, generator.normal(size=40)) for _ in range(200)]
    assert sum(found.psi > drift.SHIFTED for found in verdicts) > 20, "so few rows exceed the threshold by chance"
    assert sum(found.verdict in ("moderate", "shifted") for found in verdicts) <= 8


def test_noise_level_is_the_chi_squared_quantile() -> None:
    from scipy.stats import chi2

    for bins in (2, 5, 11, 32):
        wanted = chi2.ppf(0.99, bins - 1) * (1 / 1000 + 1 / 500)
        assert drift.noise_level(bins, 1000, 500) == pytest.approx(wanted, rel=0.02)


def test_rare_categories_share_a_bin() -> None:
    values = np.array([f"v{i}" for i in range(500)] + ["a"] * 500, dtype=object)
    column = drift.fit_column("c", "category", values)
    assert column.categories == ("a",), "texts of a row each could name customers: they are not kept"
    assert column.counts == (500, 500, 0)
    many = np.array([f"v{i % 50}" for i in range(5000)] + ["a"] * 500, dtype=object)
    column = drift.fit_column("c", "category", many)
    assert len(column.categories) == drift.MAX_CATEGORIES
    assert column.categories[0] == "a"
    assert column.rows == 5500


def test_a_missing_column_is_named() -> None:
    reference = drift.fit({"x": np.arange(9.0), "y": np.arange(9.0)}, {"x": "number", "y": "number"})
    with pytest.raises(FeatureError, match="lack y") as caught:
        drift.compare(reference, {"x": np.arange(9.0)})
    assert caught.value.field == "y"


def test_sixty_columns_of_five_thousand_rows_are_quick() -> None:
    generator = np.random.default_rng(4)
    columns = {f"x{i}": generator.normal(size=5000) for i in range(55)}
    columns |= {f"c{i}": generator.choice(["a", "b", "c"], 5000).astype(object) for i in range(5)}
    reference = drift.fit(columns, {name: "number" if name[0] == "x" else "category" for name in columns})
    best = math.inf
    for _ in range(5):
        start = time.process_time()
        drift.compare(reference, columns)
        best = min(best, time.process_time() - start)
    assert best < 0.2
