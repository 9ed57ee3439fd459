"""The page of an evaluation: its curves are those of the figures beside them."""

from __future__ import annotations

import base64
import re
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from churn_platform.evaluation import metrics
from churn_platform.evaluation.predictions import Predictions
from churn_platform.evaluation.report import evaluate
from churn_platform.monitoring.evaluation_page import lift_points, markdown, roc_points

rows = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 6)), min_size=2, max_size=60).filter(
    lambda found: len({label for label, _ in found}) == 2
)


@given(rows)
def test_the_area_under_the_roc_curve_is_the_auc(found: list[tuple[int, int]]) -> None:
    label, score = np.array([one for one, _ in found]), np.array([float(one) for _, one in found])
    x, y = roc_points(label, score, points=1000)
    assert (x[0], y[0], x[-1], y[-1]) == (0.0, 0.0, 1.0, 1.0)
    assert np.trapezoid(y, x) == pytest.approx(metrics.auc(label, score))


@given(rows)
def test_the_lift_curve_ends_at_the_base_rate(found: list[tuple[int, int]]) -> None:
    label, score = np.array([one for one, _ in found]), np.array([float(one) for _, one in found])
    share, lift = lift_points(label, score, points=1000, least=0)
    assert share[-1] == lift[-1] == 1.0
    top = score == score.max()
    assert share[0] == pytest.approx(top.mean())
    assert lift[0] == pytest.approx(label[top].mean() / label.mean())


def test_long_curves_are_thinned() -> None:
    generator = np.random.default_rng(0)
    label, score = generator.integers(0, 2, 5000), generator.normal(size=5000)
    x, y = roc_points(label, score)
    assert len(x) == 80
    share, _ = lift_points(label, score)
    assert len(share) == 80
    assert (share[0], share[-1]) == (0.02, 1.0)
    assert np.trapezoid(y, x) == pytest.approx(metrics.auc(label, score), abs=0.002)


@pytest.fixture(scope="module")
def predictions() -> Predictions:
    generator = np.random.default_rng(1)
    n = 3000
    margin = generator.normal(-2.5, 1.2, n)
    label = (generator.random(n) < metrics.sigmoid(margin)).astype(np.int8)
    floor = margin + generator.normal(0, 2, n)
    return Predictions(
        row=np.arange(n),
        observation=np.array(["2026-01-01", "2026-02-01"] * (n // 2), dtype=object),
        group=np.arange(n),
        label=label,
        mrr=np.full(n, 100.0),
        margin=margin,
        floors={"logistic_regression": floor, "recency_rule": -floor},
    )


def test_the_page_has_its_charts_and_stays_small(predictions: Predictions) -> None:
    found: dict[str, Any] = evaluate(predictions, protocol="temporal", tier="full", tuned_on="forward")
    page = markdown(found, predictions)
    images = re.findall(r"!\[(\w+)\]\(data:image/svg\+xml;base64,([^)]+)\)", page)
    assert [alt for alt, _ in images] == ["Calibration", "ROC", "Lift"]
    for _, encoded in images:
        root = ElementTree.fromstring(base64.b64decode(encoded))  # noqa: S314 - our own text
        assert root.tag.endswith("svg")
    words = base64.b64decode(images[1][1]).decode()
    assert all(name in words for name in ("chance", "model", "logistic regression", "recency rule"))
    assert len(page) < 100_000
    assert f"AUC {found['auc']:.3f}" in page
    assert "ROC" not in markdown(found)


def test_one_class_has_no_curves(predictions: Predictions) -> None:
    found: dict[str, Any] = evaluate(predictions, protocol="temporal", tier="full", tuned_on="forward")
    stayed = Predictions(**{**vars(predictions), "label": np.zeros(3000, np.int8)})
    assert "![ROC]" not in markdown(found, stayed)
