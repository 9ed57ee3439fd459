"""An update of the intercept: it solves its equation, never makes the loss worse, and moves nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from churn_platform.champion.package import load_package
from churn_platform.errors import TrainingError
from churn_platform.evaluation.metrics import sigmoid
from churn_platform.training.recalibration import FURTHEST, Update, fit_shift, shifted_package
from tests.serving.champion import make_columns, make_package


@st.composite
def windows(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    n = draw(st.integers(20, 400))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    margin = rng.normal(draw(st.floats(-4, 0)), draw(st.floats(0.1, 2)), n)
    left = (rng.random(n) < sigmoid(margin + draw(st.floats(-1.5, 1.5)))).astype(np.float64)
    return margin, left


@given(windows(), st.sampled_from([1.0, 0.9, 0.5]))
def test_it_expects_what_was_observed(window: tuple[np.ndarray, np.ndarray], passed: float) -> None:
    margin, left = window
    assume(0 < left.sum() < passed * len(left) * 0.95)
    try:
        update = fit_shift(margin, left, passed=passed)
    except TrainingError:
        low, high = (sigmoid(margin + d).sum() for d in (-FURTHEST, FURTHEST))
        assert not low <= left.sum() / passed <= high
        return
    assert sigmoid(margin + update.shift).sum() == pytest.approx(left.sum() / passed, abs=1e-6)
    assert update.expected_before == pytest.approx(sigmoid(margin).sum())
    assert update.observed == left.sum()


@given(windows())
def test_with_the_whole_window_the_loss_is_never_higher(window: tuple[np.ndarray, np.ndarray]) -> None:
    """The shift is the maximum likelihood of the intercept: no other one has a lower log loss."""
    margin, left = window
    assume(0 < left.sum() < len(left))
    try:
        update = fit_shift(margin, left)
    except TrainingError:
        return
    assert update.loss_after <= update.loss_before + 1e-12
    for other in (update.shift - 0.05, update.shift + 0.05):
        p = sigmoid(margin + other)
        loss = -np.mean(left * np.log(p) + (1 - left) * np.log1p(-p))
        assert update.loss_after <= loss + 1e-12


def test_a_model_that_is_right_is_left_alone() -> None:
    margin = np.full(1000, np.log(0.1 / 0.9))
    left = np.zeros(1000)
    left[:100] = 1
    update = fit_shift(margin, left)
    assert update.shift == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("left", [np.zeros(50), np.ones(50)])
def test_all_or_none_sets_nothing_right(left: np.ndarray) -> None:
    with pytest.raises(TrainingError, match="of 50 customers left"):
        fit_shift(np.zeros(50), left)


def test_more_than_an_intercept_is_refused() -> None:
    left = np.zeros(1000)
    left[0] = 1
    with pytest.raises(TrainingError, match="log-odds"):
        fit_shift(np.full(1000, 2.0), left)


# The package


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("package") / "champion"
    make_package(folder)
    return folder


def test_only_the_level_moves(package: Path, tmp_path: Path) -> None:
    before = load_package(package)
    update = Update(0.4, 10.0, 15, 0.2, 0.1)
    digest = shifted_package(package, tmp_path / "shifted", update, month="2025-02-01")
    after = load_package(tmp_path / "shifted", digest=digest)  # runs the package's own test
    assert digest != before.version_digest
    columns = make_columns(200, seed=5)
    old, new = before.score(columns), after.score(columns)
    np.testing.assert_allclose(new.margin, old.margin + 0.4, atol=1e-9)
    np.testing.assert_allclose(new.contributions, old.contributions, atol=1e-9)
    assert new.base_value == pytest.approx(old.base_value + 0.4, abs=1e-9)
    np.testing.assert_array_equal(np.argsort(new.margin), np.argsort(old.margin))
    assert after.metadata["recalibrated"] == {"month": "2025-02-01", "shift": 0.4, "observed": 15}


def test_the_same_update_is_the_same_model_and_the_base_stays(package: Path, tmp_path: Path) -> None:
    base = load_package(package).version_digest
    update = Update(-0.25, 10.0, 8, 0.2, 0.1)
    digests = {shifted_package(package, tmp_path / name, update, month="2025-02-01") for name in ("a", "b")}
    assert len(digests) == 1
    assert load_package(package).version_digest == base


def test_two_updates_add_up(package: Path, tmp_path: Path) -> None:
    shifted_package(package, tmp_path / "once", Update(0.3, 10.0, 15, 0.2, 0.1), month="2025-02-01")
    shifted_package(tmp_path / "once", tmp_path / "twice", Update(-0.1, 12.0, 11, 0.2, 0.1), month="2025-03-01")
    columns = make_columns(50, seed=6)
    both = load_package(tmp_path / "twice").score(columns, explain=False).margin
    np.testing.assert_allclose(both, load_package(package).score(columns, explain=False).margin + 0.2, atol=1e-9)
