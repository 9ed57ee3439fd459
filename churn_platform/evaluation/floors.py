"""Floors: what a model must beat to be worth its trouble. The recency rule needs no training at all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from churn_platform.evaluation.metrics import Floats

if TYPE_CHECKING:
    from churn_platform.features.catalogue import Feature

# The first of these that exists is the rule: how long nothing was heard of the customer, in days.
RECENCY_NAMES = (
    "days_since_last_activity",
    "days_since_last_usage",
    "days_since_usage",
    "recency_days",
    "days_since_last_login",
    "days_since_last_purchase",
)


def recency_feature(features: Iterable[Feature]) -> tuple[str | None, str]:
    """The feature that the recency rule ranks by, or None with the reason why there is none."""
    numbers = {f.name: f for f in features if f.kind == "number"}
    for name in RECENCY_NAMES:
        if name in numbers:
            return name, ""
    return None, "no feature says how many days ago the customer was last active"


def recency_score(columns: Mapping[str, Any], name: str) -> Floats:
    """Days since the last activity as a score (n): the longer ago, the higher; never active ranks highest."""
    days = np.array([np.nan if value is None else value for value in columns[name]], dtype=np.float64)
    known = days[~np.isnan(days)]
    return np.where(np.isnan(days), (known.max() if len(known) else 0.0) + 1.0, days)
