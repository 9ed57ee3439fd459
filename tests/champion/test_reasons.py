from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from churn_platform.champion.reasons import risk_band, sentence, top_reasons
from churn_platform.features.catalogue import Feature


def number(label: str, unit: str = "", decimals: int = 0) -> Feature:
    return Feature("x", "f", "number", label, unit, "", "", decimals)


PLAN = Feature("x", "f", "category", "plan", "", "", "", 0)


@pytest.mark.parametrize(
    ("feature", "value", "typical", "contribution", "wanted"),
    [
        (
            number("logins in the last 30 days", "logins"),
            3,
            41.0,
            0.4,
            "Logins in the last 30 days: 3, typically 41: raises the risk",
        ),
        (
            number("monthly revenue", "currency a month", 2),
            12345.678,
            99.5,
            -0.1,
            "Monthly revenue: 12,345.68 EUR a month, typically 99.50 EUR a month: lowers the risk",
        ),
        (
            number("last survey answer", "points of 10"),
            None,
            8.0,
            0.1,
            "Last survey answer: nothing on record, typically 8 points of 10: raises the risk",
        ),
        (
            number("last survey answer"),
            float("nan"),
            None,
            0.1,
            "Last survey answer: nothing on record: raises the risk",
        ),
        (
            number("renewal due within 30 days", "yes = 1"),
            1.0,
            0.0,
            0.9,
            "Renewal due within 30 days: yes, typically no: raises the risk",
        ),
        (
            number("share of seats in use", "share", 2),
            0.123,
            0.6,
            0.2,
            "Share of seats in use: 12 %, typically 60 %: raises the risk",
        ),
        (number("change", "ratio", 2), -0.001, 0.0, 0.2, "Change: 0.00, as is typical: raises the risk"),
        (number("tickets", "tickets"), 2, 2.0, -0.2, "Tickets: 2, as is typical: lowers the risk"),
        (
            number("tenure", "days"),
            1200,
            30.0,
            -0.2,
            "Tenure: 1,200 days, typically 30 days: lowers the risk",
        ),
    ],
)
def test_numbers(feature: Feature, value: Any, typical: float | None, contribution: float, wanted: str) -> None:
    assert sentence(feature, value, contribution, {"x": {"median": typical}}, "EUR") == wanted


def test_categories() -> None:
    profile = {"x": {"top": "pro", "shares": {"pro": 0.6, "basic": 0.004}}}
    assert sentence(PLAN, "pro", 0.1, profile) == "Plan: pro (60 % of customers): raises the risk"
    assert sentence(PLAN, "basic", -0.1, profile) == "Plan: basic (under 1 % of customers): lowers the risk"
    assert sentence(PLAN, "new", 0.1, profile) == "Plan: new: raises the risk"
    assert sentence(PLAN, None, 0.1, profile) == "Plan: nothing on record: raises the risk"


def test_the_strongest_first_and_nothing_negligible() -> None:
    features = [Feature(n, "f", "number", n, "", "", "", 0) for n in "abcd"]
    contributions = np.array([0.2, -0.5, 0.0, 0.3])
    found = top_reasons(features, {"a": 1, "b": 2, "d": 3}, contributions, {}, k=5)
    assert [text[0] for text in found] == ["B", "D", "A"]
    assert len(top_reasons(features, {"a": 1, "b": 2, "d": 3}, contributions, {}, k=2)) == 2


def test_one_sentence_for_one_fact() -> None:
    """Windows longer than a history hold the same rows, and one lack leaves several values open."""
    names = ("orders_365d", "orders_ever", "orders_90d", "mean_gap", "gap_ratio", "nps")
    features = [Feature(n, "survey" if n == "nps" else "purchases", "number", n, "", "", "", 0) for n in names]
    profile = {"orders_365d": {"median": 2.0}, "orders_ever": {"median": 2.0}, "orders_90d": {"median": 1.0}}
    values = {"orders_365d": 7.0, "orders_ever": 7.0, "orders_90d": 7.0}
    weights = np.array([0.3, -0.6, 0.5, 0.1, 0.2, 0.05])
    found = top_reasons(features, values, weights, profile, k=9)
    assert [text.split(":")[0] for text in found] == ["Orders_ever", "Orders_90d", "Gap_ratio", "Nps"]


@pytest.mark.parametrize(
    ("odds", "band"), [(0.5, "low"), (1.01, "medium"), (2.99, "medium"), (3.01, "high"), (9.01, "critical")]
)
@pytest.mark.parametrize("base", [0.02, 0.27])
def test_bands_are_odds_against_the_base_rate(odds: float, band: str, base: float) -> None:
    assert risk_band(math.log(odds * base / (1 - base)), base) == band
