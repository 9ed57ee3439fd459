"""Business figures on months small enough to reckon by hand, and on files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from churn_platform.errors import FeatureError
from churn_platform.evaluation.predictions import Predictions
from churn_platform.monitoring import business_page
from churn_platform.monitoring.business import business_report, held_out
from churn_platform.monitoring.business_figures import (
    Month,
    Scores,
    expected_leavers,
    follows,
    month_figures,
    revenue_at_risk,
    summarize,
)


def month(observation: str, customers: dict[str, tuple[float, str]]) -> Month:
    return Month(
        observation,
        np.array(list(customers), dtype=object),
        np.array([mrr for mrr, _ in customers.values()]),
        np.array([outcome for _, outcome in customers.values()], dtype=object),
    )


JANUARY = month(
    "2024-01-01",
    {
        "a": (100.0, "retained"),
        "b": (300.0, "voluntary"),
        "c": (200.0, "involuntary"),
        "d": (400.0, "retained"),
        "e": (50.0, "left_before"),
    },
)
FEBRUARY = month("2024-02-01", {"a": (150.0, "immature"), "d": (380.0, "immature"), "f": (70.0, "immature")})


def scores() -> Scores:
    probability = np.array([0.5, 0.2, 0.1, 0.4])
    mrr = np.array([400.0, 300.0, 100.0, np.nan])
    return Scores(
        customer_id=np.array(["d", "f", "a", "g"], dtype=object),
        probability=probability,
        mrr=mrr,
        expected_loss=probability * mrr,
        risk_band=np.array(["high", "low", "low", "high"], dtype=object),
        reasons=np.array(["fewer logins | than before", "", "", ""], dtype=object),
        model_version="3",
    )


def test_rates_of_a_matured_month() -> None:
    figures = month_figures(JANUARY)
    assert figures.matured
    assert figures.customers == 5
    assert figures.mrr == 1050
    assert (figures.voluntary, figures.involuntary) == (1, 1)
    assert figures.logo_churn_voluntary == 1 / 4, "who left before the window is at no risk in it"
    assert figures.logo_churn == 1 / 2
    assert figures.mrr_churn_voluntary == 300 / 1000
    assert figures.mrr_churn_involuntary == 200 / 1000
    assert figures.mrr_churn == pytest.approx(0.5)
    assert figures.net_retention is None


def test_an_immature_month_has_no_rates() -> None:
    figures = month_figures(FEBRUARY)
    assert not figures.matured
    assert figures.logo_churn is None
    assert figures.mrr_churn is None
    assert figures.customers == 3


def test_revenue_movements_balance() -> None:
    figures = month_figures(JANUARY, FEBRUARY)
    assert figures.expansion == 50
    assert figures.contraction == 20
    assert figures.lost == 300 + 200 + 50
    assert figures.new_mrr == 70
    assert figures.net_retention == pytest.approx((150 + 380) / 1050)
    assert figures.gross_retention == pytest.approx((100 + 380) / 1050)
    end = figures.mrr + figures.expansion - figures.contraction - figures.lost + figures.new_mrr  # type: ignore[operator]
    assert end == month_figures(FEBRUARY).mrr


def test_without_revenue_only_logos_are_counted() -> None:
    bare = month("snapshot", {"a": (np.nan, "voluntary"), "b": (np.nan, "retained")})
    figures = month_figures(bare, bare)
    assert figures.mrr is None
    assert figures.mrr_churn is None
    assert figures.net_retention is None
    assert figures.logo_churn_voluntary == 0.5
    page = business_page.markdown(summarize([bare], None, horizon_days=30))
    assert "2 active customers" in page
    assert "nan" not in page


def test_a_gap_in_the_months_breaks_retention() -> None:
    assert follows("2023-12-01", "2024-01-01")
    assert not follows("2024-01-01", "2024-03-01")
    assert not follows("snapshot", "2024-03-01")
    march = month("2024-03-01", {"a": (1.0, "immature")})
    assert summarize([JANUARY, march], None, horizon_days=30).months[0].net_retention is None
    assert summarize([JANUARY, FEBRUARY], None, horizon_days=30).months[0].net_retention is not None


def test_revenue_at_risk() -> None:
    assert revenue_at_risk(np.array([0.5, 0.1]), np.array([100.0, np.nan])) == pytest.approx(0.5 * 100 * 12)
    assert revenue_at_risk(np.array([0.5]), np.array([np.nan])) is None


def test_expected_against_observed_leavers() -> None:
    found = expected_leavers("2024-01-01", np.array([0.5] * 100 + [0.9]), np.array([0, 1] * 50 + [None]))
    assert (found.customers, found.expected, found.observed) == (100, 50.0, 50)
    assert found.low == pytest.approx(50 - 1.96 * 5, abs=0.01)
    assert found.inside
    assert not expected_leavers("2024-01-01", np.full(100, 0.5), np.ones(100)).inside


def test_held_out_predictions_by_month() -> None:
    predictions = Predictions(
        row=np.arange(4),
        observation=np.array(["2024-02-01", "2024-01-01", "2024-02-01", "2024-01-01"], dtype=object),
        group=np.arange(4),
        label=np.array([1, 0, 0, 1], dtype=np.int8),
        mrr=np.full(4, np.nan),
        margin=np.array([0.0, -1.0, 1.0, 2.0]),
    )
    report = summarize([JANUARY], None, horizon_days=30, predictions=held_out(predictions))
    assert [line.observation for line in report.leavers] == ["2024-01-01", "2024-02-01"]
    assert [line.observed for line in report.leavers] == [1, 1]
    assert report.leavers[1].expected == pytest.approx(0.5 + 1 / (1 + np.exp(-1)))


def test_summary_of_scores() -> None:
    report = summarize([JANUARY, FEBRUARY], scores(), horizon_days=30, top=2)
    assert report.revenue_at_risk == pytest.approx((200 + 60 + 10) * 12)
    assert report.expected_leavers == pytest.approx(1.2)
    assert report.top_decile_share == pytest.approx(200 / 270)
    assert [band.name for band in report.bands] == ["high", "low"]
    assert report.bands[0].customers == 2
    assert [(line.rank, line.customer_id) for line in report.top] == [(1, "d"), (2, "f")]
    assert report.active_customers == 3
    with pytest.raises(FeatureError, match="no observation month"):
        summarize([], None, horizon_days=30)


def test_page_and_figures() -> None:
    predictions = {"2024-01-01": (np.array([0.4, 0.6]), np.array([0, 1]))}
    second = month("2024-02-01", {"a": (150.0, "retained"), "d": (380.0, "voluntary")})
    report = summarize([JANUARY, second], scores(), horizon_days=30, currency="EUR", predictions=predictions)
    page = business_page.markdown(report)
    assert "3,240 EUR expected to be lost" in page
    assert "| 2024-01-01 | 5 | 1,050 EUR | 25.00 % |" in page
    assert "fewer logins \\| than before" in page
    assert "data:image/svg+xml;base64," in page
    assert "Expected against observed" in page
    figures = business_page.metadata(report)
    assert figures["logo_churn"] == 0.5
    assert figures["net_retention"] == pytest.approx(530 / 1050)
    assert json.dumps(business_page.to_json(report), allow_nan=False)
    assert None not in figures.values()


def test_from_files(tmp_path: Path) -> None:
    features, labels = tmp_path / "features", tmp_path / "labels"
    pq.write_table(pa.table({"customer_id": ["a", "b", "c"], "mrr": [100.0, None, 50.0]}), features)
    pq.write_table(pa.table({"customer_id": ["b", "a"], "outcome": ["voluntary", "retained"]}), labels)
    path = tmp_path / "scores"
    columns = {
        "customer_id": ["a", "c"],
        "probability": [0.1, 0.5],
        "margin": [-2.0, 0.0],
        "mrr": [100.0, 50.0],
        "expected_loss": [10.0, 25.0],
        "rank": [2, 1],
        "risk_band": ["low", "high"],
        "model_version": ["7", "7"],
        "reasons": [["x"], ["fewer logins", "ticket open"]],
    }
    pq.write_table(pa.table(columns), path)
    report = business_report(path, {"2024-01-01": features}, {"2024-01-01": labels}, horizon_days=30)
    assert not report.months[0].matured, "a customer without a label is immature"
    assert report.months[0].voluntary == 1
    assert report.top[0].customer_id == "c"
    assert report.top[0].reasons == "fewer logins; ticket open"
    assert report.model_version == "7"
    del columns["risk_band"]
    pq.write_table(pa.table(columns), path)
    with pytest.raises(FeatureError, match="lack risk_band"):
        business_report(path, {"2024-01-01": features}, {}, horizon_days=30)
    unscored = business_report(None, {"2024-01-01": features}, {}, horizon_days=30)
    assert unscored.revenue_at_risk is None
    assert "Whom to call" not in business_page.markdown(unscored)
