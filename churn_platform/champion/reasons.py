"""Reasons in plain words: what is unusual about a customer, and whether it raises or lowers the risk."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from churn_platform.features.catalogue import Feature
from churn_platform.training.encode import Floats

RiskBand = Literal["low", "medium", "high", "critical"]

# Units that a reader would not say: how the number is shown instead.
_YES_NO, _SHARE = "yes = 1", "share"
_SILENT_UNITS = frozenset({"", "ratio"})
NOTHING = "nothing on record"
# Beyond this a number is shown by its magnitude: three hundred digits help nobody.
_LARGEST = 1e15
# A contribution below this many log-odds is not worth a sentence: it moves a probability by less than .03
# points.
_NOTICEABLE = 1e-3


def risk_band(margin: float, base_rate: float) -> RiskBand:
    """The band of a customer by its odds against those of the average customer of the training data.

    "low" below the average odds, "medium" from 1×, "high" from 3×, "critical" from 9×. Odds ratios rather
    than ratios of probabilities, so that the bands also mean something where a quarter of the customers
    leave.

    Args:
        margin: calibrated log-odds.
        base_rate: share of leavers in the training rows, in (0, 1).
    """
    ratio = margin - math.log(base_rate / (1.0 - base_rate))
    if ratio >= math.log(9.0):
        return "critical"
    if ratio >= math.log(3.0):
        return "high"
    return "medium" if ratio >= 0.0 else "low"


def top_reasons(
    features: Sequence[Feature],
    values: Mapping[str, Any],
    contributions: Floats,
    profile: Mapping[str, Any],
    *,
    k: int = 5,
    currency: str = "",
) -> list[str]:
    """The ``k`` features that weigh most for one customer, strongest first, one sentence each; of several that say
    the same (equal value and equal typical value in one family) only the strongest.

    Args:
        features: in the order of the contributions.
        values: feature name → raw value; a missing name is unknown.
        contributions: log-odds (d).
        profile: what is typical, by feature (``training.packaging.profile_features``).
        currency: for amounts, such as "USD".
    """
    said: set[Any] = set()
    chosen: list[str] = []
    for i in np.argsort(-np.abs(contributions), kind="stable"):
        if len(chosen) == k or abs(contributions[i]) < _NOTICEABLE:
            break
        value = values.get(features[i].name)
        fact = _fact(features[i], value, profile)
        if fact in said:
            continue
        said.add(fact)
        chosen.append(sentence(features[i], value, float(contributions[i]), profile, currency))
    return chosen


def _fact(feature: Feature, value: Any, profile: Mapping[str, Any]) -> Any:
    """What a sentence says: windows longer than a history, and values that one lack leaves open, say the same."""
    if feature.kind == "category":
        return feature.name
    if value is None or value != value:
        return feature.family, None
    return feature.family, feature.unit, float(value), profile.get(feature.name, {}).get("median")


def sentence(feature: Feature, value: Any, contribution: float, profile: Mapping[str, Any], currency: str = "") -> str:
    """For example "Logins in the last 30 days: 3, typically 41: raises the risk"."""
    label = feature.label[:1].upper() + feature.label[1:]
    effect = "raises the risk" if contribution > 0 else "lowers the risk"
    return f"{label}: {_compared(feature, value, profile.get(feature.name, {}), currency)}: {effect}"


def _compared(feature: Feature, value: Any, typical: Mapping[str, Any], currency: str) -> str:
    missing = value is None or value != value
    if feature.kind == "category":
        if missing:
            return NOTHING
        share = typical.get("shares", {}).get(str(value))
        return str(value) if share is None else f"{value} ({_percent(share)} of customers)"
    shown = NOTHING if missing else show_number(feature, float(value), currency)
    median = typical.get("median")
    if median is None:
        return shown
    usual = show_number(feature, float(median), currency)
    return f"{shown}, as is typical" if usual == shown else f"{shown}, typically {usual}"


def show_number(feature: Feature, value: float, currency: str = "") -> str:
    """A number as people write it: the feature's digits, thousands set apart, its unit unless the label says
    it."""
    if feature.unit == _YES_NO:
        return "yes" if value == 1 else "no" if value == 0 else f"{value:g}"
    if feature.unit == _SHARE:
        return _percent(value)
    if abs(value) >= _LARGEST:
        return f"{value:.3g}"
    text = f"{value:,.{max(0, feature.decimals)}f}"
    if float(text.replace(",", "")) == 0:
        text = text.removeprefix("-")
    unit = feature.unit.replace("currency", currency).strip()
    if unit in _SILENT_UNITS or _says(feature.label, unit):
        return text
    return f"{text} {unit}"


def _says(label: str, unit: str) -> bool:
    return unit.lower() in label.lower()


def _percent(share: float) -> str:
    percent = 100.0 * share
    return "under 1 %" if 0.0 < percent < 1.0 else f"{percent:.0f} %"
